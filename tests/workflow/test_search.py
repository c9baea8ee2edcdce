"""The search over what to train, cross-validation where images are few, and several seeds."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.artifacts.classifier import load
from headstart.config import EngineSettings, FitSettings
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.evaluate.schema import TrialRecord
from headstart.models.backbone import load_backbone
from headstart.train.heads.priors import DiscriminantPrior
from headstart.workflow import extraction, glimpse, search
from headstart.workflow import fit as fit_workflow
from headstart.workflow.dataset import MIN_IMAGES_PER_CLASS
from headstart.workflow.extraction import open_extractor
from headstart.workflow.fit import FitResult, prepare
from headstart.workflow.forecast import forecast
from headstart.workflow.plan import plan
from headstart.workflow.runs import save_run
from headstart.workflow.stopwatch import Stopwatch

Photos = Callable[..., Path]
Fit = Callable[..., FitResult]
PLAIN = EngineSettings(engine="torch", precision="float32")


def trials(found: FitResult) -> list[str]:
    return [row.name for row in found.evaluation.trials]


def chosen(found: FitResult) -> TrialRecord:
    (row,) = [row for row in found.evaluation.trials if row.chosen]
    return row


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Two classes that differ in the direction of fine stripes, which pooled random features cannot tell."""
    folder, rng, rows, labels = tmp_path_factory.mktemp("stripes"), np.random.default_rng(0), [], []
    for number in range(280):
        across = number % 2
        wave = 40 * np.sign(np.sin(np.arange(32) * rng.uniform(1.2, 1.8) + rng.uniform(0, 6)))
        base = rng.integers(60, 190, 3) + rng.normal(0, 45, (32, 32, 3))
        pixels = base + (wave[:, None, None] if across else wave[None, :, None])
        path = folder / f"{number}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        rows.append(path)
        labels.append("across" if across else "along")
    return Manifest.from_rows(rows, labels=labels)


