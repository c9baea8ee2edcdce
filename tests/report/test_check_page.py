"""The page of a check: complete, self-contained, safe for any names, and small with many issues."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headstart.data.issues import DESCRIPTIONS, Issue
from headstart.data.manifest import Manifest
from headstart.report.check_page import MAX_IMAGES, MOST, RELATED, render_check, write_check
from headstart.report.thumbnails import Thumbnails


@pytest.fixture
def checked(tmp_path):
    """A manifest of six images, the last of which is no image."""
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path in paths[:5]:
        Image.new("RGB", (60, 60), "red").save(path)
    paths[5].write_bytes(b"")
    manifest = Manifest.from_rows(paths, labels=["cat", "<b>dog</b>", "cat", "cat", None, "cat"])
    return manifest.with_column("problem", [None] * 5 + ["empty file"])


def render(manifest, issues):
    return render_check(manifest, issues, Thumbnails(), root="photos")


def test_each_issue_stands_with_its_image_evidence_and_neighbors(checked, parse):
    uris = checked.uris
    issues = [
        Issue("unreadable", uris[5], 1.0, "empty file", "drop"),
        Issue(
            "wrong-label", uris[1], 0.99, "the head says 'cat'", "relabel", "cat", (uris[0], uris[2], uris[3], uris[4])
        ),
    ]
    page = parse(render(checked, issues))
    assert "2 issues about 2 of 6 images" in page.text
    assert "Unreadable 1 Files that cannot be used" in page.text
    assert "<b>dog</b> → cat 1.png the head says 'cat'" in page.text
    assert len(page.all("img")) == 1 + RELATED
    assert "no image: empty file" in page.text
    assert {link["href"] for link in page.all("a")} == {"#unreadable", "#wrong-label"}
    assert {"unreadable", "wrong-label"} <= {heading.get("id") for heading in page.all("h2")}


def test_what_concerns_the_whole_set_is_a_sentence(checked, parse):
    page = parse(render(checked, [Issue("shortcut", None, 0.9, "the size of an image predicts its label", "look")]))
    assert "the size of an image predicts its label" in page.text
    assert "1 issue about 0 of 6 images" in page.text
    assert not page.all("img")


def test_nothing_found(checked, parse):
    page = parse(render(checked, []))
    assert "0 issues found in 6 images" in page.text
    assert not page.all("table")


def test_the_page_stays_small_with_many_issues(tmp_path, parse):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.jpg" for number in range(200)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (160, 160, 3), np.uint8)).save(path, quality=95)  # noise: the largest
    manifest = Manifest.from_rows(paths, labels=["cat"] * len(paths))
    issues = [
        Issue(kind, uri, 0.5, "an odd image", "look", None, tuple(manifest.uris[:RELATED]))
        for kind in (*DESCRIPTIONS, "of another engineer")
        for uri in manifest.uris
    ]
    path = write_check(manifest, issues, tmp_path / "issues.html", root="photos")
    page = parse(path.read_text(encoding="utf-8"))
    assert len(page.all("article")) <= MOST * (len(DESCRIPTIONS) + 1)
    assert len(page.all("img")) <= MAX_IMAGES
    assert path.stat().st_size < 5e6
    assert "of another engineer" in page.text
    assert not page.all("script")
    assert all(image["src"].startswith("data:") for image in page.all("img"))
