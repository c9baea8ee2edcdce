"""What is trained by itself: the rungs of the ladder, folds where images are few, and more than one seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.classifier import load
from headstart.data.manifest import Manifest
from headstart.data.sources import read_images
from headstart.models.backbone import load_backbone
from headstart.settings import EngineSettings, FitSettings
from headstart.train.origins import Discriminant
from headstart.workflow import rungs as rungs_module
from headstart.workflow.fitting import FEW, Fitted, _prepared, plan
from headstart.workflow.planning import forecast
from headstart.workflow.runs import save_run

Photos = Callable[..., Path]
Fit = Callable[..., Fitted]
PLAIN = EngineSettings(engine="torch", precision="float32")


def rungs(found: Fitted) -> list[str]:
    return [row["rung"] for row in found.evaluation["ladder"]]


def chosen(found: Fitted) -> dict[str, Any]:
    (row,) = [row for row in found.evaluation["ladder"] if row["chosen"]]
    return row


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Two classes that differ in the direction of fine stripes on any colour: not what pooled random features tell."""
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
    """Heads that only zero may pull, so that there is something to gain."""
    monkeypatch.setattr(Discriminant, "chosen", lambda *_: None)


@pytest.mark.usefixtures("held_back")
def test_it_climbs_where_that_pays_and_ends_on_the_best_rung(stripes: Manifest, fitted: Fit, tmp_path: Path) -> None:
    found = fitted(stripes, train="auto", validation=0.4, epochs=8, size=32, seed=2, l2=100.0)
    assert rungs(found)[:2] == ["head", "last:1"]
    best = min(found.evaluation["ladder"], key=lambda row: row["log_loss"])
    assert chosen(found) == best
    assert best["rung"] != "head"
    assert found.classifier.train == best["rung"]
    assert best["low"] <= found.evaluation["top1"]["value"] <= best["high"]
    # What was saved is what was chosen.
    classifier = load(save_run(found, tmp_path / "run"))
    examined = found.manifest.usable.part("validation")
    right = classifier.predict_proba(examined, settings=PLAIN).argmax(1) == examined.targets(found.classifier.classes)
    assert right.mean() == pytest.approx(found.evaluation["top1"]["value"])
    assert {line["rung"] for line in found.history} == set(rungs(found))


def test_what_is_trained_begins_at_the_head_that_no_discriminant_analysis_pulls(
    stripes: Manifest, fitted: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"train": "auto", "validation": 0.4, "epochs": 2, "size": 32, "seed": 2, "l2": 100.0}

    def trained(found: Fitted) -> list[tuple[float, float]]:
        return [(line["loss"], line["val_loss"]) for line in found.history if line["rung"] == "last:1"]

    pulled = fitted(stripes, **settings)
    assert [line["start"] for line in pulled.history if line.get("chosen") and line["rung"] == "head"] == [
        "discriminant"
    ]
    monkeypatch.setattr(Discriminant, "chosen", lambda *_: None)
    assert trained(fitted(stripes, **settings)) == trained(pulled) != []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_climbs_as_far(stripes: Manifest, fitted: Fit) -> None:
    """A rung leaves its layers on the device, where the next one cannot be traced."""
    found = fitted(stripes, train="auto", validation=0.4, epochs=8, size=32, seed=1, device="cuda")
    assert not any("cannot be traced" in row["note"] for row in found.evaluation["ladder"])
    assert "last:1" in rungs(found)


def test_features_beyond_what_is_held_in_memory_make_the_same_classifier(
    photos: Photos, fitted: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"train": "head", "mirror": "on", "test": 0.2}
    folder = photos(red=20, green=20)
    held = fitted(folder, **settings)
    monkeypatch.setattr(rungs_module, "KEEP_IN_MEMORY", 0)
    monkeypatch.setattr(rungs_module, "_KEEP_FOR_ONE_PASS", 0)
    read = fitted(folder, **settings)
    for name, value in held.classifier.network.state_dict().items():
        assert torch.equal(read.classifier.network.state_dict()[name], value), name
    assert np.array_equal(read.probabilities, held.probabilities)
    assert (read.classifier.novelty is None) == (held.classifier.novelty is None)


