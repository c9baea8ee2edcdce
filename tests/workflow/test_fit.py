from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, log_loss

import headstart
from headstart.artifacts.classifier import load
from headstart.config import RECIPES, EngineSettings
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.errors import CutError, DataError, ModelError, SettingsError, TooManyProblems
from headstart.evaluate.schema import Evaluation, read_evaluation, read_history, read_run_info
from headstart.events import EpochEnded
from headstart.models.stage_head import kernel_size, stage_head
from headstart.workflow import head_vectors
from headstart.workflow import predict as predicting
from headstart.workflow.evaluate import evaluate
from headstart.workflow.fit import FitResult
from headstart.workflow.report import report
from headstart.workflow.runs import save_run

Photos = Callable[..., Path]
Fit = Callable[..., FitResult]
PLAIN = EngineSettings(engine="torch", precision="float32")


def without_seconds(records: Sequence[Any]) -> list[Any]:
    return [replace(record, seconds=0.0) for record in records]


def figures(fitted: FitResult) -> Evaluation:
    """The evaluation without durations."""
    evaluation = fitted.evaluation
    assert evaluation.summary is not None
    trials = tuple(without_seconds(evaluation.trials))
    return replace(evaluation, summary=replace(evaluation.summary, seconds={}), trials=trials)


def test_refit_changes_the_head_but_not_the_reported_figures(photos: Photos, fitted: Fit, told: Any) -> None:
    """Validation figures and temperature are those of the head before the refit; the final head differs."""
    folder = photos(red=40, green=40, blue=40)
    on, off = (fitted(folder, told(), train="head", refit=each) for each in (True, False))
    assert figures(on) == figures(off)
    assert np.array_equal(on.probabilities, off.probabilities)
    heads = [each.classifier.network.get_classifier().weight for each in (on, off)]
    assert not torch.equal(*heads)
    assert on.classifier.temperature == off.classifier.temperature


# -- from images to a report and back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("train", ["head", "last:1", "all"])
def test_fit_save_load_predict_evaluate(photos: Photos, fitted: Fit, told: Any, tmp_path: Path, train: str) -> None:
    folder, recorder = photos(red=14, green=14, blue=14), told()
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    found = fitted(folder, recorder, train=train, epochs=3, test_share=0.2, max_problems=0.5)
    assert recorder.lines[0] == "1 of 43 images cannot be used and are set aside"
    assert found.split == "test"
    counts = {"train": 26, "validation": 8, "test": 8}
    summary = found.evaluation.summary
    assert summary is not None
    assert (summary.images, summary.problems) == (counts, 1)
    assert list(summary.seconds)[-3:] == ["features", "training", "evaluating"]
    assert found.evaluation.notes[0] == "These images were neither trained on nor used for any choice."

    run = save_run(found, tmp_path / "run")
    assert sorted(path.name for path in run.iterdir()) == [
        "classes.csv",
        "classifier",
        "evaluation.json",
        "history.jsonl",
        "manifest.parquet",
        "predictions.parquet",
        "problems.csv",
        "saliency.parquet",
        "settings.json",
    ]
    assert report(run) == run / "report.html"
    assert "test_resnet" in (run / "report.html").read_text(encoding="utf-8")
    _check_files(run, found)

    classifier = load(run)
    examined = found.manifest.in_split("test").usable
    assert np.allclose(classifier.predict_proba(examined, settings=PLAIN), found.probabilities, atol=1e-5)
    predictions = predicting.predict(classifier, found.manifest, PLAIN)
    assert len(predictions.probabilities) == 42
    (problem,) = [each for each in predictions.manifest.problems if each]
    assert problem == "not an image that Pillow reads"

    other = photos("others", seed=1, red=4, green=4, blue=4)
    _, evaluation = evaluate(classifier, read_images(other), PLAIN)
    assert evaluation.images == 12
    if train == "head":
        assert evaluation.top1.value > 0.9  # colors are easy, even for a random network


