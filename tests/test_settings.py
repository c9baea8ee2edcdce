from __future__ import annotations

import contextlib
import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.spec import InputSpec
from headstart.errors import SettingsError
from headstart.settings import (
    RECIPES,
    EngineSettings,
    FitSettings,
    InputSettings,
    Knob,
    ReadSettings,
    Settings,
    knobs,
    seconds,
)

KINDS: list[type[Settings]] = [ReadSettings, EngineSettings, InputSettings, FitSettings]
ALL = [pytest.param(kind, knob, id=f"{kind.__name__}.{knob.name}") for kind in KINDS for knob in knobs(kind)]
NUMBERS = [knob for knob in knobs(FitSettings) if knob.type in ("int", "float")]


def told(**values: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        FitSettings.of(**values)
    return str(caught.value)


# -- the knobs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "knob"), ALL)
def test_each_knob_tells_what_it_is(kind: type[Settings], knob: Knob) -> None:
    assert len(knob.help) > 5
    assert knob.help[0].isupper()
    assert knob.help.endswith(".")
    assert knob.type in ("int", "float", "str")
    assert knob.mistake(knob.default) is None
    assert knob.option == "--" + knob.name.replace("_", "-")
    assert knob.optional or knob.default is not None
    if knob.choices:
        assert knob.default is None or knob.default in knob.choices


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_is_without_a_knob(kind: type[Settings]) -> None:
    assert [knob.name for knob in knobs(kind)] == [field.name for field in fields(kind)]
    assert kind.of() == kind()


def test_the_engine_is_set_the_same_for_fit_and_predict() -> None:
    of_fit = {knob.name: knob for knob in knobs(FitSettings)}
    assert all(of_fit[knob.name] == knob for knob in knobs(EngineSettings))


@pytest.mark.parametrize(("kind", "knob"), ALL)
def test_what_stands_on_the_command_line_is_read(kind: type[Settings], knob: Knob) -> None:
    if knob.default is not None:
        assert getattr(kind.parse({knob.name: str(knob.default)}), knob.name) == knob.default
    assert kind.parse({knob.name: None}) == kind()


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0; the nearest is 1"),
        ({"epochs": 2.0}, "epochs must be a whole number of at least 1, got 2.0"),
        ({"epochs": "3"}, "epochs must be a whole number of at least 1, got '3'"),
        ({"epochs": True}, "epochs must be a whole number of at least 1, got True"),
        ({"epochs": None}, "epochs must be a whole number of at least 1, got None"),
        ({"lr": -0.1}, "lr must be a number of at least 0, got -0.1; the nearest is 0"),
        ({"lr": False}, "lr must be a number of at least 0, got False"),
        ({"lr": "high"}, "lr must be a number of at least 0, got 'high'"),
        ({"validation": 0.95}, "validation must be a number from 0 to 0.9, got 0.95; the nearest is 0.9"),
        ({"extract_batch": 5000}, "extract_batch must be a whole number from 1 to 4096, got 5000; the nearest is 4096"),
        ({"optimizer": "adam"}, "optimizer must be one of adamw, sgd, got 'adam'; did you mean adamw?"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, mps, got 'gpu'; did you mean cpu?"),
        ({"schedule": "linear"}, "schedule must be one of cosine, constant, got 'linear'"),
        ({"schedule": 5}, "schedule must be one of cosine, constant, got 5"),
        ({"model": None}, "model must be text, got None"),
        ({"model": 18}, "model must be text, got 18"),
        (
            {"train": "last"},
            "train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got 'last'; did you mean last:1?",
        ),
        (
            {"train": "last:0"},
            "train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got 'last:0'; did you mean "
            "last:1?",
        ),
        (
            {"train": "haed"},
            "train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got 'haed'; did you mean head?",
        ),
        ({"train": 3}, "train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got 3"),
        ({"train": None}, "train must be text, got None"),
        ({"epoch": 3}, "no setting is called epoch; did you mean epochs?"),
        ({"zzz": 3}, "no setting is called zzz"),
    ],
)
def test_what_is_wrong_is_told(values: dict[str, Any], text: str) -> None:
    assert told(**values) == text