def test_a_rung_that_loses_leaves_no_trace(stripes: Manifest, fitted: Fit) -> None:
    """A rate so high that training ends worse than it began: the head that was solved before it is what is kept."""
    settings = {"validation": 0.4, "epochs": 1, "size": 32}
    ladder = fitted(stripes, train="auto", lr=30.0, **settings)
    alone = fitted(stripes, train="head", **settings)
    assert rungs(ladder) == ["head", "last:1"]
    assert chosen(ladder)["rung"] == "head"
    assert "last:5 is not tried" in ladder.evaluation["ladder"][-1]["note"]
    for name, value in alone.classifier.network.state_dict().items():
        assert torch.equal(ladder.classifier.network.state_dict()[name], value), name
    assert np.array_equal(ladder.probabilities, alone.probabilities)


@pytest.mark.usefixtures("held_back")
def test_a_trained_rung_has_to_be_better_by_more_than_is_uncertain(stripes: Manifest, fitted: Fit) -> None:
    found = fitted(stripes, train="auto", validation=0.4, epochs=8, size=32, seed=1)
    head, tried = found.evaluation["ladder"]
    assert tried["log_loss"] < head["log_loss"]
    assert head["chosen"]
    assert "lower than head by less than a standard error: head is kept" in tried["note"]


def test_no_more_than_the_budget_allows(stripes: Manifest, fitted: Fit, told: Any) -> None:
    face = told()
    found = fitted(stripes, face, train="auto", validation=0.4, size=32, budget="0.01s")
    assert rungs(found) == ["head"]
    note = found.evaluation["ladder"][-1]["note"]
    assert "--budget 0.01s" in note
    assert note.endswith(face.lines[-1])


def test_the_pretrained_head_is_the_first_rung_where_it_knows_the_classes(
    photos: Photos, fitted: Fit, tmp_path: Path
) -> None:
    backbone = load_backbone("tf_efficientnet_lite0")
    assert backbone.classes is not None
    names = [backbone.classes[index].split(",")[0] for index in (933, 950)]
    manifest = read_images(photos(red=6, green=6))
    meant = dict(zip(("green", "red"), names, strict=True))
    manifest = manifest.with_column("label", [meant[str(label)] for label in manifest.labels])
    settings = {"model": "tf_efficientnet_lite0", "weights": None, "train": "auto", "size": 64}
    found = fitted(manifest, **settings)
    assert rungs(found) == ["pretrained", "head"]
    assert "no training" in found.evaluation["ladder"][0]["note"]
    assert rungs(fitted(manifest, pretrained_head="off", **settings)) == ["head"]


# -- few images -------------------------------------------------------------------------------------------------------


def test_few_images_are_judged_by_folds(photos: Photos, fitted: Fit, tmp_path: Path) -> None:
    found = fitted(photos(red=10, green=10), train="auto", validation=None)
    assert (found.part, found.evaluation["part"]) == ("train", "cross-validation")
    assert found.evaluation["images"] == len(found.probabilities) == 20
    assert set(found.manifest.splits) == {"train"}
    assert found.evaluation["ladder"][-1]["note"].endswith(
        f"fewer than {FEW} images a class: no more than the head is trained"
    )
    run = save_run(found, tmp_path / "run")
    assert load(run).predict(found.manifest, settings=PLAIN).tolist() == found.manifest.labels


def test_with_a_test_part_too(photos: Photos, fitted: Fit) -> None:
    found = fitted(photos(red=10, green=10), train="head", validation=None, test=0.3)
    assert (found.part, found.evaluation["images"]) == ("test", 6)
    assert set(found.manifest.splits) == {"train", "test"}


def test_images_that_have_a_part_are_not_few(photos: Photos, fitted: Fit) -> None:
    manifest = read_images(photos(red=6, green=6))
    splits = (["train"] * 4 + ["validation"] * 2) * 2
    assert fitted(manifest.with_column("split", splits), train="auto", validation=None).part == "validation"


def test_a_test_part_by_itself_only_where_it_is_large(photos: Photos, fitted: Fit) -> None:
    assert fitted(photos(red=40, green=40), train="head", validation=None).part == "validation"


# -- what goes with a prediction --------------------------------------------------------------------------------------


def test_a_deeper_rung_with_views_of_its_own_looks_at_mirrored_pictures_too(stripes: Manifest, fitted: Fit) -> None:
    found = fitted(stripes, train="last:1", validation=0.4, mirror="on", views=2, epochs=1)
    assert found.classifier.novelty is not None
    assert found.evaluation["novelty"]["strange"]["value"] < 0.5


