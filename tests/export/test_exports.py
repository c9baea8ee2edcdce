"""Exported files give the answers of headstart: through the command, and through scripts without it."""

from __future__ import annotations

import csv
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings, InputSettings
from headstart.data.sources.read import read_images
from headstart.documents import file_checksum
from headstart.errors import DataError, ModelError, RunError, SettingsError
from headstart.export import registry
from headstart.export.comparison import compare, read_record
from headstart.export.predictor import ExportedClassifier, open_exported
from headstart.export.registry import export_format, register_export_format
from headstart.export.torch_file import TorchFormat
from headstart.workflow.export import export, images_to_compare
from headstart.workflow.predict import open_classifier, open_predictor

Run = Callable[..., tuple[int, str, str]]
Exported = Callable[[str], Path]
ROOT = Path(__file__).parent.parent.parent
FLOAT32 = EngineSettings(precision="float32", engine="torch")
FORMATS = ("onnx", "openvino", "torch")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("to", FORMATS)
def test_the_record_beside_the_file(exported: Exported, to: str) -> None:
    path = exported(to)
    record = read_record(path.with_name(f"{path.name}.export.json"))
    files = [path.with_name(name) for name in record.files]
    assert record.to == to
    assert path in files
    assert record.files == {file.name: file_checksum(file) for file in files}
    assert record.bytes == sum(file.stat().st_size for file in files)
    assert record.comparison.images > 10
    assert record.comparison.passed
    assert record.comparison.largest_difference < 1e-3


@pytest.mark.parametrize("to", FORMATS)
def test_predict_reads_the_file(
    exported: Exported, fitted: Path, photos: Path, run: Run, tmp_path: Path, to: str
) -> None:
    """The same classes, sets and warnings as with the run, and probabilities that differ by at most 1e-3."""
    tables = []
    for number, name in enumerate((fitted, exported(to))):
        tables.append(tmp_path / f"{number}.csv")
        assert run("predict", name, photos, "--csv", tables[-1], "--top", 1, "--workers", 1)[0] == 0
    ours, theirs = map(rows_of, tables)
    assert len(ours) == 72
    for own, other in zip(ours, theirs, strict=True):
        assert float(own.pop("probability_1")) == pytest.approx(float(other.pop("probability_1")), abs=1e-3)
    different = [own["path"] for own, other in zip(ours, theirs, strict=True) if own != other]
    assert len(different) <= 1  # a score or probability may be within 1e-3 of its threshold
    assert {"prediction_set", "out_of_distribution"} <= ours[0].keys()


