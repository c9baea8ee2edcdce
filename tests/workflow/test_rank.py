"""Ranking of small networks and of those whose weights come in a package, on images that the tests write."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

from headstart import paths
from headstart.config import FitSettings
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.errors import DataError, ModelError, SettingsError
from headstart.features.store import FeatureStore
from headstart.train.probe import Probe
from headstart.workflow import rank as ranking
from headstart.workflow.candidates import expand_models, open_candidate
from headstart.workflow.dataset import Dataset
from headstart.workflow.fit import fit
from headstart.workflow.rank import rank
from headstart.workflow.ranking import Ranking, Row, format_ranking, read_ranking, save_ranking

Photos = Callable[..., Path]
TINY = ["test_resnet", "test_efficientnet"]


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., FitSettings]:
    def make(**values: Any) -> FitSettings:
        plain = {"weights": "random", "engine": "torch", "precision": "float32", "cache_dir": str(tmp_path / "store")}
        return FitSettings.of(**{**plain, **values})

    return make


@pytest.fixture
def add_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, dict[str, Any]], None]:
    """add_weights(name, state): weights in a cache of this test, placed as a user places them."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    paths.weights().mkdir(parents=True)
    return lambda name, state: save_file(state, paths.weights() / f"{name}.safetensors")


def row(
    model: str, losses: Any, *, logme: float = -0.5, ms_per_image: float = 1.0, round: int = 1, dropped: bool = False
) -> Row:
    values = np.asarray(losses, np.float64)
    probed = Probe(values, values < 0.7, 0.01)
    return Row(model, probed, logme, ms_per_image, "cpu, float32", 1_000_000, 40, len(values), round, dropped)


def test_a_fit_reuses_the_features_of_the_ranking(
    photos: Photos, settings: Callable[..., FitSettings], told: Any, tmp_path: Path
) -> None:
    folder = photos(red=12, green=12, blue=12)
    found = rank(read_images(folder), [*TINY, TINY[0]], settings())
    assert sorted(each.model for each in found.rows) == sorted(TINY)
    losses = [each.probe.log_loss.value for each in found.rows]
    assert losses == sorted(losses)
    assert {(each.train_images, each.validation_images) for each in found.rows} == {(29, 7)}
    assert (found.classes, found.stop_reason, found.skipped) == (("blue", "green", "red"), "all images were used", {})
    assert all(each.ms_per_image > 0 and np.isfinite(each.logme) for each in found.rows)

    face = told()
    fitted = fit(read_images(folder), settings(model="test_resnet"), events=face)
    assert "computing features" not in face.stages
    assert fitted.evaluation.log_loss.value == pytest.approx(
        next(each for each in found.rows if each.model == "test_resnet").probe.log_loss.value, abs=1e-4
    )


def test_pretrained_rows_of_matching_class_names_are_a_prior(tmp_path: Path) -> None:
    settings = FitSettings.of(engine="torch", precision="float32", cache_dir=str(tmp_path))
    candidate = open_candidate("tf_efficientnet_lite0", settings, classes=2)
    import torch

    features, targets = torch.rand(6, 1280), torch.tensor([0, 0, 0, 1, 1, 1])
    found = candidate.extractor.pretrained_prior(["espresso", "something else"], features, targets)
    assert found is not None
    old = timm.create_model("tf_efficientnet_lite0").get_classifier()
    assert found.weight.shape == (2, old.in_features)
    assert found.weight[0].any()
    assert not found.weight[1].any()
    assert candidate.extractor.pretrained_prior(["this", "that"], features, targets) is None


def test_an_unknown_model_is_skipped_with_its_reason(
    photos: Photos, settings: Callable[..., FitSettings], told: Any
) -> None:
    face = told()
    found = rank(read_images(photos(red=5, green=5)), ["resnot50", "test_resnet"], settings(), events=face)
    assert [each.model for each in found.rows] == ["test_resnet"]
    assert found.skipped["resnot50"].startswith("unknown model 'resnot50'; did you mean resnet50")
    assert f"resnot50 is skipped: {found.skipped['resnot50']}" in face.lines
    assert any(line.startswith("resnot50") and "skipped: " in line for line in format_ranking(found))


