"""Descriptions of data sets, compared with counts made by hand."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headstart.config import ReadSettings
from headstart.data.decode import header_size, inspect
from headstart.data.manifest import Manifest
from headstart.errors import DataError
from headstart.workflow.info import class_lines, describe, file_lines, size_lines, table_lines

Photos = Callable[..., Path]


def test_a_folder_with_its_table(tmp_path: Path, photo: Callable[..., Path]) -> None:
    """What the notebook of 2020 showed of Kaggle's dogs with head(), info(), nunique() and value_counts()."""
    data = tmp_path / "dogs"
    for number in range(7):
        photo(f"dogs/train/{number:08x}.jpg", number, size=(20 + number, 50))
    rows = [f"{number:08x},{'pug' if number < 5 else 'boston_bull'},{number / 2}" for number in range(7)]
    (data / "labels.csv").write_text("\n".join(["id,breed,weight", *rows, ""]))
    total = sum(path.stat().st_size for path in (data / "train").iterdir())
    sizes = sorted(path.stat().st_size / 1e3 for path in (data / "train").iterdir())
    lines = describe(data)
    assert lines[:19] == [
        f"{data}: 7 images, 2 classes",
        "  read as: table: labels.csv, id column 'id', label column 'breed'",
        "",
        f"{data / 'labels.csv'}: 7 rows, 3 columns",
        "  column  type    not empty  distinct",
        "  id      text            7         7",
        "  breed   text            7         2",
        "  weight  number          7         7",
        "first rows:",
        "  id        breed  weight",
        "  00000000  pug    0.0",
        "  00000001  pug    0.5",
        "  00000002  pug    1.0",
        "  00000003  pug    1.5",
        "  00000004  pug    2.0",
        "",
        "classes: 2; images per class: min 2, median 3.5, max 5",
        "  pug (5), boston_bull (2)",
        "splits: train (7)",
    ]
    assert lines[19:] == [
        "",
        "sizes in pixels, from the headers of all 7 images:",
        "  width:  min 20, median 23, max 26",
        "  height: min 50, median 50, max 50",
        "",
        f"files: {total / 1e6:,.1f} MB; .jpg (7)",
        f"  kB per file: min {sizes[0]:.1f}, median {sizes[3]:.1f}, max {sizes[6]:.1f}",
    ]


def test_one_subfolder_per_class(photos: Photos) -> None:
    folder = photos(red=3, green=2)
    lines = describe(folder)
    assert lines[3:6] == [
        f"first images{' ' * (len(str(folder)) + len('/green/0_00.png') - len('first images'))}  label",
        f"{folder}/green/0_00.png  green",
        f"{folder}/green/0_01.png  green",
    ]
    assert "classes: 2; images per class: min 2, median 2.5, max 3" in lines
    assert "  red (3), green (2)" in lines


def test_a_table_that_is_given(photos: Photos, tmp_path: Path) -> None:
    folder = photos(red=2)
    table = tmp_path / "elsewhere.csv"
    table.write_text("file,colour,part\n0_00.png,crimson,train\n0_01.png,,test\ngone.png,scarlet,train\n")
    reading = ReadSettings.of(labels=str(table), id_column="file", label_column="colour", split_column="part")
    lines = describe(folder, reading)
    assert lines[0] == f"{folder}: 3 images, 2 classes"
    assert f"{table}: 3 rows, 3 columns" in lines
    assert "  colour  text          2         2" in lines
    assert "  0_01.png  -        test" in lines
    assert "without a label: 1" in lines
    assert "splits: test (1), train (2)" in lines
    assert f"  unknown: 1, for example {folder / 'gone.png'}: no such file; run headstart check for all" in lines
    assert lines[-1] == f"  missing: 1, for example {folder / 'gone.png'}"
    with pytest.raises(DataError, match="no column 'colr'"):
        describe(folder, ReadSettings.of(labels=str(table), label_column="colr"))
    with pytest.raises(DataError, match="no such folder or file"):
        describe(folder / "none")


