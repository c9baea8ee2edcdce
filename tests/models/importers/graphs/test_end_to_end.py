"""Fit, save, load, predict and evaluate on the command line, after the original file is deleted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from headstart import Classifier, load
from headstart.artifacts.model_document import read_model_document, write_model_document
from headstart.errors import RunError

Run = Callable[..., tuple[int, str, str]]


def write_saved_model(writer: ModuleType, tensorflow_writer: ModuleType, folder: Path) -> Path:
    rng = np.random.default_rng(0)
    kernel, dense = rng.normal(size=(3, 3, 3, 16)), rng.normal(size=(16, 6))
    return writer.write_saved_model(  # type: ignore[no-any-return]
        tensorflow_writer, folder, kernel.astype(np.float32), dense.astype(np.float32)
    )


@pytest.fixture(params=["onnx", "saved_model", "keras"])
def file(request: pytest.FixtureRequest, tmp_path: Path, writer: ModuleType, tensorflow_writer: ModuleType) -> Path:
    if request.param == "onnx":
        return Path(shutil.copy(request.getfixturevalue("exported")(), tmp_path / "net.onnx"))
    if request.param == "keras":
        return Path(shutil.copy(request.getfixturevalue("keras_folder") / "map.keras", tmp_path / "net.keras"))
    return write_saved_model(writer, tensorflow_writer, tmp_path / "module")


def test_fit_and_predict_without_the_original_file(file: Path, photos: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "run.onnx"  # a run folder may have any name
    code, out, err = run("fit", photos, "--model", file, "--out", folder, "--cache-dir", tmp_path / "store")
    assert (code, out.count("accuracy 100.0%")) == (0, 1), err
    _, again, _ = run("fit", photos, "--model", file, "--out", tmp_path / "again", "--cache-dir", tmp_path / "store")
    assert "computing features" not in again
    image = next(photos.glob("red/*.png"))
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    code, out, err = run("predict", folder, image, "--engine", "openvino")
    assert (code, out.splitlines()[1].split()[-1]) == (0, "red"), err
    code, out, _ = run("evaluate", folder, photos, "--out", tmp_path / "evaluation")
    assert (code, "accuracy 100.0%" in out) == (0, True)
    # A second round trip changes nothing.
    classifier = load(folder)
    assert classifier.save(tmp_path / "copy")
    probabilities = [each.predict_proba([image]) for each in (classifier, load(tmp_path / "copy"))]
    assert np.array_equal(*probabilities)


def test_damaged_saved_classifier(photos: Path, tmp_path: Path, exported: Callable[..., Path], run: Run) -> None:
    words = ("--model", exported(), "--cache-dir", tmp_path / "store")
    assert run("fit", photos, *words, "--out", tmp_path / "run")[0] == 0
    saved = tmp_path / "run" / "classifier"
    document = json.loads((saved / "model.json").read_text())
    assert sorted(document["files"]) == ["frozen.bin", "frozen.xml"]
    numbers = (saved / "frozen.bin").read_bytes()
    (saved / "frozen.bin").write_bytes(numbers[:-1] + bytes([numbers[-1] ^ 1]))
    with pytest.raises(RunError, match=r"\(frozen\.bin is damaged, or belongs to another classifier\)"):
        load(saved)
    (saved / "frozen.bin").unlink()
    with pytest.raises(RunError, match=r"\(frozen\.bin is missing\)"):
        load(saved)
    path = saved / "model.json"
    write_model_document(path, replace(read_model_document(path), files={"../frozen.xml": "0"}))
    with pytest.raises(RunError, match=r"must be frozen\.xml and frozen\.bin"):
        load(saved)


def test_pretrained_file_without_fit(exported: Callable[..., Path], photos: Path, tmp_path: Path, run: Run) -> None:
    file = exported()
    code, out, _ = run("predict", file, next(photos.glob("red/*.png")), "--top", 7)
    assert code == 0
    assert sorted(line.split("%")[1].strip() for line in out.splitlines()[1:]) == [f"class {i}" for i in range(7)]
    classifier = Classifier.pretrained(str(file))
    classifier.save(tmp_path / "kept")
    image = [next(photos.glob("red/*.png"))]
    assert np.array_equal(load(tmp_path / "kept").predict_proba(image), classifier.predict_proba(image))
    code, out, _ = run("summary", file)
    lines = out.splitlines()
    assert lines[1].split()[:2] == ["prefix", "FrozenGraph"]
    assert lines[2].startswith("-- cut at features: 192 bytes per image in the store ")
    assert lines[3].split() == ["head", "Linear", "7", "679", "679"]
    code, _, err = run("fit", photos, "--model", file, "--train", "last:1", "--cache-dir", tmp_path / "store")
    assert code == 1
    assert err.endswith("a network from an ONNX file, a SavedModel or a Keras file stays frozen; use --train head\n")