def _check_files(run: Path, found: FitResult) -> None:
    evaluation, history = read_evaluation(run / "evaluation.json"), read_history(run / "history.jsonl")
    assert (evaluation, history) == (found.evaluation, found.history)
    assert [record.epoch for record in history] == list(range(1, len(history) + 1))
    assert [record.chosen for record in history].count(True) == 1
    info = read_run_info(run / "settings.json")
    assert (info.headstart, info.command, info.seeds) == (headstart.__version__, "fit", (0,))
    assert info.settings == found.settings.values()
    assert info.versions["torch"] == torch.__version__.partition("+")[0]
    assert datetime.fromisoformat(info.created).utcoffset() is not None
    assert Manifest.read(run / "manifest.parquet").table.equals(found.manifest.table)
    assert (run / "problems.csv").read_text().splitlines()[1].endswith("broken.png,not an image that Pillow reads")

    table = pq.read_table(run / "predictions.parquet")
    assert table.schema.names == ["uri", "split", "label", "probabilities"]
    assert json.loads(table.schema.metadata[b"classes"]) == ["blue", "green", "red"]
    shares = np.array(table["probabilities"].to_pylist())
    exact = shares / shares.sum(1, keepdims=True)  # scikit-learn wants sums of 1 in double precision
    assert set(table["split"].to_pylist()) == {"test"}
    targets = [evaluation.classes.index(label) for label in table["label"].to_pylist()]
    assert evaluation.top1.value == pytest.approx(accuracy_score(targets, shares.argmax(1)))
    assert evaluation.log_loss.value == pytest.approx(log_loss(targets, exact, labels=[0, 1, 2]), abs=1e-5)
    assert np.array_equal(shares.astype(np.float32), found.probabilities)


@pytest.mark.parametrize("flip", [False, True])
def test_kernel_of_the_head_is_handed_over(photos: Photos, fitted: Fit, tmp_path: Path, *, flip: bool) -> None:
    options = {"train": "head", "kernel": "rbf:0.3", "stages": "late:1", "test_share": 0.2, "tta_flip": flip}
    found = fitted(photos(red=14, green=14, blue=14), refit=False, **options)
    assert {record.kernel for record in found.history} == {None, "rbf:0.3"}
    network, summary = found.classifier.network, found.evaluation.summary
    assert summary is not None
    numbers = sum(value.numel() for value in network.parameters()) + kernel_size(network)
    assert kernel_size(network) > 0
    assert summary.parameters == numbers
    head = network.get_classifier()  # type: ignore[operator]
    of_stages = stage_head(network)
    assert of_stages is not None
    trained = sum(value.numel() for value in (*head.parameters(), of_stages.weight)) + kernel_size(network)
    assert summary.trainable_parameters == trained
    run = save_run(found, tmp_path / "run")
    classifier, examined = load(run), found.manifest.in_split("test").usable
    assert np.allclose(classifier.predict_proba(examined, settings=PLAIN), found.probabilities, atol=1e-5)
    # What was solved for is what is computed: the loss of the record is that of the classifier without temperature.
    (chosen,) = [record for record in found.history if record.chosen]
    validation = found.manifest.in_split("validation").usable
    plain = replace(classifier, temperature=1.0).predict_proba(validation, settings=PLAIN)
    labels = [str(label) for label in validation.labels]
    assert log_loss(labels, plain, labels=list(classifier.classes)) == pytest.approx(chosen.val_loss, abs=1e-4)
    assert load_file(run / "classifier" / "model.safetensors")["stage_head.landmarks"].ndim == 2


def test_it_is_told_that_there_are_too_many_images_for_a_kernel(
    photos: Photos, fitted: Fit, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_vectors, "MAX_IMAGES", 27)
    events, settings = told(), {"train": "head", "kernel": "auto", "validation_share": 0.3}
    fitted(photos(red=14, green=14, blue=14), events, **settings)
    assert any(
        "with more than 27 training images, heads on a kernel are left out" in line and "--kernel rbf:0.2" in line
        for line in events.lines
    )