@pytest.fixture
def held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the zero prior, so that deeper training has something to gain."""
    monkeypatch.setattr(DiscriminantPrior, "fit", lambda *_, **__: None)


@pytest.mark.usefixtures("held_back")
@pytest.mark.parametrize("tta_flip", [False, True])
def test_deeper_training_is_kept_where_it_improves_validation(
    stripes: Manifest, fitted: Fit, tmp_path: Path, tta_flip: bool
) -> None:
    settings = {"validation_share": 0.4, "epochs": 8, "size": 32, "l2": 100.0, "stages": "none"}
    found = fitted(stripes, train="auto", seed=2, tta_flip=tta_flip, **settings)
    assert trials(found)[:2] == ["head", "last:1"]
    best = min(found.evaluation.trials, key=lambda row: row.log_loss)
    assert chosen(found) == best
    assert best.name != "head"
    assert found.classifier.train == best.name
    assert best.accuracy.low <= found.evaluation.top1.value <= best.accuracy.high
    # What was saved is what was chosen.
    classifier = load(save_run(found, tmp_path / "run"))
    examined = found.manifest.usable.in_split("validation")
    right = classifier.predict_proba(examined, settings=PLAIN).argmax(1) == examined.targets(found.classifier.classes)
    assert right.mean() == pytest.approx(found.evaluation.top1.value)
    assert {line.trial for line in found.history} == set(trials(found))


def test_fine_tuning_starts_from_a_head_without_the_discriminant_prior(
    stripes: Manifest, fitted: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "train": "auto",
        "validation_share": 0.4,
        "epochs": 2,
        "size": 32,
        "seed": 2,
        "l2": 100.0,
        "stages": "none",
    }

    def trained(found: FitResult) -> list[tuple[float, float]]:
        own = [line for line in found.history if (line.trial, line.stage) == ("last:1", "finetune")]
        return [(line.loss, line.val_loss) for line in own]

    pulled = fitted(stripes, **settings)
    assert [line.prior for line in pulled.history if line.chosen and line.trial == "head"] == ["discriminant"]
    monkeypatch.setattr(DiscriminantPrior, "fit", lambda *_, **__: None)
    assert trained(fitted(stripes, **settings)) == trained(pulled) != []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_search_on_a_gpu(stripes: Manifest, fitted: Fit) -> None:
    """A trial leaves its layers on the device, where the next cut could not be traced."""
    found = fitted(stripes, train="auto", validation_share=0.4, epochs=8, size=32, seed=1, device="cuda")
    assert not any("cannot be traced" in row.note for row in found.evaluation.trials)
    assert "last:1" in trials(found)


def test_features_read_from_the_store_give_the_same_classifier(
    photos: Photos, fitted: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"train": "head", "tta_flip": True, "test_share": 0.2}
    folder = photos(red=20, green=20)
    held = fitted(folder, **settings)
    monkeypatch.setattr(extraction, "MAX_IN_MEMORY", 0)
    monkeypatch.setattr(extraction, "MAX_FOR_ONE_PASS", 0)
    read = fitted(folder, **settings)
    for name, value in held.classifier.network.state_dict().items():
        assert torch.equal(read.classifier.network.state_dict()[name], value), name
    assert np.array_equal(read.probabilities, held.probabilities)
    assert (read.classifier.ood_detector is None) == (held.classifier.ood_detector is None)


def test_validation_image_that_vanishes_between_trials(photos: Photos, fitted: Fit, told: Any, tmp_path: Path) -> None:
    """The second stage of extraction is that of the first deeper trial, whose glimpse has one image less.

    With two views of each image for the head, the first stage is not one for both.
    """
    settings = {"train": "auto", "validation_share": 0.5, "epochs": 1, "size": 32, "tta_flip": True}
    folder = photos(red=60, green=60)
    gone = fitted(folder, **settings | {"train": "head"}).manifest.in_split("validation").uris[0]
    stages: list[None] = []

    def remove_at_the_second_stage() -> None:
        stages.append(None)
        if len(stages) == 2:
            Path(gone).unlink()

    shutil.rmtree(tmp_path / "store")
    found = fitted(folder, told({"computing features": remove_at_the_second_stage}), **settings)
    assert trials(found)[:2] == ["head", "last:1"]
    problems = dict(zip(found.manifest.uris, found.manifest.problems, strict=True))
    assert problems.pop(gone) == "no such file"
    assert set(problems.values()) == {None}
    assert found.evaluation.images == len(found.probabilities) == 59


def test_losing_trial_does_not_change_the_result(stripes: Manifest, fitted: Fit) -> None:
    """The learning rate is so high that training ends worse than it began: the solved head is kept."""
    settings = {"validation_share": 0.4, "epochs": 1, "size": 32}
    ladder = fitted(stripes, train="auto", lr=30.0, **settings)
    alone = fitted(stripes, train="head", **settings)
    assert trials(ladder) == ["head", "last:1"]
    assert chosen(ladder).name == "head"
    note = ladder.evaluation.trials[-1].note
    assert "no gain after 1 of 3 careful epochs" in note  # far behind the head: there are no more
    assert "last:5 is not tried" in note
    for name, value in alone.classifier.network.state_dict().items():
        assert torch.equal(ladder.classifier.network.state_dict()[name], value), name
    assert np.array_equal(ladder.probabilities, alone.probabilities)


@pytest.mark.usefixtures("held_back")
def test_glimpse_must_improve_by_more_than_its_margin(stripes: Manifest, fitted: Fit) -> None:
    found = fitted(stripes, train="auto", validation_share=0.4, epochs=8, size=32, seed=0, stages="none")
    head, tried = found.evaluation.trials
    assert tried.log_loss < head.log_loss
    assert head.chosen
    assert re.search(
        r"^no gain after 3 of 3 careful epochs without augmentation: not trained further; "
        r"last:1 changed the log-loss of the head that it began with by -0\.\d+ ± 0\.\d+: last:5 is not tried$",
        tried.note,
    )


@pytest.mark.usefixtures("held_back")
def test_why_a_lower_log_loss_is_not_enough(stripes: Manifest, fitted: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "select_best", lambda *_, **__: 0)
    found = fitted(stripes, train="auto", validation_share=0.4, epochs=8, size=32, seed=2, l2=100.0, stages="none")
    head, tried, *_ = found.evaluation.trials
    assert tried.log_loss < head.log_loss
    assert head.chosen
    assert "lower than head by less than one standard error: head is kept" in tried.note


def test_the_first_pass_has_what_the_glimpse_needs(
    photos: Photos, fitted: Fit, told: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With few images for the glimpse: it finds the same ones, computed alone, and leads to the same result."""
    monkeypatch.setattr(glimpse, "IMAGES", 20)
    monkeypatch.setattr(glimpse, "CHECKED", 30)
    settings = {"train": "auto", "validation_share": 0.5, "test_share": 0.1, "epochs": 1, "size": 32, "lr": 30.0}
    folder, passes = photos(red=100, green=100), list[None]()
    listener = told({"computing features": lambda: passes.append(None)})
    joint = fitted(folder, listener, **settings)
    assert len(passes) == 2  # some images for both, the others for the head
    assert "on 30 validation images: not trained further" in joint.evaluation.trials[-1].note
    shutil.rmtree(tmp_path / "store")
    monkeypatch.setattr(fit_workflow, "extract_with_glimpse", lambda *_, **__: None)
    passes.clear()
    alone = fitted(folder, listener, **settings)
    assert len(passes) == 3  # all images for the head, and some of two splits for the glimpse
    assert np.array_equal(joint.probabilities, alone.probabilities)
    first, second = (found.evaluation.trials[-1] for found in (joint, alone))
    assert (first.accuracy, first.log_loss) == (second.accuracy, second.log_loss)
    again = fitted(folder, told(), **settings)
    assert np.array_equal(again.probabilities, alone.probabilities)


