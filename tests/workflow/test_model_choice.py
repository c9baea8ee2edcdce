"""``--model auto`` and ``--quality``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.config import QUALITIES, FitSettings
from headstart.errors import SettingsError, WeightsNotFound
from headstart.events import Events
from headstart.models import catalog
from headstart.models.backbone import build
from headstart.models.cut import cut
from headstart.models.recommended import FASTEST, Recommendation, recommendations
from headstart.workflow import model_choice
from headstart.workflow.model_choice import choose_model, recommended_lines

Run = Callable[..., tuple[int, str, str]]
SECONDS = 0.01  # per image, of the fastest network
SLOW = Recommendation("slow", 90.0, 10.0, "hub", "apache-2.0")
MIDDLE = Recommendation("middle", 80.0, 2.0, "hub", "apache-2.0")
FAST = Recommendation(FASTEST, 75.0, 1.0, "here", "apache-2.0")


def recommend(monkeypatch: pytest.MonkeyPatch, *networks: Recommendation) -> None:
    def recommended(device: str) -> list[Recommendation]:
        return list(networks)

    def seconds(device: str, engine: str) -> float:
        return SECONDS

    monkeypatch.setattr(model_choice, "recommendations", recommended)
    monkeypatch.setattr(model_choice, "seconds_per_image", seconds)


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> Callable[..., str]:
    """choose(images, reachable=..., loadable=..., **settings): the name that is chosen; ``lines`` has what was told."""

    def made(images: int, *, reachable: bool = True, loadable: tuple[str, ...] = (), **settings: Any) -> str:
        def load(name: str, file: str | None) -> None:
            if name not in loadable:
                raise WeightsNotFound(f"{name}: no weights")

        recommend(monkeypatch, FAST, MIDDLE, SLOW)
        monkeypatch.setattr(model_choice, "hub_is_reachable", lambda: reachable)
        monkeypatch.setattr(model_choice.weights, "load_weights", load)
        events = Events(lambda event: lines.append(event.text))  # type: ignore[attr-defined]
        return choose_model(FitSettings.of(model="auto", **settings), images, events=events).model

    return made


def test_a_network_with_a_name_is_left_alone(choose: Any) -> None:
    settings = FitSettings.of(model="resnet18")
    assert choose_model(settings, 100, events=Events()) is settings


@pytest.mark.parametrize(
    ("images", "settings", "expected"),
    [
        (100, {}, "slow"),  # 10 s of 300
        (10_000, {}, "middle"),  # 1,000 and 200 s
        (10_000, {"tta_flip": True}, FASTEST),  # 400 and 200 s
        (10_000, {"budget": "1h"}, "slow"),
        (1_000_000, {}, FASTEST),  # nothing is quick enough
    ],
)
def test_the_most_accurate_one_within_half_of_the_budget_is_chosen(
    choose: Any, images: int, settings: dict[str, Any], expected: str
) -> None:
    assert choose(images, loadable=("middle", "slow"), **settings) == expected


def test_what_is_chosen_is_told_and_what_would_be_better_but_too_slow(choose: Any, lines: list[str]) -> None:
    choose(10_000, loadable=("middle",))
    assert lines == [
        "model auto: middle (80.0 % on ImageNet, licence apache-2.0); about 200 s for the frozen pass; slow (90.0 %) "
        "would take about 1,000 s, more than half of --budget 10min"
    ]


def test_offline_it_is_one_whose_weights_are_here(choose: Any, lines: list[str]) -> None:
    assert choose(100, reachable=False) == FASTEST
    assert lines[0].startswith("the Hugging Face Hub cannot be reached: --model auto chooses among the networks whose")
    assert "slow (90.0 % on ImageNet)" in lines[0]
    assert lines[1].startswith(f"model auto: {FASTEST} (75.0 % on ImageNet, licence apache-2.0); about 1 s")
    assert len(lines) == 2


def test_where_weights_cannot_be_loaded_the_next_network_is_taken(choose: Any, lines: list[str]) -> None:
    assert choose(100, loadable=("middle",)) == "middle"
    assert lines[0] == "slow is not taken, since its weights cannot be loaded: slow: no weights"


def test_the_chosen_network_is_in_the_run(fitted: Any, photos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recommend(monkeypatch, FAST)
    result = fitted(photos(red=8, green=8), model="auto", weights=None, train="head")
    assert (result.settings.model, result.classifier.model) == (FASTEST, FASTEST)


def test_weights_belong_to_a_network_with_a_name() -> None:
    with pytest.raises(SettingsError, match="weights are those of one network: name it with model instead of auto"):
        FitSettings.of(model="auto", weights="mine.pth")


def test_a_quality_is_given_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    code, _, err = run("fit", tmp_path / "photos", "--quality", "fast", "--recipe", "classic")
    assert code == 2
    assert "--recipe and --quality are two sets of settings: give one of them" in err


@pytest.mark.parametrize("name", QUALITIES)
def test_qualities_are_valid_settings(name: str) -> None:
    assert FitSettings.by_recipe(name).values().items() >= QUALITIES[name].items()


def test_balanced_means_the_defaults() -> None:
    assert FitSettings.by_recipe("balanced") == FitSettings()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_each_recommended_network_costs_more_and_is_more_accurate(device: str) -> None:
    found = recommendations(device)
    assert found[0].name == FASTEST
    assert [each.accuracy for each in found] == sorted(each.accuracy for each in found)
    if device == "cpu":
        assert [each.relative_time for each in found] == sorted(each.relative_time for each in found)
    assert {each.licence for each in found} == {"apache-2.0"}
    assert all(each.location in ("here", "package", "hub") for each in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", [each.name for each in recommendations("cpu")])
def test_each_recommended_network_can_be_cut(name: str) -> None:
    spec = catalog.model_info(name).spec
    parts = cut(build(name, classes=3), "last:1", input_shape=(3, spec.height, spec.width))
    assert parts.trainable


def test_the_table_tells_speed_licence_and_what_the_qualities_are() -> None:
    lines = recommended_lines("cpu")
    assert lines[0].split() == ["model", "top-1", "ms", "here", "weights", "licence"]
    name, accuracy, milliseconds, location, licence = lines[1].split()
    assert (name, accuracy, location, licence) == (FASTEST, "75.1", "here", "apache-2.0")
    assert float(milliseconds) > 0
    assert "--quality fast: --model tf_efficientnet_lite0 --train head" in lines
    assert "--quality best: --model auto --train auto --tta-flip --budget 30min" in lines
