from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.decode import decode, inspect
from headstart.data.issues import CheckedImages, find_issues
from headstart.data.pixel_statistics import compute_statistics
from headstart.data.sources.frames import count_frames, frame_uri
from headstart.data.sources.read import read_images
from headstart.data.uri import to_uri

tifffile = pytest.importorskip("tifffile")

PAGES = np.stack([np.full((20, 30), level, np.uint8) for level in (10, 120, 240)])


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}])
def test_each_page_of_a_tiff_is_an_image(tmp_path: Path, options: dict[str, object]) -> None:
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, PAGES, photometric="minisblack", **options)
    assert count_frames(to_uri(path)) == 3
    manifest = read_images(tmp_path, frames="all")
    assert manifest.uris == [frame_uri(to_uri(path), number) for number in range(3)]
    assert manifest.groups == [str(path)] * 3
    assert [np.asarray(decode(manifest.source(row))).mean() for row in range(3)] == [10, 120, 240]
    assert len({inspect(manifest.source(row)).hash for row in range(3)}) == 3
    assert np.asarray(decode(path)).mean() == 10
    for rows, told in ((read_images(tmp_path), 1), (manifest, 0)):
        measured = compute_statistics(rows)
        found = find_issues(CheckedImages(rows, measured.values, measured.formats))
        assert sum(issue.kind == "frames" for issue in found) == told


def test_pages_belong_to_the_group_that_the_path_of_their_file_says(tmp_path: Path) -> None:
    for name in ("p1_a.tif", "p1_b.tif"):
        tifffile.imwrite(tmp_path / name, PAGES, photometric="minisblack")
    Image.fromarray(PAGES[0]).save(tmp_path / "p2_c.png")
    manifest = read_images(tmp_path, frames="all", group_pattern="(p[0-9])_")
    assert manifest.groups == ["p1"] * 6 + ["p2"]
    assert manifest.uris[6] == str(tmp_path / "p2_c.png")


def test_smaller_versions_of_a_page_are_no_images(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(PAGES[0], photometric="minisblack")
        file.write(PAGES[0, ::2, ::2], photometric="minisblack", subfiletype=1)
    assert count_frames(to_uri(tmp_path / "pyramid.tif")) == 1


def test_a_frame_that_is_not_there_is_a_problem_of_that_image(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, PAGES, photometric="minisblack")
    assert inspect(frame_uri(to_uri(path), 3)).problem == "there is no frame 3; the first is 0"
    assert inspect(f"frame:{tmp_path}/gone.tif!0").problem == "no such file"


def test_a_list_of_pages_that_leads_back_to_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, PAGES[0], photometric="minisblack")
    content = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, first)[0]
    struct.pack_into("<I", content, first + 2 + 12 * count, first)
    path.write_bytes(content)
    assert count_frames(to_uri(path)) == 1