def test_every_mistake_is_told_at_once() -> None:
    text = told(epoch=3, epochs=0, lr="high", train="heads", optimizer="adamw", modle="resnet18")
    assert text == (
        "no setting is called epoch; did you mean epochs?\n"
        "no setting is called modle; did you mean model?\n"
        "train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got 'heads'; did you mean head?\n"
        "epochs must be a whole number of at least 1, got 0; the nearest is 1\n"
        "lr must be a number of at least 0, got 'high'"
    )


def test_mistakes_are_in_a_list_too() -> None:
    with pytest.raises(SettingsError) as caught:
        FitSettings.of(epochs=0, batch=0)
    assert len(caught.value.mistakes) == 2
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("train", ["head", "all", "last:1", "last:12", "from:blocks.5", "from:layer4.0.conv2"])
def test_what_can_be_trained(train: str) -> None:
    assert FitSettings.of(train=train).train == train


@pytest.mark.parametrize("number", [np.int64(3), np.uint8(3), 3])
def test_numbers_of_numpy_are_numbers(number: Any) -> None:
    assert FitSettings.of(epochs=number, lr=number).epochs == 3
    assert told(epochs=np.int64(0)).startswith("epochs must be a whole number of at least 1, got ")


@pytest.mark.parametrize("number", [np.float32(0.25), np.float64(0.25), 0.25])
def test_so_are_those_with_a_point(number: Any) -> None:
    assert FitSettings.of(lr=number).lr == 0.25
    assert told(epochs=number).startswith("epochs must be a whole number of at least 1, got ")


@pytest.mark.parametrize("knob", NUMBERS, ids=lambda knob: knob.name)
@pytest.mark.parametrize("value", [True, np.True_, "1", None, [1]])
def test_what_is_no_number_is_refused(knob: Knob, value: Any) -> None:
    if value is None and knob.optional:
        assert knob.mistake(value) is None
    else:
        assert knob.mistake(value) is not None


@given(st.sampled_from([knob for knob in NUMBERS if knob.type == "int"]), st.integers(-(10**12), 10**12))
def test_whole_numbers_are_taken_in_their_range_and_nowhere_else(knob: Knob, value: int) -> None:
    fits = (knob.low is None or value >= knob.low) and (knob.high is None or value <= knob.high)
    assert (knob.mistake(value) is None) == fits
    assert knob.parsed(str(value)) == value


@given(st.sampled_from([knob for knob in NUMBERS if knob.type == "float"]), st.floats(-1e300, 1e300))
def test_numbers_are_taken_in_their_range_and_nowhere_else(knob: Knob, value: float) -> None:
    fits = (knob.low is None or value >= knob.low) and (knob.high is None or value <= knob.high)
    assert (knob.mistake(value) is None) == fits
    assert knob.parsed(repr(value)) == value


# -- the command line -------------------------------------------------------------------------------------------------


def test_texts_become_values() -> None:
    given_texts = {"epochs": "3", "lr": "1e-2", "train": "last:2", "model": "resnet18", "l2": None, "labels": "a.csv"}
    settings = FitSettings.parse(given_texts, ReadSettings)
    assert settings == FitSettings.of(epochs=3, lr=0.01, train="last:2", model="resnet18")
    assert type(settings.epochs) is int


def test_texts_that_are_no_values_are_told_as_they_stand() -> None:
    with pytest.raises(SettingsError) as caught:
        FitSettings.parse({"epochs": "many", "batch": "1.5", "lr": "", "epoch": "3"})
    assert str(caught.value) == (
        "no setting is called epoch; did you mean epochs?\n"
        "epochs must be a whole number of at least 1, got 'many'\n"
        "batch must be a whole number of at least 1, got '1.5'\n"
        "lr must be a number of at least 0, got ''"
    )


def test_settings_of_others_are_left_to_them() -> None:
    both = {"labels": "a.csv", "workers": "2"}
    assert ReadSettings.parse(both, EngineSettings) == ReadSettings.of(labels="a.csv")
    assert EngineSettings.parse(both, ReadSettings) == EngineSettings.of(workers=2)
    with pytest.raises(SettingsError, match=r"^no setting is called labels$"):
        EngineSettings.parse(both)


def test_making_checks_nothing_and_check_does() -> None:
    wrong = FitSettings(epochs=0)
    with pytest.raises(SettingsError):
        wrong.check()


def test_the_model_may_stand_first() -> None:
    assert FitSettings("resnet18").model == "resnet18"
    with pytest.raises(TypeError):
        FitSettings("resnet18", "head")  # type: ignore[misc]