def test_budget_limits_the_search(stripes: Manifest, fitted: Fit, told: Any) -> None:
    recorder = told()
    found = fitted(stripes, recorder, train="auto", validation_share=0.4, size=32, budget="0.01s")
    assert trials(found) == ["head"]
    note = found.evaluation.trials[-1].note
    assert "--budget 0.01s" in note
    assert note.endswith(recorder.lines[-1])


def test_pretrained_head_is_a_trial_where_it_has_all_classes(photos: Photos, fitted: Fit, tmp_path: Path) -> None:
    backbone = load_backbone("tf_efficientnet_lite0")
    assert backbone.classes is not None
    names = [backbone.classes[index].split(",")[0] for index in (933, 950)]
    manifest = read_images(photos(red=6, green=6))
    meant = dict(zip(("green", "red"), names, strict=True))
    manifest = manifest.with_column("label", [meant[str(label)] for label in manifest.labels])
    settings = {"model": "tf_efficientnet_lite0", "weights": None, "train": "auto", "size": 64}
    found = fitted(manifest, **settings)
    assert trials(found) == ["pretrained", "head"]
    assert "no training" in found.evaluation.trials[0].note
    assert trials(fitted(manifest, pretrained_head=False, **settings)) == ["head"]


# -- few images -------------------------------------------------------------------------------------------------------


def test_few_images_are_cross_validated(photos: Photos, fitted: Fit, tmp_path: Path) -> None:
    found = fitted(photos(red=10, green=10), train="auto", validation_share=None)
    assert (found.split, found.evaluation.split) == ("train", "cross-validation")
    assert found.evaluation.images == len(found.probabilities) == 20
    assert set(found.manifest.splits) == {"train"}
    assert found.evaluation.trials[-1].note.endswith(
        f"fewer than {MIN_IMAGES_PER_CLASS} images per class: only the head is trained"
    )
    run = save_run(found, tmp_path / "run")
    assert load(run).predict(found.manifest, settings=PLAIN).tolist() == found.manifest.labels


