"""Ranking, on networks that are small or whose weights are in a package, and on pictures that the tests write."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

from headstart import places
from headstart.data.manifest import Manifest
from headstart.data.sources import read_images
from headstart.errors import DataError, ModelError, SettingsError
from headstart.features.store import FeatureStore
from headstart.settings import FitSettings
from headstart.train.rank import Probe
from headstart.workflow import ranking
from headstart.workflow.candidates import named, open_candidate
from headstart.workflow.fitting import fit
from headstart.workflow.ranking import Ranking, Row, lines, rank, save

Photos = Callable[..., Path]
TINY = ["test_resnet", "test_efficientnet"]


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., FitSettings]:
    def make(**values: Any) -> FitSettings:
        plain = {"weights": "random", "engine": "torch", "precision": "float32", "store": str(tmp_path / "store")}
        return FitSettings.of(**{**plain, **values})

    return make


@pytest.fixture
def put_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, dict[str, Any]], None]:
    """put_at_hand(name, state): weights in a cache of this test, as a person puts them there."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    places.weights().mkdir(parents=True)
    return lambda name, state: save_file(state, places.weights() / f"{name}.safetensors")


def row(
    model: str, losses: Any, *, logme: float = -0.5, milliseconds: float = 1.0, round: int = 1, dropped: bool = False
) -> Row:
    values = np.asarray(losses, np.float64)
    probed = Probe(values, values < 0.7, 0.01)
    return Row(model, probed, logme, milliseconds, "cpu, float32", 1_000_000, (40, len(values)), round, dropped)


def test_networks_are_ranked_and_fit_finds_their_features(
    photos: Photos, settings: Callable[..., FitSettings], told: Any, tmp_path: Path
) -> None:
    folder = photos(red=12, green=12, blue=12)
    found = rank(read_images(folder), [*TINY, TINY[0]], settings())
    assert sorted(each.model for each in found.rows) == sorted(TINY)
    losses = [each.probe.log_loss["value"] for each in found.rows]
    assert losses == sorted(losses)
    assert {each.images for each in found.rows} == {(29, 7)}
    assert (found.classes, found.stopped, found.skipped) == (("blue", "green", "red"), "all images were used", {})
    assert all(each.milliseconds > 0 and np.isfinite(each.logme) for each in found.rows)

    face = told()
    fitted = fit(read_images(folder), settings(model="test_resnet"), progress=face)
    assert "computing features" not in face.stages
    assert fitted.evaluation["log_loss"]["value"] == pytest.approx(
        next(each for each in found.rows if each.model == "test_resnet").probe.log_loss["value"], abs=1e-4
    )


def test_a_pretrained_head_is_started_from_where_names_match(tmp_path: Path) -> None:
    """As a fit does: the rows of the classes that have the names."""
    settings = FitSettings.of(engine="torch", precision="float32", store=str(tmp_path))
    candidate = open_candidate("tf_efficientnet_lite0", settings, classes=2)
    import torch

    features, targets = torch.rand(6, 1280), torch.tensor([0, 0, 0, 1, 1, 1])
    found = candidate.pretrained(["espresso", "something else"], features, targets)
    assert found is not None
    old = timm.create_model("tf_efficientnet_lite0").get_classifier()
    assert found.weight.shape == (2, old.in_features)
    assert found.weight[0].any()
    assert not found.weight[1].any()
    assert candidate.pretrained(["this", "that"], features, targets) is None


def test_what_cannot_be_had_is_told_and_left_out(
    photos: Photos, settings: Callable[..., FitSettings], told: Any
) -> None:
    face = told()
    found = rank(read_images(photos(red=5, green=5)), ["resnot50", "test_resnet"], settings(), progress=face)
    assert [each.model for each in found.rows] == ["test_resnet"]
    assert found.skipped["resnot50"].startswith("no model is called resnot50; did you mean resnet50")
    assert f"resnot50 is left out: {found.skipped['resnot50']}" in face.lines
    assert any(line.startswith("resnot50") and "left out" in line for line in lines(found))


def test_with_none_left_there_is_no_ranking(photos: Photos, settings: Callable[..., FitSettings]) -> None:
    with pytest.raises(ModelError) as caught:
        rank(read_images(photos(red=5, green=5)), ["resnot50", "res"], settings())
    assert str(caught.value).startswith("none of 2 models can be ranked: resnot50: no model is called resnot50; ")


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([None] * 8, "no image has a label: give a folder a class, or a table of labels (--labels TABLE)"),
        (
            ["red"] * 8,
            "models are ranked on at least 2 classes with images to train on and some to validate on; "
            "got 1 with 2 images to validate on",
        ),
    ],
)
def test_labels_that_cannot_be_ranked_on(
    photos: Photos, settings: Callable[..., FitSettings], labels: list[str | None], text: str
) -> None:
    manifest = read_images(photos(red=4, green=4)).with_column("label", labels)
    with pytest.raises(DataError) as caught:
        rank(manifest, TINY, settings())
    assert str(caught.value) == text


# -- the sample, the budget -------------------------------------------------------------------------------------------


