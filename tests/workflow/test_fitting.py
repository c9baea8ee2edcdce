from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

import headstart
from headstart.classifier import load
from headstart.data.checkup import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.sources import read_images
from headstart.errors import CutError, DataError, ModelError, SettingsError, TooManyProblems
from headstart.settings import RECIPES, EngineSettings
from headstart.workflow import predicting
from headstart.workflow.fitting import Fitted
from headstart.workflow.reporting import report
from headstart.workflow.runs import save_run

Photos = Callable[..., Path]
Fit = Callable[..., Fitted]
PLAIN = EngineSettings(engine="torch", precision="float32")


def without_seconds(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def figures(fitted: Fitted) -> dict[str, Any]:
    (summary,), ladder = without_seconds([fitted.evaluation["summary"]]), without_seconds(fitted.evaluation["ladder"])
    return {**fitted.evaluation, "summary": summary, "ladder": ladder}


def test_a_solved_head_is_solved_again_on_the_images_that_chose_it(photos: Photos, fitted: Fit, told: Any) -> None:
    """What is told of validation is of the head before; the head that is handed over is another, and calibrated."""
    folder = photos(red=40, green=40, blue=40)
    on, off = (fitted(folder, told(), train="head", refit=each) for each in ("on", "off"))
    assert figures(on) == figures(off)
    assert np.array_equal(on.probabilities, off.probabilities)
    heads = [each.classifier.network.get_classifier().weight for each in (on, off)]
    assert not torch.equal(*heads)
    assert on.classifier.temperature == off.classifier.temperature


# -- from pictures to a report and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("train", ["head", "last:1", "all"])
def test_the_whole_line(photos: Photos, fitted: Fit, told: Any, tmp_path: Path, train: str) -> None:
    folder, face = photos(red=14, green=14, blue=14), told()
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    found = fitted(folder, face, train=train, epochs=3, test=0.2, max_problems=0.5)
    assert face.lines[0] == "1 of 43 images cannot be used and are set aside"
    assert found.part == "test"
    counts = {"train": 26, "validation": 8, "test": 8}
    summary = found.evaluation["summary"]
    assert (summary["images"], summary["problems"]) == (counts, 1)
    assert list(summary["seconds"])[-3:] == ["features", "training", "evaluating"]
    assert found.evaluation["note"] == "These images were neither trained on nor used for any choice."

    run = save_run(found, tmp_path / "run")
    assert sorted(path.name for path in run.iterdir()) == [
        "classes.csv",
        "classifier",
        "evaluation.json",
        "history.jsonl",
        "manifest.parquet",
        "predictions.parquet",
        "problems.csv",
        "settings.json",
    ]
    assert report(run) == run / "report.html"
    assert "test_resnet" in (run / "report.html").read_text(encoding="utf-8")
    _check_files(run, found)

    classifier = load(run)
    examined = found.manifest.part("test").usable
    assert np.allclose(classifier.predict_proba(examined, settings=PLAIN), found.probabilities, atol=1e-5)
    predictions = predicting.predict(classifier, found.manifest, PLAIN)
    assert len(predictions.probabilities) == 42
    (problem,) = [each for each in predictions.manifest.problems if each]
    assert problem == "not an image that Pillow reads"

    other = photos("others", seed=1, red=4, green=4, blue=4)
    _, evaluation = predicting.evaluate(classifier, read_images(other), PLAIN)
    assert evaluation["images"] == 12
    if train == "head":
        assert evaluation["top1"]["value"] > 0.9  # colours are easy, even for a random network


def _check_files(run: Path, found: Fitted) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation == json.loads(json.dumps(found.evaluation))
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert history == found.history
    assert [line["epoch"] for line in history] == list(range(1, len(history) + 1))
    assert [line["chosen"] for line in history].count(True) == 1
    settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    assert (settings["headstart"], settings["command"]) == (headstart.__version__, "fit")
    assert settings["settings"] == found.settings.values()
    assert Manifest.read(run / "manifest.parquet").table.equals(found.manifest.table)
    assert (run / "problems.csv").read_text().splitlines()[1].endswith("broken.png,not an image that Pillow reads")

    table = pq.read_table(run / "predictions.parquet")
    assert table.schema.names == ["uri", "split", "label", "probabilities"]
    assert json.loads(table.schema.metadata[b"classes"]) == ["blue", "green", "red"]
    shares = np.array(table["probabilities"].to_pylist())
    exact = shares / shares.sum(1, keepdims=True)  # scikit-learn wants sums of 1 in double precision
    assert set(table["split"].to_pylist()) == {"test"}
    targets = [evaluation["classes"].index(label) for label in table["label"].to_pylist()]
    assert evaluation["top1"]["value"] == pytest.approx(accuracy_score(targets, shares.argmax(1)))
    assert evaluation["log_loss"]["value"] == pytest.approx(log_loss(targets, exact, labels=[0, 1, 2]), abs=1e-5)
    assert np.array_equal(shares.astype(np.float32), found.probabilities)


@pytest.mark.parametrize("train", ["head", "last:1", "all"])
def test_a_second_fit_computes_nothing_and_is_the_same(photos: Photos, fitted: Fit, told: Any, train: str) -> None:
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


def test_one_more_picture_costs_one_more_row(photos: Photos, fitted: Fit, told: Any) -> None:
    folder, face = photos(red=6, green=6), told()
    fitted(folder)
    photos(seed=1, red=1)
    fitted(folder, face)
    assert face.stages["computing features"] == 1


def test_the_tail_shares_rows_with_another_tail_at_the_same_cut(photos: Photos, fitted: Fit, told: Any) -> None:
    folder, face = photos(red=6, green=6), told()
    fitted(folder, train="last:1", epochs=1)
    fitted(folder, face, train="last:1", epochs=2, optimizer="sgd", lr=0.1)
    assert "computing features" not in face.stages


@pytest.mark.parametrize(
    "change", [{"model": "test_efficientnet"}, {"train": "last:1"}, {"framing": "model"}, {"store_as": "float32"}]
)
def test_what_changes_the_features_does_not_share_them(
    photos: Photos, fitted: Fit, told: Any, change: dict[str, Any]
) -> None:
    folder, face = photos(red=4, green=4), told()
    fitted(folder, epochs=1)
    fitted(folder, face, epochs=1, **change)
    assert face.stages["computing features"] == 8


@pytest.mark.parametrize("model", ["test_efficientnet", "test_convnext", "test_vit"])
def test_a_solved_head_is_what_the_network_computes(photos: Photos, fitted: Fit, model: str) -> None:
    """For each way in which networks put a head on: what was solved on features is what comes out at the end."""
    found = fitted(photos(red=8, green=8), model=model, store_as="float32")
    assert {line["stage"] for line in found.history} == {"head"}
    (chosen,) = [line for line in found.history if line["chosen"]]
    assert found.evaluation["log_loss"]["value"] == pytest.approx(chosen["val_loss"], abs=1e-4)
    examined = found.manifest.part("validation")
    assert np.allclose(found.classifier.predict_proba(examined, settings=PLAIN), found.probabilities, atol=1e-5)


def test_the_penalty_may_be_given(photos: Photos, fitted: Fit) -> None:
    found = fitted(photos(red=6, green=6), l2=0.5)
    assert {line["l2"] for line in found.history} == {0.5}


def test_the_epoch_lines_are_told(photos: Photos, fitted: Fit, told: Any) -> None:
    face = told()
    found = fitted(photos(red=6, green=6), face, train="last:1", epochs=2)
    assert face.stages["training last:1"] == 2
    line = found.history[0]
    assert face.lines[0] == (
        f"epoch 1: loss {line['loss']:.3f}, accuracy {line['accuracy']:.1%}; "
        f"validation {line['val_loss']:.3f}, {line['val_accuracy']:.1%}"
    )


# -- which pictures count ---------------------------------------------------------------------------------------------


def test_without_a_test_part_validation_is_examined(photos: Photos, fitted: Fit) -> None:
    found = fitted(photos(red=10, green=10), validation=0.3)
    assert found.part == "validation"
    assert len(found.probabilities) == found.evaluation["images"] == 6
    assert found.evaluation["note"].startswith("These images were not trained on, but ")


def test_unlabelled_rows_are_left_out(photos: Photos, fitted: Fit, told: Any) -> None:
    manifest, face = read_images(photos(red=6, green=6)), told()
    labels = manifest.labels
    labels[0] = labels[7] = None
    found = fitted(manifest.with_column("label", labels), face)
    assert face.lines[0] == "2 images have no label and are left out"
    assert len(found.manifest) == 10
    assert sum(found.evaluation["summary"]["images"].values()) == 10


def test_pictures_in_memory(fitted: Fit) -> None:
    shades = np.random.default_rng(0).integers(0, 100, (12, 20, 20, 3), np.uint8)
    shades[6:, ..., 0] += 150
    found = fitted(Manifest.from_arrays(list(shades), labels=["dark"] * 6 + ["red"] * 6))
    assert found.classifier.predict([shades[0], shades[11]]).tolist() == ["dark", "red"]


def test_given_parts_are_kept(photos: Photos, fitted: Fit) -> None:
    manifest = read_images(photos(red=8, green=8))
    splits = (["train"] * 4 + ["validation"] * 2 + ["test"] * 2) * 2
    found = fitted(manifest.with_column("split", splits))
    assert found.manifest.splits == splits
    assert found.part == "test"


def test_copies_do_not_stand_on_both_sides(photos: Photos, fitted: Fit) -> None:
    folder = photos(red=6, green=6)
    for path in list(folder.rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    found = fitted(folder, validation=0.4)
    part_of: dict[str | None, set[str | None]] = {}
    for image, split in zip(found.manifest.hashes, found.manifest.splits, strict=True):
        part_of.setdefault(image, set()).add(split)
    assert all(len(parts) == 1 for parts in part_of.values())


# -- what changes meanwhile -------------------------------------------------------------------------------------------


def test_a_file_that_vanishes_after_it_was_inspected_is_set_aside(photos: Photos, fitted: Fit, told: Any) -> None:
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
    assert found.evaluation["summary"]["problems"] == 2
    assert sum(found.evaluation["summary"]["images"].values()) == 18


@pytest.mark.parametrize(
    ("part", "label", "most", "text"),
    [
        ("train", "red", 0.9, "while they were read, all images of red to train on vanished or changed; start again"),
        (
            "validation",
            None,
            0.9,
            "while they were read, all images to validate on vanished or changed; start again",
        ),
        ("validation", None, 0.1, "4 of 20 images cannot be used (20.0%); at most 10.0% may be (--max-problems):"),
    ],
)
def test_so_many_that_vanish_that_the_task_is_another(
    photos: Photos, fitted: Fit, told: Any, part: str, label: str | None, most: float, text: str
) -> None:
    folder = photos(red=10, green=10)
    found = fitted(folder).manifest
    shutil.rmtree(folder.parent / "store")
    gone = [uri for uri, *which in zip(found.uris, found.splits, found.labels, strict=True) if part in which]
    gone = [uri for uri in gone if label is None or f"/{label}/" in uri]
    face = told({"computing features": lambda: [Path(uri).unlink() for uri in gone]})
    with pytest.raises(DataError) as caught:
        fitted(folder, face, max_problems=most)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(("asked", "kept"), [("float32", "float32"), ("auto", "auto")])
def test_the_classifier_remembers_the_precision(photos: Photos, fitted: Fit, asked: str, kept: str) -> None:
    assert fitted(photos(red=4, green=4), precision=asked).classifier.facts["precision"] == kept


def test_a_fit_of_8_bit_numbers_tells_what_they_cost(photos: Photos, fitted: Fit, told: Callable[..., Any]) -> None:
    source, progress = photos(red=20, green=20, blue=20), told()
    whole = {"engine": "auto", "precision": "int8", "train": "head", "validation": 0.3}
    found = fitted(source, progress, **whole)
    line = found.evaluation["notes"][-1]
    assert line in progress.lines
    exact = found.classifier.predict(found.manifest.part("validation"))
    labels = np.array(found.manifest.part("validation").labels)
    pattern = r"int8: of 18 images (\d+) \(.*%\) get the class that float32 gives; accuracy (.*)%, in float32 (.*)%"
    same, coarse, true = map(float, re.fullmatch(pattern, line).groups())  # type: ignore[union-attr]
    assert true == round(100 * float((exact == labels).mean()), 1)
    assert coarse == round(100 * found.evaluation["top1"]["value"], 1)
    assert same >= 15
    assert found.classifier.facts["precision"] == "float32"  # as which it predicts single pictures
    # Split otherwise, nothing is computed again.
    progress = told()
    fitted(source, progress, **{**whole, "validation": 0.5})
    assert "computing features" not in progress.stages


def test_8_bit_numbers_with_folds_tell_no_accuracy_of_pictures_that_were_learned(photos: Photos, fitted: Fit) -> None:
    found = fitted(photos(red=12, green=12, blue=12), engine="auto", precision="int8", validation=None)
    assert re.fullmatch(
        r"int8: of 36 images \d+ \(.*%\) get the class that float32 gives", found.evaluation["notes"][-1]
    )


# -- what is refused --------------------------------------------------------------------------------------------------


def refused(fitted: Fit, source: Path | Manifest, kind: type[Exception] = DataError, **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        fitted(source, **settings)
    return str(caught.value)


def test_settings_are_checked_first(fitted: Fit, tmp_path: Path) -> None:
    text = refused(fitted, Manifest.from_rows([tmp_path / "no.png"]), SettingsError, epochs=0, train="heads")
    assert text == (
        "train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got 'heads'; did you mean head?\n"
        "epochs must be a whole number of at least 1, got 0; the nearest is 1"
    )


def test_a_place_to_cut_that_is_none_is_told_before_the_images_are_read(
    photos: Photos, fitted: Fit, told: Callable[..., Any]
) -> None:
    face = told()
    text = refused(fitted, photos(red=3, green=3), CutError, progress=face, train="from:layer9")
    assert text.startswith("--train from:layer9: this network has no module layer9 that runs")
    assert "checking" not in face.stages


def test_no_labels(fitted: Fit, photos: Photos) -> None:
    folder = photos(red=3)
    manifest = Manifest.from_rows(list((folder / "red").iterdir()))
    assert refused(fitted, manifest) == (
        "no image has a label: give a folder a class, or a table of labels (--labels TABLE)"
    )


def test_one_class(fitted: Fit, photos: Photos) -> None:
    text = refused(fitted, photos(red=6))
    assert text == "a classifier needs images of at least 2 classes to train on, got 1 class, 'red'"


def test_nothing_to_validate_on(fitted: Fit, photos: Photos) -> None:
    assert refused(fitted, photos(red=1, green=1)) == (
        "no image is left to validate on: give at least two images of a class, or a larger --validation"
    )


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_class_that_is_not_in_train(fitted: Fit, photos: Photos, part: str) -> None:
    manifest = read_images(photos(red=6, green=6, blue=3))
    splits = [part if label == "blue" else None for label in manifest.labels]
    assert refused(fitted, manifest.with_column("split", splits)) == (
        f"{part} has classes that train has not: blue; train needs images of each"
    )


def test_too_many_problems(fitted: Fit, photos: Photos) -> None:
    folder = photos(red=3, green=3)
    (folder / "red" / "0_00.png").write_bytes(b"")
    (folder / "red" / "0_01.png").write_bytes(b"")
    text = refused(fitted, folder, TooManyProblems)
    assert text.startswith("2 of 6 images cannot be used (33.3%); at most 10.0% may be (--max-problems):\n  ")
    assert f"{folder / 'red' / '0_00.png'}: empty file" in text


def test_no_such_model(fitted: Fit, photos: Photos) -> None:
    text = refused(fitted, photos(red=3, green=3), ModelError, model="test_resnt")
    assert text.startswith("no model is called test_resnt; did you mean test_resnet")


def test_no_such_module(fitted: Fit, photos: Photos) -> None:
    text = refused(fitted, photos(red=3, green=3), CutError, train="from:layer9")
    assert text.startswith("--train from:layer9: ")
    assert "did you mean layer" in text


def test_a_manifest_that_was_inspected_before_is_as_good(fitted: Fit, photos: Photos) -> None:
    folder = photos(red=6, green=6)
    one, other = fitted(folder), fitted(inspect_all(read_images(folder)))
    assert figures(one) == figures(other)


def test_the_classic_recipe_splits_and_numbers_by_the_table(photos: Photos, fitted: Fit, told: Any) -> None:
    manifest = read_images(photos(red=8, green=8, blue=8))
    order = np.random.default_rng(0).permutation(len(manifest))
    shuffled = manifest.select(order)
    found = fitted(shuffled, told(), **RECIPES["classic"] | {"train": "layers:3", "epochs": 2})
    assert found.classifier.classes == tuple(dict.fromkeys(shuffled.labels))
    assert found.manifest.splits == ["train"] * 18 + ["validation"] * 6
    assert [line["chosen"] for line in found.history] == [False, True]


@pytest.mark.parametrize("init", ["network", "glorot"])
def test_how_a_new_head_begins(photos: Photos, fitted: Fit, init: str) -> None:
    found = fitted(photos(red=6, blue=6), train="last:1", epochs=1, lr=0.0, head_init=init)
    head = found.classifier.network.get_classifier()  # type: ignore[operator]
    assert (float(head.bias.detach().abs().max()) == 0) is (init == "glorot")


def test_what_the_network_is_shown_may_be_set(photos: Photos, fitted: Fit) -> None:
    found = fitted(photos(red=6, blue=6), channels="BGR", range="0:1", size=48, framing="model", crop=0.9)
    spec = found.classifier.spec
    assert (spec.channels, spec.mean, spec.std, spec.height) == ("BGR", (0, 0, 0), (1, 1, 1), 48)
    assert (spec.crop, spec.crop_mode) == (0.9, "center")