def test_kernel_without_stages_is_an_error(photos: Photos, fitted: Fit) -> None:
    with pytest.raises(SettingsError, match=r"--kernel rbf:0.3: test_resnet is used without its stages"):
        fitted(photos(red=14, green=14, blue=14), train="head", kernel="rbf:0.3", stages="none")


@pytest.mark.parametrize(("stages", "expected"), [("none", []), ("late:0.5", ["layer3", "layer2"])])
def test_stages_of_the_head_are_handed_over(
    photos: Photos, fitted: Fit, tmp_path: Path, stages: str, expected: list[str]
) -> None:
    found = fitted(photos(red=14, green=14, blue=14), train="head", stages=stages, test_share=0.2)
    assert {record.stages for record in found.history} == ({stages} if expected else {None})
    run = save_run(found, tmp_path / "run")
    document = json.loads((run / "classifier" / "model.json").read_text(encoding="utf-8"))
    assert [stage["name"] for stage in document["stages"]] == expected
    classifier, examined = load(run), found.manifest.in_split("test").usable
    assert np.allclose(classifier.predict_proba(examined, settings=PLAIN), found.probabilities, atol=1e-5)
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(
        again.predict_proba(examined, settings=PLAIN), classifier.predict_proba(examined, settings=PLAIN)
    )


@pytest.mark.parametrize("train", ["head", "last:1", "all"])
def test_second_fit_reuses_the_features_and_is_identical(photos: Photos, fitted: Fit, told: Any, train: str) -> None:
    folder = photos(red=8, green=8)
    first_face, second_face = told(), told()
    first = fitted(folder, first_face, train=train, epochs=2)
    second = fitted(folder, second_face, train=train, epochs=2)
    assert first_face.stages["computing features"] == 16
    assert "computing features" not in second_face.stages
    assert without_seconds(second.history) == without_seconds(first.history)
    assert figures(second) == figures(first)
    assert np.array_equal(second.probabilities, first.probabilities)
    for name, value in first.classifier.network.state_dict().items():
        assert torch.equal(second.classifier.network.state_dict()[name], value), name


def test_one_new_image_costs_one_row(photos: Photos, fitted: Fit, told: Any) -> None:
    folder, recorder = photos(red=6, green=6), told()
    fitted(folder)
    photos(seed=1, red=1)
    fitted(folder, recorder)
    assert recorder.stages["computing features"] == 1


def test_trials_with_the_same_cut_share_features(photos: Photos, fitted: Fit, told: Any) -> None:
    folder, recorder = photos(red=6, green=6), told()
    fitted(folder, train="last:1", epochs=1)
    fitted(folder, recorder, train="last:1", epochs=2, optimizer="sgd", lr=0.1)
    assert "computing features" not in recorder.stages


@pytest.mark.parametrize(
    "change", [{"model": "test_efficientnet"}, {"train": "last:1"}, {"framing": "model"}, {"feature_dtype": "float32"}]
)
def test_settings_that_change_the_features_do_not_share_them(
    photos: Photos, fitted: Fit, told: Any, change: dict[str, Any]
) -> None:
    folder, recorder = photos(red=4, green=4), told()
    fitted(folder, epochs=1)
    fitted(folder, recorder, epochs=1, **change)
    assert recorder.stages["computing features"] == 8


@pytest.mark.parametrize("model", ["test_efficientnet", "test_convnext", "test_vit"])
def test_solved_head_matches_the_network(photos: Photos, fitted: Fit, model: str) -> None:
    """For each kind of head, the solution on features equals the predictions of the whole network."""
    found = fitted(photos(red=8, green=8), model=model, feature_dtype="float32")
    assert {line.stage for line in found.history} == {"head"}
    (chosen,) = [line for line in found.history if line.chosen]
    assert found.evaluation.log_loss.value == pytest.approx(chosen.val_loss, abs=1e-4)
    examined = found.manifest.in_split("validation")
    assert np.allclose(found.classifier.predict_proba(examined, settings=PLAIN), found.probabilities, atol=1e-5)