def test_cross_validation_with_a_test_split(photos: Photos, fitted: Fit) -> None:
    found = fitted(photos(red=10, green=10), train="head", validation_share=None, test_share=0.3)
    assert (found.split, found.evaluation.images) == ("test", 6)
    assert set(found.manifest.splits) == {"train", "test"}


def test_given_splits_turn_cross_validation_off(photos: Photos, fitted: Fit) -> None:
    manifest = read_images(photos(red=6, green=6))
    splits = (["train"] * 4 + ["validation"] * 2) * 2
    assert fitted(manifest.with_column("split", splits), train="auto", validation_share=None).split == "validation"


def test_default_test_split_only_for_many_images(photos: Photos, fitted: Fit) -> None:
    assert fitted(photos(red=40, green=40), train="head", validation_share=None).split == "validation"


# -- flip averaging, sets and OOD score -------------------------------------------------------------------------------


def test_fine_tuning_with_flip_averaging_fits_an_ood_detector(stripes: Manifest, fitted: Fit) -> None:
    found = fitted(stripes, train="last:1", validation_share=0.4, tta_flip=True, augmentations=2, epochs=1)
    assert found.classifier.ood_detector is not None
    assert found.evaluation.out_of_distribution.flagged.value < 0.5


def test_flip_averaging_is_symmetric(stripes: Manifest, fitted: Fit, tmp_path: Path) -> None:
    # With stages both images would have a probability of 1.
    found = fitted(stripes, train="head", validation_share=0.4, tta_flip=True, size=32, stages="none")
    classifier = load(save_run(found, tmp_path / "run"))
    assert classifier.tta_flip
    image = np.asarray(Image.open(stripes.uris[0]))
    one, other = classifier.predict_proba([image, image[:, ::-1]], settings=PLAIN)
    assert np.allclose(one, other, atol=1e-6)
    plain = fitted(stripes, train="head", validation_share=0.4, size=32, stages="none").classifier
    one, other = plain.predict_proba([image, image[:, ::-1]], settings=PLAIN)
    assert not np.allclose(one, other, atol=1e-4)


def test_fitted_classifier_has_sets_and_an_ood_detector(photos: Photos, fitted: Fit, tmp_path: Path) -> None:
    found = fitted(photos(red=40, green=40), train="head", coverage=0.8)
    assert found.evaluation.prediction_sets.coverage == 0.8
    assert found.evaluation.out_of_distribution.cross_fitted
    classifier = load(save_run(found, tmp_path / "run"))
    assert classifier.temperature == found.classifier.temperature != 1
    assert classifier.sets == found.classifier.sets
    (held,) = classifier.predict_sets(found.manifest.uris[0], settings=PLAIN)
    assert held == [found.manifest.labels[0]]
    blue = photos("others", blue=3)
    seen = classifier.infer(read_images(blue, labels=False), settings=PLAIN)
    assert classifier.ood_detector is not None
    assert seen.ood_score is not None
    assert (seen.ood_score > classifier.ood_detector.threshold).all()


# -- seeds, balance, a plan -------------------------------------------------------------------------------------------


def test_seeds_report_the_spread(photos: Photos, fitted: Fit) -> None:
    folder = photos(red=12, green=12)
    found = fitted(folder, train="head", seeds=3, seed=4)
    alone = fitted(folder, train="head", seed=5)
    told = found.evaluation.seeds
    assert told.seeds == (4, 5, 6)
    assert told.log_loss[:2] == (found.evaluation.log_loss.value, alone.evaluation.log_loss.value)
    assert len(set(told.log_loss)) == 3
    assert told.mean == pytest.approx(np.mean(told.accuracy))


