"""Views that a device's decoder makes; here on the CPU, through the same code as on a GPU (see test_nvjpeg.py)."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.data import device_decoder, device_views
from headstart.data.decode import decode
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.readers import choose_decoder, view_reader
from headstart.data.spec import InputSpec
from headstart.data.transforms import FLIPPED_VIEW, evaluation_view
from headstart.data.views import Views, read_views

SPEC = InputSpec(height=32, width=32)
Write = Callable[..., list[Path]]


@pytest.fixture
def jpegs(tmp_path: Path, nasty: ModuleType) -> Write:
    """jpegs(10) writes ten plain JPEG files of different sizes and content."""

    def write(count: int, **options: Any) -> list[Path]:
        paths = [tmp_path / f"{number:03}.jpg" for number in range(count)]
        for number, path in enumerate(paths):
            image = nasty.pattern(60 + 3 * (number % 5), 50 + number)
            path.write_bytes(nasty.encode(image, "JPEG", **{"quality": 90, "subsampling": number % 3, **options}))
        return paths

    return write


def read(manifest: Manifest, rows: Sequence[int] | None = None, **options: Any) -> list[Views]:
    rows = range(len(manifest)) if rows is None else rows
    values = {"batch_size": 4, "max_pixels": 1_000_000, "workers": 3, **options}
    return list(view_reader("torchvision")(manifest, rows, SPEC, **values))


def expected(manifest: Manifest, **options: Any) -> list[Views]:
    values = {"batch_size": 4, "max_pixels": 1_000_000, "workers": 2, **options}
    return list(read_views(manifest, range(len(manifest)), SPEC, **values))


def joined(batches: Sequence[Views]) -> np.ndarray[Any, Any]:
    return np.concatenate([np.asarray(batch.stacked()) for batch in batches if batch.rows])


class Decoded:
    """Counts the files that the device decodes, and refuses those of some contents."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refused: Sequence[bytes] = ()) -> None:
        self.files: list[bytes] = []
        plain = device_decoder.decode_files

        def decode_files(files: Sequence[bytes], device: torch.device) -> list[torch.Tensor]:
            if any(file in refused for file in files):
                raise RuntimeError("nvJPEG is not happy")
            self.files += files
            return plain(files, device)

        monkeypatch.setattr(device_decoder, "decode_files", decode_files)