def test_given_l2_penalty_is_the_only_one_tried(photos: Photos, fitted: Fit) -> None:
    found = fitted(photos(red=6, green=6), l2=0.5)
    assert {line.l2 for line in found.history} == {0.5}


def test_epochs_are_reported_as_events(photos: Photos, fitted: Fit, told: Any) -> None:
    recorder = told()
    found = fitted(photos(red=6, green=6), recorder, train="last:1", epochs=2)
    assert recorder.stages["training last:1"] == 2
    record = found.history[0]
    (event, _) = [each for each in recorder.received if isinstance(each, EpochEnded)]
    assert (event.trial, event.epoch, event.epochs) == ("last:1", 1, 2)
    assert (event.loss, event.val_loss) == (record.loss, record.val_loss)
    assert recorder.lines[0] == (
        f"epoch 1/2: loss {record.loss:.3f}, accuracy {record.accuracy:.1%}; "
        f"validation loss {record.val_loss:.3f}, accuracy {record.val_accuracy:.1%}"
    )


# -- which images are used --------------------------------------------------------------------------------------------


def test_validation_is_evaluated_without_a_test_split(photos: Photos, fitted: Fit) -> None:
    found = fitted(photos(red=10, green=10), validation_share=0.3)
    assert found.split == "validation"
    assert len(found.probabilities) == found.evaluation.images == 6
    assert found.evaluation.notes[0].startswith("These images were not trained on. What to train")


def test_unlabeled_images_are_left_out(photos: Photos, fitted: Fit, told: Any) -> None:
    manifest, recorder = read_images(photos(red=6, green=6)), told()
    labels = manifest.labels
    labels[0] = labels[7] = None
    found = fitted(manifest.with_column("label", labels), recorder)
    assert recorder.lines[0] == "warning: 2 images have no label and are left out"
    assert len(found.manifest) == 10
    assert sum(found.evaluation.summary.images.values()) == 10


def test_arrays_in_memory(fitted: Fit) -> None:
    shades = np.random.default_rng(0).integers(0, 100, (12, 20, 20, 3), np.uint8)
    shades[6:, ..., 0] += 150
    found = fitted(Manifest.from_arrays(list(shades), labels=["dark"] * 6 + ["red"] * 6))
    assert found.classifier.predict([shades[0], shades[11]]).tolist() == ["dark", "red"]


def test_given_splits_are_kept(photos: Photos, fitted: Fit) -> None:
    manifest = read_images(photos(red=8, green=8))
    splits = (["train"] * 4 + ["validation"] * 2 + ["test"] * 2) * 2
    found = fitted(manifest.with_column("split", splits))
    assert found.manifest.splits == splits
    assert found.split == "test"