@pytest.mark.parametrize("mode", ["weights", "logit-adjust"])
def test_class_balance_improves_recall_of_rare_classes(fitted: Fit, mode: str) -> None:
    rng = np.random.default_rng(0)
    labels = ["common"] * 180 + ["rare"] * 20
    shades = [rng.normal(120 + 25 * (label == "rare"), 30, (16, 16, 3)) + rng.normal(0, 25) for label in labels]
    manifest = Manifest.from_arrays([shade.clip(0, 255).astype(np.uint8) for shade in shades], labels=labels)

    def recall(balance: str) -> float:
        found = fitted(manifest, train="head", validation_share=0.4, class_balance=balance, size=32)
        return next(row for row in found.evaluation.per_class if row.name == "rare").recall.value

    assert recall(mode) > recall("none")


def test_plan_lists_each_trial_and_stores_nothing(photos: Photos, told: Any, tmp_path: Path) -> None:
    settings = FitSettings.of(
        model="test_resnet",
        weights="random",
        cache_dir=str(tmp_path / "store"),
        engine="torch",
        validation_share=0.5,
        augmentations=2,
    )
    recorder = told()
    lines = plan(read_images(photos(red=70, green=70)), settings, events=recorder)
    assert lines[0] == "images: 70 train, 70 validation"
    rows = {line.split()[0]: line.split() for line in lines[2:5]}
    assert list(rows) == ["head", "last:1", "last:5"]
    assert [rows[name][1] for name in rows] == ["140", "280", "280"]  # 70 × (1 + 2 augmented views) + 70
    assert "computing features" not in recorder.stages
    assert [line.count(" s ") for line in lines[2:5]] == [2, 3, 3]  # deeper trials begin with a glimpse


def test_plan_for_a_cluster(photos: Photos, told: Any, tmp_path: Path) -> None:
    settings = FitSettings.of(
        model="test_resnet",
        weights="random",
        cache_dir=str(tmp_path / "store"),
        engine="torch",
        train="head",
        validation_share=0.5,
        cluster="local:50",  # nothing is started
    )
    folder = photos(red=70, green=70)
    lines = plan(read_images(folder), settings, events=told())
    assert lines[-3] == "cluster: 50 workers of one core each"
    read = sum(file.stat().st_size for file in folder.rglob("*.png")) / 140 * 1e6
    assert f", {read / 1e9:.3g} GB of files to read, " in lines[-1]
    core_hours = float(lines[-1].split()[4])
    assert 0 < core_hours < 1000
    assert float(lines[-2].split()[1]) == pytest.approx(core_hours * 140 / 1e6, rel=0.01)


def test_more_workers_take_less_time(photos: Photos, told: Any, tmp_path: Path) -> None:
    settings = FitSettings.of(
        model="test_resnet", weights="random", cache_dir=str(tmp_path / "store"), engine="torch", validation_share=0.5
    )
    dataset, extractor = prepare(read_images(photos(red=70, green=70)), settings, told(), Stopwatch())
    few, many = (forecast(extractor, dataset, workers=workers).extraction for workers in (1, 10**6))
    assert 0 < many < few / 1000


def test_glimpse_is_part_of_the_forecast(photos: Photos, told: Any, tmp_path: Path) -> None:
    settings = FitSettings.of(
        model="test_resnet", weights="random", cache_dir=str(tmp_path / "store"), engine="torch", validation_share=0.5
    )
    dataset, extractor = prepare(read_images(photos(red=10, green=10)), settings, told(), Stopwatch())
    deeper = open_extractor(extractor.backbone, "last:1", settings, device="cpu")
    alone, glimpsed = (forecast(deeper, dataset, glimpse=glimpse) for glimpse in (False, True))
    assert alone.glimpse == 0
    assert 0 < glimpsed.glimpse < glimpsed.seconds
    assert glimpsed.features == alone.features == 10 * (1 + settings.augmentations) + 10