def test_views_are_nearly_those_of_pillow(jpegs: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest.from_rows(jpegs(11))
    read(manifest)  # tries the decoder, once per process
    counted = Decoded(monkeypatch)
    got, wanted = read(manifest), expected(manifest)
    assert [batch.rows for batch in got] == [batch.rows for batch in wanted]
    assert all(batch.pixels is not None and not batch.images for batch in got)
    difference = np.abs(joined(got).astype(int) - joined(wanted).astype(int))
    assert (difference.max() <= 2, difference.mean() < 0.1) == (True, True)
    assert len(counted.files) == 11


@pytest.mark.parametrize("batch", [1, 3, 8, 64])
def test_order_and_batches_are_those_of_the_host(jpegs: Write, pictures: Write, batch: int) -> None:
    """Files of both kinds, all kinds of views, in one order."""
    paths = [path for pair in zip(jpegs(12), pictures(12), strict=True) for path in pair]
    manifest = inspect_all(Manifest.from_rows(paths))
    requested = {row: [(0,), (FLIPPED_VIEW,), (0, FLIPPED_VIEW), (2, 0, 1, FLIPPED_VIEW)][row % 4] for row in range(24)}
    got, wanted = (make(manifest, batch_size=batch, views=requested) for make in (read, expected))
    assert [(each.rows, each.numbers) for each in got] == [(each.rows, each.numbers) for each in wanted]
    ours, theirs, numbers = joined(got), joined(wanted), [number for each in got for number in each.numbers]
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 2
    augmented = np.array(numbers) > 0
    assert np.array_equal(ours[augmented], theirs[augmented])  # training views are the host's


def test_a_view_does_not_depend_on_its_batch(jpegs: Write) -> None:
    manifest = Manifest.from_rows(jpegs(13))
    whole = joined(read(manifest, batch_size=13))
    for size in (1, 5):
        assert np.array_equal(joined(read(manifest, batch_size=size)), whole)
    assert np.array_equal(joined(read(manifest, [7, 2])), whole[[7, 2]])


def test_the_flipped_view_is_the_evaluation_view_flipped(jpegs: Write) -> None:
    manifest = Manifest.from_rows(jpegs(3))
    views = joined(read(manifest, views=(0, FLIPPED_VIEW)))
    assert np.array_equal(views[1::2], views[::2, :, ::-1])


def test_large_images_are_decoded_in_parts(jpegs: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest.from_rows(jpegs(9))
    whole = joined(read(manifest))
    monkeypatch.setattr(device_views, "_PIXELS_AT_ONCE", 8000)  # two of them
    parts = read(manifest)
    assert [len(batch.rows) for batch in parts] == [4, 4, 1]
    assert np.array_equal(joined(parts), whole)
    monkeypatch.setattr(device_decoder, "MAX_PIXELS", 1000)
    counted = Decoded(monkeypatch)
    assert np.array_equal(joined(read(manifest)), joined(expected(manifest)))
    assert not counted.files


def test_other_files_go_to_the_host(tmp_path: Path, nasty: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    image = nasty.pattern(90, 70)
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = {
        "plain.jpg": nasty.encode(image, "JPEG"),
        "gray.jpg": nasty.encode(image.convert("L"), "JPEG"),
        "rotated.jpg": nasty.encode(image, "JPEG", exif=exif),
        "progressive.jpg": nasty.encode(image, "JPEG", progressive=True),
        "cmyk.jpg": nasty.encode(image.convert("CMYK"), "JPEG"),
        "rgb.jpg": nasty.encode(image, "JPEG", keep_rgb=True),
        "tiny.jpg": nasty.encode(nasty.pattern(15, 40), "JPEG"),
        "image.png": nasty.encode(image, "PNG"),
        "deep.png": nasty.encode(Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80)), "PNG"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    manifest = Manifest.from_rows([tmp_path / name for name in contents])
    counted = Decoded(monkeypatch)
    views = joined(read(manifest))
    assert counted.files == [contents["plain.jpg"], contents["gray.jpg"]]
    for row, name in enumerate(contents):
        pillow = evaluation_view(decode(tmp_path / name), SPEC)
        assert np.abs(views[row].astype(int) - pillow.astype(int)).max() <= (2 if row < 2 else 0), name


def test_all_that_can_be_wrong_with_a_file(nasty_folder: tuple[Path, dict[Path, str | None]]) -> None:
    """The same images become problems, for the same reasons, and no image is lost."""
    manifest = Manifest.from_rows(sorted(nasty_folder[1]))
    got, wanted = (make(manifest, batch_size=16, max_pixels=50_000_000) for make in (read, expected))
    problems = [sorted(problem for batch in batches for problem in batch.problems) for batches in (got, wanted)]
    assert problems[0] == problems[1]
    assert [row for batch in got for row in batch.rows] == [row for batch in wanted for row in batch.rows]
    assert np.abs(joined(got).astype(int) - joined(wanted).astype(int)).max() <= 3


@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_file_whose_data_end_early_is_a_problem(jpegs: Write, nasty: ModuleType, subsampling: int) -> None:
    """An end marker follows the data, and the decoder fills what is missing."""
    paths = jpegs(6, subsampling=subsampling)
    for number in (1, 4):
        paths[number].write_bytes(nasty.forged_end(paths[number].read_bytes(), 0.8))
    batches = read(Manifest.from_rows(paths))
    assert [row for batch in batches for row in batch.rows] == [0, 2, 3, 5]
    assert [problem for batch in batches for problem in batch.problems] == [
        (number, "truncated: the file ends before the image does") for number in (1, 4)
    ]


def test_a_file_with_a_lost_block_is_a_problem(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "lost.jpg", quality=90)
    data = bytearray((tmp_path / "lost.jpg").read_bytes())
    data[8192:12288] = bytes(4096)
    (tmp_path / "lost.jpg").write_bytes(data)
    (batch,) = read(Manifest.from_rows([tmp_path / "lost.jpg"]))
    assert (batch.rows, len(batch.problems)) == ([], 1)
    assert batch.problems == expected(Manifest.from_rows([tmp_path / "lost.jpg"]))[0].problems


def test_readers_in_other_processes_prepare_the_same(
    jpegs: Write, nasty: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for many files on many cores."""
    paths = jpegs(7)
    paths[2].write_bytes(nasty.forged_end(paths[2].read_bytes(), 0.8))
    paths[4].write_bytes(nasty.encode(nasty.pattern(60, 50), "PNG"))
    manifest = Manifest.from_rows(paths)
    wanted = read(manifest, views=(0, 1, FLIPPED_VIEW))
    monkeypatch.setattr(device_views, "default_kind", lambda *_: "processes")
    got = read(manifest, views=(0, 1, FLIPPED_VIEW), workers=1)
    assert [(each.rows, each.numbers, each.problems) for each in got] == [
        (each.rows, each.numbers, each.problems) for each in wanted
    ]
    assert np.array_equal(joined(got), joined(wanted))


def test_readers_do_not_import_torch() -> None:
    """It would take seconds and hundreds of megabytes in each process."""
    code = "import sys, headstart.data.device_files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_complete_image_with_a_flat_corner_is_kept(tmp_path: Path, nasty: ModuleType) -> None:
    image = nasty.pattern(90, 70)
    image.paste("white", (40, 30, 90, 70))
    (tmp_path / "flat.jpg").write_bytes(nasty.encode(image, "JPEG"))
    (batch,) = read(Manifest.from_rows([tmp_path / "flat.jpg"]))
    assert (batch.rows, batch.problems) == ([0], [])


def test_files_that_the_decoder_refuses_go_to_the_host(jpegs: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = jpegs(8)
    manifest = Manifest.from_rows(paths)
    whole = joined(read(manifest, views=(0, FLIPPED_VIEW)))
    counted = Decoded(monkeypatch, [paths[2].read_bytes(), paths[5].read_bytes()])
    got = read(manifest, views=(0, FLIPPED_VIEW))
    assert [row for batch in got for row in batch.rows] == [row for row in range(8) for _ in range(2)]
    views = joined(got)
    for row in range(8):
        evaluation = evaluation_view(decode(paths[row]), SPEC) if row in (2, 5) else whole[2 * row]
        assert np.array_equal(views[2 * row], evaluation)
        assert np.array_equal(views[2 * row + 1], evaluation[:, ::-1])
    assert {paths[row].read_bytes() for row in range(8) if row not in (2, 5)} == set(counted.files)


def test_a_decoder_that_refuses_everything_changes_nothing(jpegs: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = jpegs(5)
    Decoded(monkeypatch, [path.read_bytes() for path in paths])
    manifest = Manifest.from_rows(paths)
    assert np.array_equal(joined(read(manifest)), joined(expected(manifest)))


def test_content_must_match_the_inspected_hash(jpegs: Write) -> None:
    paths = jpegs(3)
    manifest = inspect_all(Manifest.from_rows(paths))
    paths[1].write_bytes(paths[0].read_bytes())
    (views,) = read(manifest)
    assert (views.rows, views.problems) == ([0, 2], [(1, "it changed after it was inspected")])


def test_only_problems(tmp_path: Path) -> None:
    manifest = Manifest.from_rows([tmp_path / f"{number}.jpg" for number in range(20)])
    assert read(manifest) == [Views(problems=[(row, "no such file") for row in range(20)])]
    assert read(manifest, []) == []


def test_image_with_too_many_pixels(jpegs: Write) -> None:
    (views,) = read(Manifest.from_rows(jpegs(1)), max_pixels=1000)
    assert views.problems == [(0, "60x50 is more than the 1,000 pixels allowed (--max-pixels)")]


def test_stopping_early_leaves_no_thread(jpegs: Write) -> None:
    views = view_reader("torchvision")(Manifest.from_rows(jpegs(40)), range(40), SPEC, batch_size=2, max_pixels=10**6)
    next(views)
    views.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("headstart-worker")]


def test_decoders_by_device() -> None:
    assert [choose_decoder(device) for device in ("cpu", "mps")] == ["pillow", "pillow"]
    assert view_reader("pillow") is read_views


def test_pillows_own_decoder_is_close(tmp_path: Path) -> None:
    """A photograph, at the size and cut of the default network."""
    from skimage import data

    file = io.BytesIO()
    Image.fromarray(data.chelsea()).save(file, "JPEG", quality=90)
    (tmp_path / "cat.jpg").write_bytes(file.getvalue())
    manifest = Manifest.from_rows([tmp_path / "cat.jpg"])
    (views,) = view_reader("torchvision")(manifest, [0], InputSpec(), batch_size=1, max_pixels=10**6)
    pillow = evaluation_view(decode(tmp_path / "cat.jpg"), InputSpec())
    difference = np.abs(np.asarray(views.stacked())[0].astype(int) - pillow.astype(int))
    assert (difference.max() <= 2, difference.mean() < 0.05) == (True, True)
