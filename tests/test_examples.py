"""The scripts in examples/ run as they are."""

from __future__ import annotations

import csv
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["demo.py", "--out", str(tmp_path), "--digits", "200"])
    runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "coffee.png   espresso" in printed
    assert f"report: {tmp_path / 'report.html'}" in printed
    assert (tmp_path / "photographs" / "chelsea.png").stat().st_size > 10_000


def test_the_tutorial_with_a_small_network(
    photo: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step writes what it says; the weights are random."""
    for number in range(6):
        photo(f"images/class {number % 3}/{number}.jpg", 40 * number)
    rows = [f"{number:02},{'dark' if number % 2 else 'light'}" for number in range(24)]
    for number in range(24):
        photo(f"dogs/train/{number:02}.jpg", 10 * (number // 2) if number % 2 else 255 - 10 * (number // 2))
    (tmp_path / "dogs" / "labels.csv").write_text("\n".join(["id,breed", *rows]))
    out = tmp_path / "out"
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    words = ["test_efficientnet", tmp_path / "images", tmp_path / "dogs", "--weights", "random", "--out", out]
    monkeypatch.setattr(sys, "argv", ["tutorial.py", *map(str, words)])
    runpy.run_path(str(ROOT / "examples" / "tutorial.py"), run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    assert [line[:2] for line in printed] == ["1.", "2.", "3.", "4.", "5.", "6."]
    assert all((out / name).stat().st_size > 5_000 for name in ("top-5.png", "sheet.png", "history.png", "report.html"))
    header, *lines = (out / "submission.csv").read_text().splitlines()
    assert header == "id,dark,light"
    assert [line.partition(",")[0] for line in lines] == [f"{number:02}" for number in range(24)]


@pytest.mark.shared
@pytest.mark.slow
def test_the_tutorial_on_real_images(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a sample: every fifth image of the first 20 breeds, and 100 images of ImageNet."""
    with (shared / "dogs120" / "labels.csv").open(newline="") as file:
        dogs = list(csv.DictReader(file))
    breeds = list(dict.fromkeys(row["breed"] for row in dogs))[:20]
    kept = [row for row in dogs if row["breed"] in breeds][::5]
    (tmp_path / "dogs" / "train").mkdir(parents=True)
    for row in kept:
        (tmp_path / "dogs" / "train" / f"{row['id']}.jpg").symlink_to(shared / "dogs120" / "train" / f"{row['id']}.jpg")
    table = "\n".join(["id,breed", *(f"{row['id']},{row['breed']}" for row in kept)])
    (tmp_path / "dogs" / "labels.csv").write_text(table)
    for path in sorted((shared / "imagenet-val").rglob("*.*"))[::13]:
        (tmp_path / "images" / path.parent.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / path.parent.name / path.name).symlink_to(path)
    out = tmp_path / "out"
    model = shared.parent / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    words = [model, tmp_path / "images", tmp_path / "dogs", "--out", out]
    monkeypatch.setattr(sys, "argv", ["tutorial.py", *map(str, words)])
    runpy.run_path(str(ROOT / "examples" / "tutorial.py"), run_name="__main__")
    printed = capsys.readouterr().out
    accuracies = [float(percent) for percent in re.findall(r"([\d.]+)%", printed)]
    assert len(accuracies) == 3
    assert min(accuracies) > 60
    assert len((out / "submission.csv").read_text().splitlines()) == 1 + len(kept)
