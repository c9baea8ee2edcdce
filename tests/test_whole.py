"""The whole pipeline: on a folder with damaged files, and on the real image sets where they are present."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

import headstart as hs
from headstart.data.uri import to_uri
from headstart.workflow.fit import fit
from headstart.workflow.runs import save_run

HEADSTART = Path(sys.executable).with_name("headstart")
KERAS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"


def test_damaged_files_among_good_ones(nasty: ModuleType, tmp_path: Path, store: Path) -> None:
    """The fit ends, every bad file is listed with its reason, and no good one is lost."""
    expected: dict[str, str | None] = {}
    made = nasty.make_nasty(tmp_path / "photos" / "some")
    expected |= {to_uri(tmp_path / "photos" / "some" / path): reason for path, reason in made.items()}
    others = tmp_path / "photos" / "others"
    others.mkdir()
    for number in range(30):
        nasty.pattern(40 + number, 50).save(others / f"{number}.png")
        expected[to_uri(others / f"{number}.png")] = None
    settings = hs.FitSettings("test_efficientnet", weights="random", cache_dir=str(store), max_problems=0.9)
    fitted = fit(hs.read_images(tmp_path / "photos"), settings)
    run = save_run(fitted, tmp_path / "run")

    problems = dict(zip(fitted.manifest.uris, fitted.manifest.problems, strict=True))
    assert {uri for uri, problem in problems.items() if problem} == {uri for uri, reason in expected.items() if reason}
    assert {uri for uri, problem in problems.items() if not problem} == {
        uri for uri, bad in expected.items() if not bad
    }
    assert all((problems[uri] or "").startswith(reason or "") for uri, reason in expected.items())
    bad = len(fitted.manifest.unusable)
    assert bad > 40
    with (run / "problems.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert len(list(csv.DictReader(file))) == bad


@pytest.mark.shared
def test_a_competition_fits_from_its_original_files(shared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [HEADSTART, "fit", shared / "kaggle-dogs-240", "--out", run, "--cache-dir", tmp_path / "store"]
    subprocess.run(words, check=True, capture_output=True)
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert len(evaluation["classes"]) == 120
    assert (
        evaluation["top1"]["value"] > 0.5
    )  # with one training image per breed: due to the rows of the pretrained head
    assert len(hs.Manifest.read(run / "manifest.parquet").usable) == 240


def anonymous(process: int) -> int:
    """The anonymous memory of a process in KiB; 0 where the system does not report it."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


@pytest.mark.shared
@pytest.mark.slow
def test_ten_thousand_dogs(shared: Path, tmp_path: Path) -> None:
    """Accuracy and memory of the fit in the README.

    Only anonymous memory counts. Pages of mapped libraries would add 500 or 880 MB for the same libraries: how many
    pages are mapped with each one that is touched depends on how the system holds them in memory.
    """
    run = tmp_path / "run"
    words = [HEADSTART, "fit", shared / "dogs120", "--out", run, "--cache-dir", tmp_path / "store"]
    with (tmp_path / "output").open("w+") as output:
        fit = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)
        peak = 0
        while fit.poll() is None:
            peak = max(peak, anonymous(fit.pid))
            time.sleep(0.05)
        output.seek(0)
        assert not fit.returncode, output.read()
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["top1"]["value"] > 0.84
    assert evaluation["top1"]["low"] < evaluation["top1"]["value"] < evaluation["top1"]["high"]
    assert peak < 1_200_000


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("file", [KERAS_FILE, "tf2-preview_mobilenet_v2_classification"])
def test_accuracy_of_the_tutorials_weights(shared: Path, tmp_path: Path, file: str) -> None:
    """Keras gives 78.8 % and 94.4 % on these 1,300 images, whose folders are named by class index."""
    _assert_evaluation(
        shared, tmp_path, file, top1=pytest.approx(0.788, abs=0.003), top5=pytest.approx(0.944, abs=0.003)
    )


@pytest.mark.shared
@pytest.mark.slow
def test_accuracy_with_the_tutorials_input(shared: Path, tmp_path: Path) -> None:
    """Keras gives 55.4 % and 81.0 %."""
    words = ("--channels", "BGR", "--range", "0:1")
    wanted = {"top1": pytest.approx(0.554, abs=0.005), "top5": pytest.approx(0.810, abs=0.005)}
    _assert_evaluation(shared, tmp_path, KERAS_FILE, *words, **wanted)


def _assert_evaluation(shared: Path, out: Path, file: str, *words: str, **wanted: object) -> None:
    given = [HEADSTART, "evaluate", shared.parent / "weights" / file, shared / "imagenet-val", "--out", out, *words]
    subprocess.run(given, check=True, capture_output=True)
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert evaluation["images"] == 1300
    assert {name: evaluation[name]["value"] for name in wanted} == wanted
