"""Commands that let the workers of a Ray cluster compute: the same files as without them."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.errors import SettingsError
from headstart.execution.cluster import Cluster
from headstart.inference.results import InferenceResult
from headstart.workflow.evaluate import evaluate
from headstart.workflow.fit import FitResult
from headstart.workflow.predict import predict

pytest.importorskip("ray", reason="Ray has no wheels for this Python")

Photos = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
TWO = Cluster("local", 2)


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """Two one-core workers on this machine, which all tests of this file use."""
    with TWO.connected():
        yield


@dataclass(frozen=True)
class Killed:
    """Kills the first process that infers with it."""

    infer: Callable[[Manifest], InferenceResult]
    mark: Path

    def __call__(self, manifest: Manifest) -> InferenceResult:
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.infer(manifest)


@dataclass(frozen=True, eq=False)
class Fragile(Classifier):
    """A classifier with which the first worker is lost."""

    mark: Path = Path()

    def for_parts(self, manifest: Manifest, settings: EngineSettings) -> Killed:
        return Killed(super().for_parts(manifest, settings), self.mark)


def test_predictions_are_those_of_one_process(classifier: Classifier, photos: Photos, tmp_path: Path) -> None:
    """Of so many images that OpenVINO is used, in shards of 32; one is unreadable, and one worker is killed."""
    images = read_images(photos("new", seed=2, red=110, green=100, blue=90), labels=False)
    Path(images.uris[40]).write_bytes(b"")
    expected = predict(classifier, images)
    values = {each.name: getattr(classifier, each.name) for each in fields(classifier) if each.init}
    found = predict(Fragile(**values, mark=tmp_path / "killed"), images, cluster="local:2")
    assert (tmp_path / "killed").exists()
    assert len(found.probabilities) == 299
    for name in ("probabilities", "prediction_sets", "ood_score", "out_of_distribution"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert found.manifest.uris == images.uris
    assert [(row, why) for row, why in enumerate(found.manifest.problems) if why] == [(40, "empty file")]


def test_predict_writes_the_same_table(classifier: Classifier, photos: Photos, tmp_path: Path, run: Run) -> None:
    """In two shards, of which the second has an unreadable image."""
    classifier.save(tmp_path / "run" / "classifier")
    source = photos("new", seed=2, red=20, green=10, blue=10)
    (source / "red" / "2_15.png").write_bytes(b"damaged")
    for name, options in {"here": (), "there": ("--cluster", "local:2")}.items():
        code, out, err = run("predict", tmp_path / "run", source, "--csv", tmp_path / name, *options)
        assert (code, out) == (0, f"40 images, 1 with a problem: {tmp_path / name}\n"), err
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()
    with (tmp_path / "there").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file) if row["problem"]] == [str(source / "red" / "2_15.png")]


def test_evaluate(classifier: Classifier, photos: Photos, tmp_path: Path, run: Run) -> None:
    classifier.save(tmp_path / "run" / "classifier")
    source = photos("new", seed=2, red=3, green=4, blue=5)
    code, _, err = run("evaluate", tmp_path / "run", source, "--out", tmp_path / "there", "--cluster", "local:2")
    assert code == 0, err
    found = json.loads((tmp_path / "there" / "evaluation.json").read_text())
    _, expected = evaluate(classifier, read_images(source))
    assert found["images"] == 12
    assert found["log_loss"]["value"] == expected.log_loss.value


def test_check(fitted: Callable[..., FitResult], photos: Photos, tmp_path: Path, run: Run) -> None:
    source = photos(red=12, green=12, blue=12)
    (source / "red" / "0_03.png").rename(source / "blue" / "0_99.png")
    tables = []
    for name, options in {"here": (), "there": ("--cluster", "local:2")}.items():
        words = ["--model", "test_resnet", "--weights", "random", "--cache-dir", tmp_path / f"{name} store"]
        code, _, err = run("check", source, "--out", tmp_path / name, *words, *options)
        assert code == 0, err
        tables.append((tmp_path / name / "issues.csv").read_bytes())
    assert tables[0] == tables[1]


def test_images_in_memory_are_refused(classifier: Classifier) -> None:
    images = Manifest.from_arrays([np.zeros((9, 9, 3), np.uint8)])
    with pytest.raises(SettingsError, match="write them to files"):
        predict(classifier, images, cluster="local:2")