def test_the_mirrored_picture_counts_as_much(stripes: Manifest, fitted: Fit, tmp_path: Path) -> None:
    found = fitted(stripes, train="head", validation=0.4, mirror="on", size=32)
    classifier = load(save_run(found, tmp_path / "run"))
    assert classifier.mirror
    image = np.asarray(Image.open(stripes.source(0)))
    one, other = classifier.predict_proba([image, image[:, ::-1]], settings=PLAIN)
    assert np.allclose(one, other, atol=1e-6)
    plain = fitted(stripes, train="head", validation=0.4, size=32).classifier
    one, other = plain.predict_proba([image, image[:, ::-1]], settings=PLAIN)
    assert not np.allclose(one, other, atol=1e-4)


def test_sets_and_strangeness_come_with_a_fitted_classifier(photos: Photos, fitted: Fit, tmp_path: Path) -> None:
    found = fitted(photos(red=40, green=40), train="head", coverage=0.8)
    assert found.evaluation["sets"]["coverage"] == 0.8
    assert found.evaluation["novelty"]["cross_fitted"]
    classifier = load(save_run(found, tmp_path / "run"))
    assert classifier.temperature == found.classifier.temperature != 1
    assert classifier.sets == found.classifier.sets
    (held,) = classifier.predict_sets(found.manifest.source(0), settings=PLAIN)
    assert held == [found.manifest.labels[0]]
    blue = photos("others", blue=3)
    seen = classifier.examine(read_images(blue, labels=False), settings=PLAIN)
    assert classifier.novelty is not None
    assert seen.strangeness is not None
    assert (seen.strangeness > classifier.novelty.threshold).all()


# -- seeds, balance, a plan -------------------------------------------------------------------------------------------


def test_other_seeds_tell_the_spread(photos: Photos, fitted: Fit) -> None:
    folder = photos(red=12, green=12)
    found = fitted(folder, train="head", seeds=3, seed=4)
    alone = fitted(folder, train="head", seed=5)
    told = found.evaluation["seeds"]
    assert told["seeds"] == [4, 5, 6]
    assert told["log_loss"][:2] == [found.evaluation["log_loss"]["value"], alone.evaluation["log_loss"]["value"]]
    assert len(set(told["log_loss"])) == 3
    assert told["mean"] == pytest.approx(np.mean(told["accuracy"]))


@pytest.mark.parametrize("mode", ["loss", "logits"])
def test_rare_classes_are_found_where_that_is_asked_for(fitted: Fit, mode: str) -> None:
    rng = np.random.default_rng(0)
    labels = ["common"] * 180 + ["rare"] * 20
    shades = [rng.normal(120 + 25 * (label == "rare"), 30, (16, 16, 3)) + rng.normal(0, 25) for label in labels]
    manifest = Manifest.from_arrays([shade.clip(0, 255).astype(np.uint8) for shade in shades], labels=labels)

    def recall(balance: str) -> float:
        found = fitted(manifest, train="head", validation=0.4, balance=balance, size=32)
        return float(next(row for row in found.evaluation["per_class"] if row["class"] == "rare")["recall"]["value"])

    assert recall(mode) > recall("none")


def test_a_plan_tells_each_rung_and_computes_nothing_that_is_kept(photos: Photos, told: Any, tmp_path: Path) -> None:
    settings = FitSettings.of(
        model="test_resnet", weights="random", store=str(tmp_path / "store"), engine="torch", validation=0.5, views=2
    )
    face = told()
    lines = plan(read_images(photos(red=70, green=70)), settings, progress=face)
    assert lines[0] == "70 to train on, 70 to validate on"
    rows = {line.split()[0]: line.split() for line in lines[2:5]}
    assert list(rows) == ["head", "last:1", "last:5"]
    assert [rows[name][1] for name in rows] == ["140", "280", "280"]  # 70 × (1 + 2 views) + 70
    assert "computing features" not in face.stages
    assert [line.count(" s ") for line in lines[2:5]] == [2, 3, 3]  # deeper rungs are looked at first


def test_a_look_is_a_part_of_what_a_rung_takes(photos: Photos, told: Any, tmp_path: Path) -> None:
    settings = FitSettings.of(
        model="test_resnet", weights="random", store=str(tmp_path / "store"), engine="torch", validation=0.5
    )
    rungs = _prepared(read_images(photos(red=10, green=10)), settings, told()).rungs
    place = rungs.open("last:1")
    alone, looked = (forecast(rungs, place, looks=looks) for looks in (False, True))
    assert alone.look == 0
    assert 0 < looked.look < looked.seconds
    assert looked.features == alone.features == 10 * (1 + settings.views) + 10