def test_parquet(photos: Photos) -> None:
    folder = photos(red=2)
    table = pa.table(
        {
            "id": ["0_00", "0_01"],
            "label": [3, 4],
            "image": [b"\xff", b"\xfe"],
            "boxes": [[1, 2], [3]],
            "none": [None] * 2,
        }
    )
    pq.write_table(table, folder / "labels.parquet")
    lines = describe(folder)
    assert [line.split() for line in lines[4:8]] == [
        ["column", "type", "not", "empty", "distinct"],
        ["id", "text", "2", "2"],
        ["label", "integer", "2", "2"],
        ["none", "empty", "0", "0"],
    ]
    assert "  other columns, not text: image (binary), boxes (list<element: int64>)" in lines


def test_types_and_long_cells() -> None:
    columns = {
        "i": ["1", "-2", None],
        "f": ["1", "2.5e3", "nan"],
        "t": ["1", "x", None],
        "long": ["a" * 200, "b\nc", None],
    }
    lines = table_lines(Path("t.csv"), columns)
    assert [line.split()[1] for line in lines[2:6]] == ["integer", "number", "text", "text"]
    assert lines[8].endswith("  " + "a" * 99 + "…")
    assert lines[9].endswith("b c")
    assert table_lines(Path("t.csv"), {"a": []})[2].split() == ["a", "empty", "0", "0"]


def test_many_classes() -> None:
    labels = [f"c{number:02}" for number in range(12) for _ in range(number + 1)]
    lines = class_lines(Manifest.from_rows([str(i) for i in range(len(labels))], labels=labels))
    assert lines == [
        "classes: 12; images per class: min 1, median 6.5, max 12",
        "  largest:  c11 (12), c10 (11), c09 (10), c08 (9), c07 (8)",
        "  smallest: c04 (5), c03 (4), c02 (3), c01 (2), c00 (1)",
    ]
    assert class_lines(Manifest.from_rows(["a"])) == ["without a label: 1"]


def test_sizes_of_a_random_sample(photos: Photos) -> None:
    manifest = Manifest.from_rows(sorted(photos(red=9).rglob("*.png")))
    assert size_lines(manifest, sample=4) == [
        "sizes in pixels, from the headers of a random 4 images:",
        "  width:  min 30, median 30, max 30",
        "  height: min 24, median 24, max 24",
    ]
    assert size_lines(manifest, sample=9)[0] == "sizes in pixels, from the headers of all 9 images:"


def test_images_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    (tmp_path / "b.jpg").touch()
    manifest = Manifest.from_rows([tmp_path / "a.jpg", tmp_path / "b.jpg"])
    assert size_lines(manifest)[1:] == [
        f"  unknown: 2, for example {tmp_path / 'a.jpg'}: not an image that Pillow reads; run headstart check for all"
    ]
    assert file_lines(manifest)[0] == "files: 0.0 MB; .jpg (2)"


@pytest.mark.skipif(os.name == "nt", reason="file names of any bytes")
def test_header_sizes_are_those_of_decoded_images(nasty_folder: tuple[Path, dict[Path, str | None]]) -> None:
    """For every valid image of the nasty folder: rotated by EXIF, TIFF, CMYK, animations, 16 bits."""
    good = [path for path, reason in nasty_folder[1].items() if reason is None]
    sizes = {path: header_size(path) for path in good}
    inspected = {path: inspect(path) for path in good}
    assert sizes == {path: (each.width, each.height) for path, each in inspected.items()}
    bad = [path for path, reason in nasty_folder[1].items() if reason is not None]
    assert len(size_lines(Manifest.from_rows(bad), sample=len(bad))) > 1  # every kind of damage is reported


def test_nothing_is_decoded_for_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow decodes a PNG file to find EXIF behind the pixels, and a header may promise billions of them."""
    begun: list[int] = []
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load_prepare", lambda _: begun.append(1))
    buffer = io.BytesIO()
    Image.new("L", (100, 10)).save(buffer, "PNG")
    assert header_size(buffer.getvalue()) == (100, 10)
    assert begun == []


def test_the_header_of_a_rotated_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert header_size(tmp_path / "a.jpg") == (20, 30)
