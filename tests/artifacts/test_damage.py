"""Nothing that was damaged is believed: a changed document is refused, or reads as before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import pytest
from torch import nn

from headstart.artifacts.classifier import Classifier, load
from headstart.artifacts.model_document import read_model_document
from headstart.artifacts.run_folder import Run, read_run, write_run
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.errors import RunError
from headstart.evaluate import fit_ood_detector
from headstart.inference.results import PredictionSetRule
from headstart.models.backbone import build

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def mutations(load_module: Callable[[Path], ModuleType]) -> ModuleType:
    return load_module(Path(__file__).parent.parent / "mutations.py")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved classifier with all that one can have."""
    network = build("test_resnet", classes=3).eval()
    head = network.get_classifier()  # type: ignore[operator]
    assert isinstance(head, nn.Linear)
    rows = np.random.default_rng(0).normal(size=(30, head.in_features))
    classifier = Classifier(
        network,
        ("ant", "bee", "나비"),
        InputSpec(height=32, width=32),
        "test_resnet",
        "last:1",
        temperature=1.25,
        sets=PredictionSetRule(0.7, 0.9),
        ood_detector=fit_ood_detector(rows, np.arange(30) % 3, rows),
    )
    return classifier.save(tmp_path_factory.mktemp("saved") / "classifier")