def test_values_are_plain() -> None:
    values = FitSettings.of(epochs=3).values()
    assert values["epochs"] == 3
    assert FitSettings.of(**json.loads(json.dumps(values))) == FitSettings.of(epochs=3)


# -- numbers that are none, and settings that only together are wrong --------------------------------------------------


@pytest.mark.parametrize("knob", [knob for knob in NUMBERS if knob.type == "float"], ids=lambda knob: knob.name)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_what_is_not_finite_is_refused(knob: Knob, value: Any) -> None:
    assert knob.mistake(value) == f"{knob.name} must be {knob._wanted()}, got {value!r}"
    assert knob.mistake(knob.parsed("nan")) is not None


@pytest.mark.parametrize("value", [np.array([1, 2]), np.array(3), [0.5]])
def test_arrays_are_no_numbers(value: Any) -> None:
    assert told(epochs=value).startswith("epochs must be a whole number of at least 1, got ")
    assert told(lr=value).startswith("lr must be a number of at least 0, got ")


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (0.8, 0.9), (0, 0)])
def test_shares_that_leave_nothing(validation: float, test: float) -> None:
    assert told(validation=validation, test=test, epochs=0) == (
        "epochs must be a whole number of at least 1, got 0; the nearest is 1\n"
        "validation and test must together lie between 0 and 1 (0.2 is a fifth), "
        f"got validation={validation} and test={test}"
    )


def test_values_of_numpy_become_plain() -> None:
    values = FitSettings.of(epochs=np.int64(3), lr=np.float32(0.25), l2=None).values()
    assert (values["epochs"], values["lr"], values["l2"]) == (3, 0.25, None)
    json.dumps(values)


# -- lengths of time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "length"),
    [("60", 60), ("60s", 60), ("45 sec", 45), ("10min", 600), ("2m", 120), ("1.5h", 5400), (" 0.5 MIN ", 30)],
)
def test_times_are_read_as_they_are_written(text: str, length: float) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-3s", "nan", "inf", "1e3s", "s", "ten", "5 days", "1h30", "1,5h", "٣s"]
)
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        seconds(text)
    assert str(caught.value) == f"a time must be a number with s, min or h, such as 60s or 10min, got {text!r}"


@given(st.text(max_size=12))
def test_any_text_is_a_time_above_nothing_or_refused(text: str) -> None:
    with contextlib.suppress(SettingsError):
        assert 0 < seconds(text) < float("inf")


# -- the input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"mean": "0.5"}, "mean must be three numbers of red, green and blue"),
        ({"mean": "0.5,0.5,nan"}, "mean must be three numbers"),
        ({"std": "0.5,0.5,0"}, "std must be three numbers above 0"),
        ({"std": 3}, "std must be three numbers above 0"),
        ({"range": "0:1", "mean": "0,0,0"}, "give either range, or mean and std"),
        ({"channels": "GBR"}, "channels must be one of RGB, BGR, got 'GBR'; did you mean"),
    ],
)
def test_a_wrong_input_is_told(values: dict[str, Any], text: str) -> None:
    assert text in told(**values)


def test_what_is_given_changes_the_input() -> None:
    spec = InputSpec()
    changes = FitSettings.of(mean="0.1, 0.2,0.3", size=96, channels="BGR").input_changes()
    changed = spec.changed(**changes)
    assert (changed.mean, changed.std) == ((0.1, 0.2, 0.3), spec.std)
    assert (changed.height, changed.width, changed.channels, changed.crop_mode) == (96, 96, "BGR", "squash")
    assert InputSettings().input_changes() == {}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_settings(name: str) -> None:
    values = FitSettings.of(**RECIPES[name]).values()
    assert {key: values[key] for key in RECIPES[name]} == dict(RECIPES[name])


def test_what_is_given_beside_a_recipe_wins() -> None:
    settings = FitSettings.by_recipe("classic", epochs=2, channels="BGR")
    assert (settings.epochs, settings.channels, settings.train, settings.lr) == (2, "BGR", "layers:20", 0.01)


def test_no_such_recipe() -> None:
    with pytest.raises(SettingsError, match=r"^recipe must be one of classic, got 'clasic'$"):
        FitSettings.by_recipe("clasic")
