"""What is told of a data set, against counts made by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headstart.data.decode import header_size, inspect
from headstart.data.manifest import Manifest
from headstart.errors import DataError
from headstart.settings import ReadSettings
from headstart.workflow.describing import class_lines, describe, file_lines, size_lines, table_lines

Photos = Callable[..., Path]


def test_a_folder_with_its_table(tmp_path: Path, photo: Callable[..., Path]) -> None:
    """As the notebook of 2020 saw Kaggle's dogs by head(), info(), nunique() and value_counts()."""
    data = tmp_path / "dogs"
    for number in range(7):
        photo(f"dogs/train/{number:08x}.jpg", number, size=(20 + number, 50))
    rows = [f"{number:08x},{'pug' if number < 5 else 'boston_bull'},{number / 2}" for number in range(7)]
    (data / "labels.csv").write_text("\n".join(["id,breed,weight", *rows, ""]))
    total = sum(path.stat().st_size for path in (data / "train").iterdir())
    sizes = sorted(path.stat().st_size / 1e3 for path in (data / "train").iterdir())
    lines = describe(data)
    assert lines[:18] == [
        f"{data}: 7 images, 2 classes",
        "",
        f"{data / 'labels.csv'}: 7 rows, 3 columns",
        "  column  type    not empty  different",
        "  id      text            7          7",
        "  breed   text            7          2",
        "  weight  number          7          7",
        "first rows:",
        "  id        breed  weight",
        "  00000000  pug    0.0",
        "  00000001  pug    0.5",
        "  00000002  pug    1.0",
        "  00000003  pug    1.5",
        "  00000004  pug    2.0",
        "",
        "classes: 2; images a class: least 2, median 3.5, most 5",
        "  pug (5), boston_bull (2)",
        "splits: train (7)",
    ]
    assert lines[18:] == [
        "",
        "sizes in pixels, by the headers of all 7:",
        "  width:  least 20, median 23, most 26",
        "  height: least 50, median 50, most 50",
        "",
        f"files: {total / 1e6:,.1f} MB; .jpg (7)",
        f"  kB a file: least {sizes[0]:.1f}, median {sizes[3]:.1f}, most {sizes[6]:.1f}",
    ]


def test_a_folder_a_class(photos: Photos) -> None:
    folder = photos(red=3, green=2)
    lines = describe(folder)
    assert lines[2:5] == [
        f"first images{' ' * (len(str(folder)) + len('/green/0_00.png') - len('first images'))}  label",
        f"{folder}/green/0_00.png  green",
        f"{folder}/green/0_01.png  green",
    ]
    assert "classes: 2; images a class: least 2, median 2.5, most 3" in lines
    assert "  red (3), green (2)" in lines


def test_a_table_that_is_given(photos: Photos, tmp_path: Path) -> None:
    folder = photos(red=2)
    table = tmp_path / "elsewhere.csv"
    table.write_text("file,colour,part\n0_00.png,crimson,train\n0_01.png,,test\ngone.png,scarlet,train\n")
    reading = ReadSettings.of(labels=str(table), id_column="file", label_column="colour", split_column="part")
    lines = describe(folder, reading)
    assert lines[0] == f"{folder}: 3 images, 2 classes"
    assert f"{table}: 3 rows, 3 columns" in lines
    assert "  colour  text          2          2" in lines
    assert "  0_01.png  -        test" in lines
    assert "without a label: 1" in lines
    assert "splits: test (1), train (2)" in lines
    assert f"  1 cannot be told, such as {folder / 'gone.png'}: no such file; see headstart check" in lines
    assert lines[-1] == f"  not there: 1, such as {folder / 'gone.png'}"
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
            "picture": [b"\xff", b"\xfe"],
            "boxes": [[1, 2], [3]],
            "none": [None] * 2,
        }
    )
    pq.write_table(table, folder / "labels.parquet")
    lines = describe(folder)
    assert [line.split() for line in lines[3:7]] == [
        ["column", "type", "not", "empty", "different"],
        ["id", "text", "2", "2"],
        ["label", "integer", "2", "2"],
        ["none", "empty", "0", "0"],
    ]
    assert "  other columns, which are no texts: picture (binary), boxes (list<element: int64>)" in lines


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
        "classes: 12; images a class: least 1, median 6.5, most 12",
        "  most:   c11 (12), c10 (11), c09 (10), c08 (9), c07 (8)",
        "  fewest: c04 (5), c03 (4), c02 (3), c01 (2), c00 (1)",
    ]
    assert class_lines(Manifest.from_rows(["a"])) == ["without a label: 1"]


def test_a_sample_of_sizes_says_so(photos: Photos) -> None:
    manifest = Manifest.from_rows(sorted(photos(red=9).rglob("*.png")))
    assert size_lines(manifest, sample=4) == [
        "sizes in pixels, by the headers of 4 drawn at random:",
        "  width:  least 30, median 30, most 30",
        "  height: least 24, median 24, most 24",
    ]
    assert size_lines(manifest, sample=9)[0] == "sizes in pixels, by the headers of all 9:"


def test_pictures_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    (tmp_path / "b.jpg").touch()
    manifest = Manifest.from_rows([tmp_path / "a.jpg", tmp_path / "b.jpg"])
    assert size_lines(manifest)[1:] == [
        f"  2 cannot be told, such as {tmp_path / 'a.jpg'}: not an image that Pillow reads; see headstart check"
    ]
    assert file_lines(manifest)[0] == "files: 0.0 MB; .jpg (2)"


@pytest.mark.skipif(os.name == "nt", reason="names of bytes")
def test_headers_tell_the_size_that_decoding_does(nasty_folder: tuple[Path, dict[Path, str | None]]) -> None:
    """On every good picture of the nasty folder: turned by EXIF, TIFF, CMYK, animations, 16 bits."""
    good = [path for path, reason in nasty_folder[1].items() if reason is None]
    sizes = {path: header_size(path) for path in good}
    seen = {path: inspect(path) for path in good}
    assert sizes == {path: (each.width, each.height) for path, each in seen.items()}
    bad = [path for path, reason in nasty_folder[1].items() if reason is not None]
    assert len(size_lines(Manifest.from_rows(bad), sample=len(bad))) > 1  # whatever is wrong, it is told


def test_a_header_of_a_turned_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert header_size(tmp_path / "a.jpg") == (20, 30)