def test_without_any_usable_model_ranking_fails(photos: Photos, settings: Callable[..., FitSettings]) -> None:
    with pytest.raises(ModelError) as caught:
        rank(read_images(photos(red=5, green=5)), ["resnot50", "res"], settings())
    assert str(caught.value).startswith("none of 2 models can be ranked: resnot50: unknown model 'resnot50'; ")


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([None] * 8, "no image has a label: give one subfolder per class, or a table of labels (--labels TABLE)"),
        (
            ["red"] * 8,
            "ranking needs training images of at least 2 classes, and validation images; "
            "got 1 classes and 2 validation images",
        ),
    ],
)
def test_unusable_labels_are_refused(
    photos: Photos, settings: Callable[..., FitSettings], labels: list[str | None], text: str
) -> None:
    manifest = read_images(photos(red=4, green=4)).with_column("label", labels)
    with pytest.raises(DataError) as caught:
        rank(manifest, TINY, settings())
    assert str(caught.value) == text


# -- the sample, the budget -------------------------------------------------------------------------------------------


def labeled(count: int) -> Dataset:
    """Images of two classes, a fifth of them for validation."""
    manifest = Manifest.from_rows(
        [f"/{number}.jpg" for number in range(count)],
        labels=["cat", "dog"] * (count // 2),
        splits=["validation" if number % 10 < 2 else "train" for number in range(count)],
    )
    manifest = manifest.with_column("hash", [f"{number:032x}" for number in range(count)])
    return Dataset(manifest, ("cat", "dog"), cross_validated=False)


def sampled(dataset: Dataset, count: int, seed: int) -> tuple[Manifest, Manifest]:
    sample = ranking._sample(dataset, count, seed)
    return sample.split("train"), sample.split("validation")


def test_a_larger_sample_contains_the_smaller() -> None:
    data = labeled(1000)
    small, large = sampled(data, 50, 0), sampled(data, 100, 0)
    assert [len(images) for images in (*small, *large)] == [100, 50, 200, 100]
    assert all(set(one.uris) < set(other.uris) for one, other in zip(small, large, strict=True))
    assert not set(large[0].uris) & set(large[1].uris)
    assert sampled(data, 50, 1)[0].uris != small[0].uris
    reverse = replace(data, manifest=data.manifest.select(np.arange(1000)[::-1]))
    assert sampled(reverse, 50, 0)[0].uris[::-1] == small[0].uris


def test_the_sample_grows_until_one_network_is_left(
    photos: Photos,
    settings: Callable[..., FitSettings],
    monkeypatch: pytest.MonkeyPatch,
    told: Any,
    add_weights: Callable[[str, dict[str, Any]], None],
) -> None:
    """One network tells colors apart, the other cannot: all of its weights are 0."""
    monkeypatch.setattr(ranking, "FIRST_IMAGES_PER_CLASS", 4)
    monkeypatch.setattr(ranking, "FIRST_IMAGES", 4)
    blind = {name: value * 0 for name, value in timm.create_model("test_resnet").state_dict().items()}
    add_weights("test_resnet", blind)
    add_weights("test_efficientnet", timm.create_model("test_efficientnet").state_dict())
    face = told()
    found = rank(read_images(photos(red=20, green=20, blue=20)), TINY, settings(weights=None), events=face)
    assert "dropped: test_resnet" in face.lines
    assert [(each.model, each.round, each.dropped) for each in found.rows] == [
        ("test_efficientnet", 1, False),
        ("test_resnet", 1, True),
    ]
    assert found.stop_reason == "only test_efficientnet is left"
    assert found.tied == found.rows[:1]


def test_without_time_one_network_is_tried_and_the_others_are_skipped(
    photos: Photos, settings: Callable[..., FitSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rank(read_images(photos(red=5, green=5)), TINY, settings(), budget=1e-3)
    assert [each.model for each in found.rows] == TINY[:1]
    assert found.skipped == {"test_efficientnet": "not reached within the budget"}


def test_a_sample_beyond_the_budget_is_not_tried(
    photos: Photos, settings: Callable[..., FitSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "FIRST_IMAGES_PER_CLASS", 2)
    monkeypatch.setattr(ranking, "FIRST_IMAGES", 2)
    # The forecast of the real work, as a machine would give it that is a million times slower.
    forecast = ranking._forecast
    monkeypatch.setattr(ranking, "_forecast", lambda *arguments: 1e6 * forecast(*arguments))
    found = rank(read_images(photos(red=12, green=12)), TINY, settings(), budget=300)
    expected = r"4 images per class would take about [1-9]\d+ s, more than is left of the budget"
    assert re.fullmatch(expected, found.stop_reason)
    assert {(each.train_images, each.validation_images) for each in found.rows} == {(4, 2)}


# -- names ------------------------------------------------------------------------------------------------------------


def test_names_patterns_and_embedded_models_are_expanded() -> None:
    embedded = expand_models(["embedded"])
    assert embedded == [f"tf_efficientnet_lite{size}" for size in range(3)]
    assert expand_models(["tf_efficientnet_lite*", "resnet18", "embedded"]) == [*embedded, "resnet18"]
    with pytest.raises(ModelError) as caught:
        expand_models(["mixnet_xx?"])  # no weights of it were ever published
    assert str(caught.value) == (
        "mixnet_xx?: this machine has no weights of the 1 models that match; give the names of those to download"
    )
    with pytest.raises(ModelError) as caught:
        expand_models(["resnot*"])
    assert str(caught.value) == "no model matches resnot*; patterns are those of a shell, for example mobilenet*"


# -- the table and the document --------------------------------------------------------------------------------------


def test_the_fastest_of_the_tied_networks_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = rng.random(60)
    rows = (
        row("best", base, ms_per_image=9, round=2),
        row("like", base + rng.normal(0.01, 0.5, 60), logme=-0.4, ms_per_image=3, round=2),
        row("worse", base + 1, ms_per_image=1, round=2),
        row("gone", base[:20] + 3, ms_per_image=2, dropped=True),
    )
    found = Ranking(rows, {"none": "no such thing"}, ("a", "b"), "all images were used", 1.5)
    assert [each.model for each in found.tied] == ["best", "like"]
    assert found.fastest.model == "like"
    table = format_ranking(found)
    assert table[-3] == "60 validation images; stopped: all images were used"
    assert table[-2] == "best by LogME, which needs no solved head: like"
    assert table[-1] == "best: best; not significantly worse: like; fastest of these: like"
    assert table[4].endswith("40  dropped")
    assert table[5].split(maxsplit=1) == ["none", "skipped: no such thing"]

    plot = save_ranking(found, tmp_path / "ranks", command={"models": ["a"]})
    with Image.open(plot) as drawn:
        assert drawn.size > (400, 300)
    saved = read_ranking(tmp_path / "ranks" / "rank.json")
    assert (saved.tied, saved.fastest, saved.command) == (("best", "like"), "like", {"models": ["a"]})
    assert [each.model for each in saved.models] == ["best", "like", "worse", "gone"]
    assert [each.dropped for each in saved.models] == [False, False, False, True]
    assert saved.models[0].accuracy == rows[0].probe.accuracy
    assert saved.models[0].accuracy.value == pytest.approx((base < 0.7).mean())


def test_features_of_embedded_models_are_stored_where_a_fit_reads_them(photos: Photos, tmp_path: Path) -> None:
    settings = FitSettings.of(engine="torch", precision="float32", cache_dir=str(tmp_path / "store"))
    found = rank(read_images(photos(red=3, green=3)), ["embedded"], settings)
    assert len(found.rows) == 3
    spaces = {space.space.model: space for space in FeatureStore(paths.features(settings.cache_dir)).tables()}
    assert {name: len(space) for name, space in spaces.items()} == dict.fromkeys((each.model for each in found.rows), 6)
    assert {space.space.spec.height for space in spaces.values()} == {224, 240, 260}


def test_int8_is_refused(settings: Callable[..., FitSettings]) -> None:
    with pytest.raises(SettingsError, match=r"^precision int8 is for fit and predict; choose another one for ranking$"):
        open_candidate("test_resnet", settings(engine="auto", precision="int8"), classes=2)
