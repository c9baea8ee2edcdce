"""Images of 16 bits: one scale for the whole set, told, kept in the classifier, and used by every prediction."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.artifacts.classifier import load
from headstart.cli.console import event_line
from headstart.config import EngineSettings, FitSettings
from headstart.data.decode import decode
from headstart.data.value_range import ValueRange
from headstart.errors import SettingsError
from headstart.events import Events
from headstart.features.key import FeatureSpace
from headstart.workflow.check import check
from headstart.workflow.evaluate import evaluate
from headstart.workflow.fit import FitResult, fit
from headstart.workflow.reading import read
from headstart.workflow.runs import save_run

PLAIN = {"weights": "random", "engine": "torch", "precision": "float32"}
CLASSES = {"dim": 0.25, "medium": 0.5, "bright": 1.0}


def shades(folder: Path, *, white: int, each: int = 10, seed: int = 0) -> Path:
    """Gray noise whose brightness alone tells the class, in 16 bits of which ``white`` is used; 255 for 8 bits."""
    rng = np.random.default_rng(seed)
    for name, peak in CLASSES.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            values = np.rint(rng.random((24, 30)) * peak * white)
            image = Image.fromarray(values.astype(np.uint8 if white == 255 else np.uint16))
            image.save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shades(tmp_path_factory.mktemp("photos") / "deep", white=4095)


@pytest.fixture(scope="module")
def fitted_once(deep: Path, store: Path) -> tuple[FitResult, list[str]]:
    """A fit to them, and the lines that it printed."""
    return fit_to(deep, store)


def fit_to(folder: Path, store: Path, **settings: Any) -> tuple[FitResult, list[str]]:
    lines: list[str] = []
    events = Events(lambda event: lines.append(event_line(event) or type(event).__name__))
    chosen = {"model": "test_resnet", "train": "head", "cache_dir": str(store), "validation_share": 0.2}
    return fit(read(folder), FitSettings.of(**{**chosen, **PLAIN, **settings}), events=events), lines


def test_brightness_as_the_class_is_learned_as_well_as_from_8_bits(
    fitted_once: tuple[FitResult, list[str]], tmp_path: Path, store: Path
) -> None:
    of_16, lines = fitted_once
    of_8, _ = fit_to(shades(tmp_path / "plain", white=255), store)
    assert "pixel values: uint16, 0 to 4095 is black to white (guessed; --value-range settles it)" in lines
    assert of_16.classifier.spec.value_ranges == (ValueRange("uint16", 0, 4095),)
    assert of_8.classifier.spec.value_ranges == ()
    assert of_16.evaluation.top1.value == of_8.evaluation.top1.value == 1


def test_the_range_is_kept_in_the_classifier_and_used_for_single_images(
    deep: Path, tmp_path: Path, fitted_once: tuple[FitResult, list[str]]
) -> None:
    found, _ = fitted_once
    run = save_run(found, tmp_path / "run")
    document = json.loads((run / "classifier" / "model.json").read_text())
    assert document["input"]["value_ranges"] == [{"dtype": "uint16", "low": 0.0, "high": 4095.0}]
    loaded = load(run)
    assert loaded.spec == found.classifier.spec
    paths = sorted(deep.rglob("*.png"))[::5]
    alone = np.concatenate([loaded.predict_proba(path) for path in paths])
    arrays = loaded.predict_proba([np.asarray(Image.open(path)) for path in paths])
    in_8_bits = [np.asarray(decode(path, value_ranges=loaded.spec.value_ranges)) for path in paths]
    np.testing.assert_allclose(alone, arrays, atol=1e-5)
    np.testing.assert_allclose(alone, loaded.predict_proba(in_8_bits), atol=1e-5)
    other = loaded.predict_proba(paths, settings=EngineSettings(value_range="0,65535"))
    assert np.abs(other - alone).max() > 0.01


def test_a_given_range_is_used_and_has_features_of_its_own(
    deep: Path, store: Path, fitted_once: tuple[FitResult, list[str]]
) -> None:
    spec = fitted_once[0].classifier.spec
    found, lines = fit_to(deep, store, value_range="0,16383")
    assert found.classifier.spec == replace(spec, value_ranges=(ValueRange("any", 0, 16383),))
    assert "pixel values: 0 to 16383 is black to white" in lines
    spaces = [
        FeatureSpace("net", "0" * 32, "pool", each, "float32", "float16", (4,)).key
        for each in (spec, found.classifier.spec, replace(spec, value_ranges=()))
    ]
    assert len(set(spaces)) == 3


def test_evaluate_warns_of_images_with_another_range(
    deep: Path, tmp_path: Path, fitted_once: tuple[FitResult, list[str]], told: Any
) -> None:
    classifier, listener = fitted_once[0].classifier, told()
    evaluate(classifier, read(deep), events=listener)
    assert listener.lines == ["pixel values: uint16, 0 to 4095 is black to white"]
    other = told()
    evaluate(classifier, read(shades(tmp_path / "other", white=65535)), events=other)
    assert any("by their values, 0 to 65535 would be black to white in the uint16 images" in it for it in other.lines)


def test_check_tells_the_range_and_warns_of_two(tmp_path: Path, told: Any, photos: Any) -> None:
    folder, listener = shades(tmp_path / "deep", white=4095), told()
    plain = np.random.default_rng(5).integers(0, 256, (24, 30), np.uint8)
    Image.fromarray(plain).save(folder / "medium" / "plain.png")  # which has no range
    check(read(folder), FitSettings.of(cache_dir=str(tmp_path / "store")), features=False, events=listener)
    assert listener.lines == ["pixel values: uint16, 0 to 4095 is black to white (guessed; --value-range settles it)"]
    for number, path in enumerate(sorted(shades(tmp_path / "other", white=65535).rglob("*.png"))):
        path.rename(folder / path.parent.name / f"other {number}.png")
    listener = told()
    check(read(folder), FitSettings.of(cache_dir=str(tmp_path / "store")), features=False, events=listener)
    assert listener.lines[0] == "pixel values: uint16, 0 to 65535 is black to white"
    listener = told()
    check(read(photos(red=2)), FitSettings.of(cache_dir=str(tmp_path / "store")), features=False, events=listener)
    assert listener.lines == []


@pytest.mark.parametrize("value", ["4095", "5,5", "0,nan", "a,b", "0,1,2", 4095])
def test_a_range_must_be_two_numbers(value: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        EngineSettings.of(value_range=value)
    expected = f"value_range must be two numbers, the lower one first, for example 0,4095, got {value!r}"
    assert str(caught.value) == expected