@pytest.mark.parametrize("to", FORMATS)
def test_a_script_without_headstart(exported: Exported, classifier: Classifier, photos: Path, to: str) -> None:
    image = photos / "coffee" / "3.jpg"
    script = ROOT / "examples" / f"run_{to}.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 20
    assert "headstart import" not in script.read_text(encoding="utf-8")
    command = [sys.executable, str(script), str(exported(to)), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    probability, name = done.stdout.splitlines()[0].split(" ", 1)
    (expected,) = classifier.predict_proba([image], settings=FLOAT32)
    assert name == classifier.classes[expected.argmax()]
    assert float(probability) == pytest.approx(expected.max(), abs=1e-3)


@pytest.mark.parametrize("to", FORMATS)
def test_images_of_one_size_can_be_run_together(exported: Exported, to: str) -> None:
    """Also when there are more of them than before, which OpenVINO gets wrong after a branch."""
    opened = export_format(to).open(exported(to))
    rng = np.random.default_rng(0)
    for count, height, width in ((3, 100, 160), (1, 100, 160), (4, 200, 90), (6, 200, 90)):
        images = rng.integers(0, 256, (count, height, width, 3), np.uint8)
        together, scores = opened.run(images)
        assert scores is not None
        alone = [opened.run(image[None])[0] for image in images]
        assert np.allclose(together, np.concatenate(alone), atol=1e-4)
        assert together.sum(1) == pytest.approx(np.ones(count), abs=1e-5)


def test_evaluate_reads_the_file(exported: Exported, photos: Path, run: Run, tmp_path: Path) -> None:
    code, out, err = run("evaluate", exported("onnx"), photos, "--out", tmp_path / "evaluation")
    assert (code, "report: " in out) == (0, True), err
    assert (tmp_path / "evaluation" / "report.html").is_file()


def test_an_image_that_cannot_be_read_is_a_problem(exported: Exported, photos: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    code, out, _ = run("predict", exported("onnx"), photos / "coffee" / "1.jpg", tmp_path / "broken.jpg")
    assert code == 0
    assert re.search(r"broken\.jpg\n  problem: ", out)


class _WrongFormat(TorchFormat):
    name = "wrong"

    def write(self, classifier: Classifier, path: Path) -> list[Path]:
        return super().write(replace(classifier, temperature=3 * classifier.temperature), path)


def test_a_file_with_other_answers_is_not_kept(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FORMATS", dict(registry._FORMATS))  # for this test alone
    register_export_format(_WrongFormat())
    with pytest.raises(ModelError, match=r"other answers in torch .*: on \d+ images the largest difference of a prob"):
        export(str(fitted), "wrong", path=tmp_path / "wrong.pt2")
    assert list(tmp_path.iterdir()) == []


def test_differences() -> None:
    expected = np.array([[0.6, 0.4], [0.1, 0.9]], np.float32)
    assert compare(expected, expected).passed
    assert not compare(expected[:, ::-1], expected).passed
    assert compare(expected + 0.002, expected).largest_difference == pytest.approx(0.002, abs=1e-6)
    assert not compare(expected + 0.002, expected).passed
    assert compare(expected * np.nan, expected).largest_difference == 1


def test_metadata(exported: Exported, classifier: Classifier) -> None:
    found = [open_exported(exported(to)).opened.metadata for to in FORMATS]
    assert found[0] == found[1] == found[2]
    metadata = found[0]
    assert metadata.classes == classifier.classes
    assert metadata.input.spec() == classifier.spec
    assert metadata.prediction_sets == classifier.sets
    assert metadata.licence == classifier.metadata.licence
    assert classifier.ood_detector is not None
    assert metadata.ood_threshold == classifier.ood_detector.threshold
    assert metadata.outputs == ("probabilities", "ood_score")


def test_scores_are_those_of_the_detector(exported: Exported, classifier: Classifier, photos: Path) -> None:
    manifest = read_images(photos / "rocket")
    expected = classifier.infer(manifest, settings=FLOAT32)
    found = open_exported(exported("onnx")).infer(manifest)
    assert expected.ood_score is not None
    assert found.ood_score is not None
    assert found.ood_score == pytest.approx(expected.ood_score, rel=1e-3)


def test_workers_of_a_cluster_open_the_file_themselves(exported: Exported, photos: Path) -> None:
    images = read_images(photos)[:3]
    opened = open_exported(exported("onnx"))
    infer = pickle.loads(pickle.dumps(opened.for_parts(images, EngineSettings())))
    assert np.array_equal(infer(images).probabilities, opened.infer(images).probabilities)
    with pytest.raises(TypeError, match="without a path"):
        pickle.dumps(ExportedClassifier(opened.opened))


@pytest.mark.parametrize("to", FORMATS)
def test_damaged_file(exported: Exported, tmp_path: Path, to: str) -> None:
    whole = exported(to).read_bytes()
    path = tmp_path / exported(to).name
    half = len(whole) // 2
    path.write_bytes(whole[: half - 300] + whole[half + 300 :])
    if to == "openvino":
        path.with_suffix(".bin").write_bytes(exported(to).with_suffix(".bin").read_bytes())
    with pytest.raises(RunError, match=r"damaged|was not written by headstart export"):
        open_exported(path)


def test_weights_of_openvino_must_be_there(exported: Exported, tmp_path: Path) -> None:
    path = tmp_path / "lonely.xml"
    path.write_bytes(exported("openvino").read_bytes())
    with pytest.raises(RunError, match=r"lonely\.bin, which has its weights, must be beside it"):
        open_exported(path)


def test_what_an_exported_file_cannot_do(exported: Exported, photos: Path, run: Run) -> None:
    path = str(exported("onnx"))
    with pytest.raises(SettingsError, match=r"size cannot be changed in .* an exported file"):
        open_predictor(path, InputSettings(size=96))
    with pytest.raises(ModelError, match="is an exported file, which headstart predict and evaluate take"):
        open_classifier(path)
    opened = open_predictor(path)
    assert isinstance(opened, ExportedClassifier)
    with pytest.raises(SettingsError) as mistakes:
        opened.infer(read_images(photos), settings=EngineSettings(engine="torch", precision="bfloat16"))
    assert [each.partition(":")[0] for each in mistakes.value.mistakes] == ["--engine torch", "--precision bfloat16"]


def test_what_cannot_be_exported(fitted: Path, photos: Path, tmp_path: Path, run: Run) -> None:
    code, _, err = run("export", fitted, "--to", "onx")
    assert code == 2
    # An example of the documentation registers one more.
    assert re.fullmatch(
        r"error: --to must be one of html, onnx, openvino, (.*, )?torch, got 'onx'; did .* onnx\?\n", err
    )
    code, _, err = run("export", fitted, "--to", "onnx", "--out", tmp_path / "dogs.xml")
    assert (code, "the name of a file for --to onnx must end in .onnx" in err) == (2, True)
    with pytest.raises(DataError, match="give some photographs with --images"):
        images_to_compare("test_efficientnet")
    with pytest.raises(SettingsError, match="--runtime is for --to html, not for --to onnx"):
        export(str(fitted), "onnx", runtime=tmp_path)


def test_images_of_a_run_that_are_gone(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = images_to_compare(str(fitted))
    assert len(images) == 72  # of a run with so few images, all were trained on
    photos = fitted.parent / "photos"
    photos.rename(fitted.parent / "moved")
    try:
        with pytest.raises(DataError, match="none of its images is where it was"):
            images_to_compare(str(fitted))
    finally:
        (fitted.parent / "moved").rename(photos)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.extras.find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(SettingsError, match=r'needs onnxruntime: run "pip install headstart\[onnx\]"'):
        export_format("onnx").check()