def test_identical_images_stay_in_one_split(photos: Photos, fitted: Fit) -> None:
    folder = photos(red=6, green=6)
    for path in list(folder.rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    found = fitted(folder, validation_share=0.4)
    part_of: dict[str | None, set[str | None]] = {}
    for image, split in zip(found.manifest.hashes, found.manifest.splits, strict=True):
        part_of.setdefault(image, set()).add(split)
    assert all(len(parts) == 1 for parts in part_of.values())


# -- images that change during a fit ----------------------------------------------------------------------------------


def test_file_that_vanishes_after_inspection_is_skipped(photos: Photos, fitted: Fit, told: Any) -> None:
    folder = photos(red=10, green=10)
    one, other = folder / "red" / "0_03.png", folder / "green" / "0_04.png"

    def meddle() -> None:
        one.unlink()
        other.write_bytes((folder / "green" / "0_05.png").read_bytes())

    found = fitted(folder, told({"computing features": meddle}))
    problems = dict(zip(found.manifest.uris, found.manifest.problems, strict=True))
    assert problems.pop(str(one)) == "no such file"
    assert problems.pop(str(other)) == "it changed after it was inspected"
    assert set(problems.values()) == {None}
    assert found.evaluation.summary.problems == 2
    assert sum(found.evaluation.summary.images.values()) == 18


@pytest.mark.parametrize(
    ("part", "label", "most", "text"),
    [
        ("train", "red", 0.9, "all training images of class red vanished or changed during extraction; start again"),
        (
            "validation",
            None,
            0.9,
            "all validation images vanished or changed during extraction; start again",
        ),
        ("validation", None, 0.1, "4 of 20 images cannot be used (20.0%); at most 10.0% are allowed (--max-problems):"),
    ],
)
def test_fit_stops_when_too_many_images_vanish(
    photos: Photos, fitted: Fit, told: Any, part: str, label: str | None, most: float, text: str
) -> None:
    folder = photos(red=10, green=10)
    found = fitted(folder).manifest
    shutil.rmtree(folder.parent / "store")
    gone = [uri for uri, *which in zip(found.uris, found.splits, found.labels, strict=True) if part in which]
    gone = [uri for uri in gone if label is None or f"/{label}/" in uri]
    recorder = told({"computing features": lambda: [Path(uri).unlink() for uri in gone]})
    with pytest.raises(DataError) as caught:
        fitted(folder, recorder, max_problems=most)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(("asked", "kept"), [("float32", "float32"), ("auto", "auto")])
def test_classifier_keeps_the_precision_of_the_fit(photos: Photos, fitted: Fit, asked: str, kept: str) -> None:
    assert fitted(photos(red=4, green=4), precision=asked).classifier.metadata.precision == kept


def test_int8_fit_reports_the_change_in_accuracy(photos: Photos, fitted: Fit, told: Callable[..., Any]) -> None:
    source, events = photos(red=20, green=20, blue=20), told()
    whole = {"engine": "auto", "precision": "int8", "train": "head", "validation_share": 0.3}
    found = fitted(source, events, **whole)
    line = found.evaluation.notes[-1]
    assert line in events.lines
    exact = found.classifier.predict(found.manifest.in_split("validation"))
    labels = np.array(found.manifest.in_split("validation").labels)
    same_class = r"int8: (\d+) of 18 images \(.*%\) are assigned the same class as in float32"
    pattern = same_class + r"; accuracy (.*)%, in float32 (.*)%"
    same, coarse, true = map(float, re.fullmatch(pattern, line).groups())  # type: ignore[union-attr]
    assert true == round(100 * float((exact == labels).mean()), 1)
    assert coarse == round(100 * found.evaluation.top1.value, 1)
    assert same >= 15
    assert found.classifier.metadata.precision == "float32"  # as which it predicts single pictures
    # Split otherwise, nothing is computed again.
    events = told()
    fitted(source, events, **{**whole, "validation_share": 0.5})
    assert "computing features" not in events.stages


def test_int8_cross_validation_reports_no_training_accuracy(photos: Photos, fitted: Fit) -> None:
    found = fitted(photos(red=12, green=12, blue=12), engine="auto", precision="int8", validation_share=None)
    pattern = r"int8: \d+ of 36 images \(.*%\) are assigned the same class as in float32"
    assert re.fullmatch(pattern, found.evaluation.notes[-1])


# -- errors ----------------------------------------------------------------------------------------------------------


def refused(fitted: Fit, source: Path | Manifest, kind: type[Exception] = DataError, **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        fitted(source, **settings)
    return str(caught.value)


def test_settings_are_checked_first(fitted: Fit, tmp_path: Path) -> None:
    text = refused(fitted, Manifest.from_rows([tmp_path / "no.png"]), SettingsError, epochs=0, train="heads")
    assert text == (
        "train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got 'heads'; did you mean head?\n"
        "epochs must be a whole number of at least 1, got 0; the nearest valid value is 1"
    )


def test_unknown_cut_is_reported_before_images_are_read(photos: Photos, fitted: Fit, told: Callable[..., Any]) -> None:
    recorder = told()
    text = refused(fitted, photos(red=3, green=3), CutError, events=recorder, train="from:layer9")
    assert text.startswith("--train from:layer9: no module layer9 is executed in this network")
    assert "checking" not in recorder.stages


def test_no_labels(fitted: Fit, photos: Photos) -> None:
    folder = photos(red=3)
    manifest = Manifest.from_rows(list((folder / "red").iterdir()))
    assert refused(fitted, manifest) == (
        "no image has a label: give one subfolder per class, or a table of labels (--labels TABLE)"
    )


def test_one_class_only(fitted: Fit, photos: Photos) -> None:
    text = refused(fitted, photos(red=6))
    assert text == "a classifier needs training images of at least 2 classes, got 1 class, 'red'"


def test_no_image_left_for_validation(fitted: Fit, photos: Photos) -> None:
    assert refused(fitted, photos(red=1, green=1)) == (
        "no image is left for validation: give at least two images per class, or a larger --validation-share"
    )


@pytest.mark.parametrize("part", ["validation", "test"])
def test_class_without_training_images(fitted: Fit, photos: Photos, part: str) -> None:
    manifest = read_images(photos(red=6, green=6, blue=3))
    splits = [part if label == "blue" else None for label in manifest.labels]
    assert refused(fitted, manifest.with_column("split", splits)) == (
        f"the {part} split has classes without training images: blue; add training images of each"
    )


def test_too_many_problems(fitted: Fit, photos: Photos) -> None:
    folder = photos(red=3, green=3)
    (folder / "red" / "0_00.png").write_bytes(b"")
    (folder / "red" / "0_01.png").write_bytes(b"")
    text = refused(fitted, folder, TooManyProblems)
    assert text.startswith("2 of 6 images cannot be used (33.3%); at most 10.0% are allowed (--max-problems):\n  ")
    assert f"{folder / 'red' / '0_00.png'}: empty file" in text


def test_no_such_model(fitted: Fit, photos: Photos) -> None:
    text = refused(fitted, photos(red=3, green=3), ModelError, model="test_resnt")
    assert text.startswith("unknown model 'test_resnt'; did you mean test_resnet")


def test_no_such_module(fitted: Fit, photos: Photos) -> None:
    text = refused(fitted, photos(red=3, green=3), CutError, train="from:layer9")
    assert text.startswith("--train from:layer9: ")
    assert "did you mean layer" in text


def test_inspected_manifest_gives_the_same_fit(fitted: Fit, photos: Photos) -> None:
    folder = photos(red=6, green=6)
    one, other = fitted(folder), fitted(inspect_all(read_images(folder)))
    assert figures(one) == figures(other)


def test_classic_recipe_splits_and_orders_classes_by_the_table(photos: Photos, fitted: Fit, told: Any) -> None:
    manifest = read_images(photos(red=8, green=8, blue=8))
    order = np.random.default_rng(0).permutation(len(manifest))
    shuffled = manifest.select(order)
    found = fitted(shuffled, told(), **RECIPES["classic"] | {"train": "layers:3", "epochs": 2})
    assert found.classifier.classes == tuple(dict.fromkeys(shuffled.labels))
    assert found.manifest.splits == ["train"] * 18 + ["validation"] * 6
    assert [line.chosen for line in found.history] == [False, True]


@pytest.mark.parametrize("init", ["network", "glorot"])
def test_head_initialization(photos: Photos, fitted: Fit, init: str) -> None:
    found = fitted(photos(red=6, blue=6), train="last:1", epochs=1, lr=0.0, head_init=init)
    head = found.classifier.network.get_classifier()  # type: ignore[operator]
    assert (float(head.bias.detach().abs().max()) == 0) is (init == "glorot")


def test_input_settings_reach_the_classifier(photos: Photos, fitted: Fit) -> None:
    found = fitted(photos(red=6, blue=6), channels="BGR", range="0:1", size=48, framing="model", crop=0.9)
    spec = found.classifier.spec
    assert (spec.channels, spec.mean, spec.std, spec.height) == ("BGR", (0, 0, 0), (1, 1, 1), 48)
    assert (spec.crop, spec.crop_mode) == (0.9, "center")