@pytest.fixture(scope="module")
def run(made_run: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = made_run.make_run(
        tmp_path_factory.mktemp("made"), ["cat", "dog", "owl"], problems=[("broken.jpg", "empty file")]
    )
    return folder


Read = TypeVar("Read")


def read_or_refusal(read: Callable[[Path], Read], path: Path) -> Read | str:
    """What is read, or the message of the refusal; any other error is a failure."""
    try:
        return read(path)
    except RunError as error:
        return str(error)


def test_a_changed_model_json_is_refused_or_reads_as_before(saved: Path, mutations: ModuleType, tmp_path: Path) -> None:
    path, whole = tmp_path / "model.json", read_model_document(saved / "model.json")
    tried = refused = 0
    for name, text in mutations.texts_of(saved / "model.json"):
        path.write_text(text)
        found = read_or_refusal(read_model_document, path)
        tried, refused = tried + 1, refused + isinstance(found, str)
        # The field is named, or the one that holds it.
        assert name.partition(".")[0] in found if isinstance(found, str) else found == whole, f"{name}: {text}: {found}"
    assert tried > 500
    assert refused > 0.98 * tried
    for data in mutations.bytes_of(saved / "model.json", 500):
        path.write_bytes(data)
        found = read_or_refusal(read_model_document, path)
        assert found.startswith(f"{path}: ") if isinstance(found, str) else found == whole


@pytest.mark.parametrize("name", ["model.safetensors", "ood_detector.safetensors", "model.json"])
def test_a_damaged_file_of_a_classifier_is_refused(
    saved: Path, mutations: ModuleType, tmp_path: Path, name: str
) -> None:
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for data in mutations.bytes_of(saved / name, 20, seed=1):
        (tmp_path / name).write_bytes(data)
        if data.strip() != (saved / name).read_bytes().strip():
            with pytest.raises(RunError, match=name):
                load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"classes": ["ant", "bee", "bee"]}, "classes: 'bee' occurs more than once."),
        ({"classes": ["ant", "bee", ""]}, "classes.2: String should have at least 1 character."),
        (
            {"classes": ["나비", "bee", "ant"]},
            "classes: does not match checksums.classes, so the document was changed after it was written.",
        ),
        ({"temperature": 0}, "temperature: Input should be greater than 0."),
        ({"temperature": "2"}, "temperature: Input should be a valid number."),
        (
            {"temperature": 2.0},
            "temperature: does not match checksums.temperature, so the document was changed after it was written.",
        ),
        ({"tta_flip": "no"}, "tta_flip: Input should be a valid boolean."),
        ({"train": None}, "train: Input should be a valid string."),
        ({"train": "haed"}, "train: Input must be auto, head, "),
        (
            {"model": "test_resnet2"},
            "model: does not match checksums.model, so the document was changed after it was written.",
        ),
        ({"prediction_sets": {"threshold": "0.7", "coverage": 0.9}}, "prediction_sets.threshold: Input should be a "),
        ({"mirror": "no"}, "mirror: Unexpected keyword argument."),
        ({"checksums": None}, "checksums: Field required."),
    ],
)
def test_the_field_is_named(saved: Path, tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    message = refusal_of_changed(saved, tmp_path, changes)
    assert message.startswith(f"{tmp_path / 'model.json'}: damaged: {text}")
    assert message.endswith(" Save the classifier again.")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"height": 0}, "input.height: Input should be greater than or equal to 1."),
        ({"height": 20_000}, "input.height: Input should be less than or equal to 16384."),
        ({"height": 32.0}, "input.height: Input should be a valid integer."),
        ({"crop": 1e-9}, "input.crop: Input should be greater than or equal to 0.01."),
        ({"channels": "BRG"}, "input.channels: Input should be 'RGB' or 'BGR'."),
        (
            {"channels": "BGR"},
            "input: does not match checksums.input, so the document was changed after it was written.",
        ),
        ({"std": "0.2"}, "input.std: Input should be a valid array."),
        ({"std": [0.2, 0.2, 0]}, "input.std.2: Input should be greater than 0."),
        ({"interpolation": "cubic"}, "input.interpolation: Input should be 'nearest', 'bilinear', "),
    ],
)
def test_the_field_of_the_input_is_named(saved: Path, tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    whole = json.loads((saved / "model.json").read_text(encoding="utf-8"))["input"]
    message = refusal_of_changed(saved, tmp_path, {"input": {**whole, **changes}})
    assert message.startswith(f"{tmp_path / 'model.json'}: damaged: {text}")


def refusal_of_changed(saved: Path, folder: Path, changes: dict[str, Any]) -> str:
    document = json.loads((saved / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps({**document, **changes}))
    with pytest.raises(RunError) as refusal:
        read_model_document(folder / "model.json")
    return str(refusal.value)


def same(one: Run, other: Run) -> bool:
    return (
        (one.info, one.evaluation, one.history) == (other.info, other.evaluation, other.history)
        and one.manifest.table.equals(other.manifest.table)
        and (one.predictions.uris, one.predictions.classes) == (other.predictions.uris, other.predictions.classes)
        and np.array_equal(one.predictions.probabilities, other.predictions.probabilities)
        and np.array_equal(one.predictions.targets, other.predictions.targets)
    )


@pytest.mark.parametrize(
    "name",
    [
        "settings.json",
        "evaluation.json",
        "history.jsonl",
        "manifest.parquet",
        "predictions.parquet",
        "saliency.parquet",
    ],
)
def test_a_damaged_run_is_refused_or_reads_as_before(run: Path, mutations: ModuleType, name: str) -> None:
    path, whole = run / name, read_run(run)
    data = path.read_bytes()
    changed = [*mutations.bytes_of(path, 150)]
    if name.endswith(".json"):
        changed += [text.encode() for _, text in list(mutations.texts_of(path))[::7]]
    try:
        for each in changed:
            path.write_bytes(each)
            found = read_or_refusal(read_run, run)
            assert name in found if isinstance(found, str) else same(found, whole)
    finally:
        path.write_bytes(data)


@pytest.mark.parametrize("count", [3, 40])
def test_a_damaged_manifest_alone_is_refused_or_reads_as_before(
    mutations: ModuleType, tmp_path: Path, count: int
) -> None:
    uris, path = [f"/photos/{number}.jpg" for number in range(count)], tmp_path / "manifest.parquet"
    manifest = Manifest.from_rows(uris, labels=["cat", "dog", None] * (count // 3) + ["cat"] * (count % 3))
    manifest = manifest.with_column("width", range(count)).with_column("hash", [f"{row:032x}" for row in range(count)])
    manifest.write(path)
    refused = 0
    for data in list(mutations.bytes_of(path, 600)):
        path.write_bytes(data)
        found = read_or_refusal(Manifest.read, path)
        refused += isinstance(found, str)
        assert found.startswith(str(path)) if isinstance(found, str) else found.table.equals(manifest.table)
    assert refused > 100


def test_files_of_two_runs_are_not_taken_for_one(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run(["cat", "dog"])
    whole = read_run(run)
    other = tmp_path / "other"
    write_run(
        other,
        info=whole.info,
        evaluation=whole.evaluation,
        history=whole.history,
        manifest=whole.manifest.with_column("split", ["train"] * len(whole.manifest)),
        split=whole.manifest,
        probabilities=whole.predictions.probabilities,
        classes=whole.predictions.classes,
    )
    assert same(replace(read_run(other), manifest=whole.manifest, info=whole.info), whole)
    (other / "manifest.parquet").replace(run / "manifest.parquet")
    with pytest.raises(RunError) as refusal:
        read_run(run)
    assert str(refusal.value).startswith(
        f"{run / 'manifest.parquet'}: was changed after the settings.json beside it was written. Run `headstart "
    )