def labelled(count: int) -> Manifest:
    """Images of two classes, a fifth of them to validate on."""
    manifest = Manifest.from_rows(
        [f"/{number}.jpg" for number in range(count)],
        labels=["cat", "dog"] * (count // 2),
        splits=["validation" if number % 10 < 2 else "train" for number in range(count)],
    )
    return manifest.with_column("hash", [f"{number:032x}" for number in range(count)])


def test_a_larger_sample_holds_the_smaller() -> None:
    data = labelled(1000)
    small, large = ranking._sample(data, 50, 0), ranking._sample(data, 100, 0)
    assert [len(part) for part in (*small, *large)] == [100, 50, 200, 100]
    assert all(set(one.uris) < set(other.uris) for one, other in zip(small, large, strict=True))
    assert not set(large[0].uris) & set(large[1].uris)
    assert ranking._sample(data, 50, 1)[0].uris != small[0].uris
    assert ranking._sample(data.select(np.arange(1000)[::-1]), 50, 0)[0].uris[::-1] == small[0].uris


def test_a_sample_grows_until_the_hopeless_are_gone(
    photos: Photos,
    settings: Callable[..., FitSettings],
    monkeypatch: pytest.MonkeyPatch,
    told: Any,
    put_at_hand: Callable[[str, dict[str, Any]], None],
) -> None:
    """A network that sees the colours in its way, and one that has no idea, being blind (all of its weights 0)."""
    monkeypatch.setattr(ranking, "FIRST", 4)
    monkeypatch.setattr(ranking, "LEAST", 4)
    blind = {name: value * 0 for name, value in timm.create_model("test_resnet").state_dict().items()}
    put_at_hand("test_resnet", blind)
    put_at_hand("test_efficientnet", timm.create_model("test_efficientnet").state_dict())
    face = told()
    found = rank(read_images(photos(red=20, green=20, blue=20)), TINY, settings(weights=None), progress=face)
    assert "dropped: test_resnet" in face.lines
    assert [(each.model, each.round, each.dropped) for each in found.rows] == [
        ("test_efficientnet", 1, False),
        ("test_resnet", 1, True),
    ]
    assert found.stopped == "no other than test_efficientnet is left"
    assert found.as_good == found.rows[:1]


def test_without_time_one_network_is_tried_and_the_rest_told(
    photos: Photos, settings: Callable[..., FitSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rank(read_images(photos(red=5, green=5)), TINY, settings(), budget=1e-3)
    assert [each.model for each in found.rows] == TINY[:1]
    assert found.skipped == {"test_efficientnet": "not reached within the budget"}


def test_a_budget_ends_the_growing(
    photos: Photos, settings: Callable[..., FitSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "FIRST", 2)
    monkeypatch.setattr(ranking, "LEAST", 2)
    # A forecast of the real work, in a year in which the processor is slow.
    usual = ranking._Ranking.forecast
    monkeypatch.setattr(ranking._Ranking, "forecast", lambda *words: 1e6 * usual(*words))
    found = rank(read_images(photos(red=12, green=12)), TINY, settings(), budget=300)
    assert re.fullmatch(r"4 images a class would take about [1-9]\d+ s, beyond the budget", found.stopped)
    assert {each.images for each in found.rows} == {(4, 2)}


# -- names ------------------------------------------------------------------------------------------------------------


def test_names_patterns_and_what_is_embedded() -> None:
    assert named(["embedded"]) == [f"tf_efficientnet_lite{size}" for size in range(3)]
    assert named(["tf_efficientnet_lite*", "resnet18", "embedded"]) == [*named(["embedded"]), "resnet18"]
    with pytest.raises(ModelError) as caught:
        named(["mixnet_xx?"])  # of which none were ever published
    assert str(caught.value) == (
        "mixnet_xx?: no weights of such a model are on this machine (by name it is 1); "
        "name those to be fetched, one by one"
    )
    with pytest.raises(ModelError, match=r"^no model's name fits resnot\*; patterns are those of a shell"):
        named(["resnot*"])


# -- what is told and kept --------------------------------------------------------------------------------------------


def test_of_those_as_good_the_fastest_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = rng.random(60)
    rows = [
        row("best", base, milliseconds=9, round=2),
        row("like", base + rng.normal(0.01, 0.5, 60), logme=-0.4, milliseconds=3, round=2),
        row("worse", base + 1, milliseconds=1, round=2),
        row("gone", base[:20] + 3, milliseconds=2, dropped=True),
    ]
    found = Ranking(rows, {"none": "no such thing"}, ("a", "b"), "all images were used", 1.5)
    assert [each.model for each in found.as_good] == ["best", "like"]
    assert found.fastest.model == "like"
    told = lines(found)
    assert told[-2] == "by LogME, which solves nothing: like"
    assert told[-1] == "best: best; as good, as far as can be told: like; the fastest of them: like"
    assert told[4].endswith("40  dropped")
    assert told[5].split(maxsplit=1) == ["none", "left out: no such thing"]

    picture = save(found, tmp_path / "ranks", command={"models": ["a"]})
    with Image.open(picture) as drawn:
        assert drawn.size > (400, 300)
    kept = json.loads((tmp_path / "ranks" / "rank.json").read_text())
    assert (kept["as_good"], kept["fastest"]) == (["best", "like"], "like")
    assert [each["model"] for each in kept["models"]] == ["best", "like", "worse", "gone"]
    assert kept["models"][0]["accuracy"]["value"] == pytest.approx((base < 0.7).mean())


def test_the_features_of_the_embedded_are_where_fit_looks(photos: Photos, tmp_path: Path) -> None:
    settings = FitSettings.of(engine="torch", precision="float32", store=str(tmp_path / "store"))
    found = rank(read_images(photos(red=3, green=3)), ["embedded"], settings)
    assert len(found.rows) == 3
    spaces = {space.facts["model"]: space for space in FeatureStore(places.features(settings.store)).spaces()}
    assert {name: len(space) for name, space in spaces.items()} == dict.fromkeys((each.model for each in found.rows), 6)
    assert {space.facts["spec"]["height"] for space in spaces.values()} == {224, 240, 260}


def test_networks_are_not_ranked_with_8_bit_numbers(settings: Callable[..., FitSettings]) -> None:
    with pytest.raises(SettingsError, match="int8 is for a fit or a prediction"):
        open_candidate("test_resnet", settings(engine="auto", precision="int8"), classes=2)
