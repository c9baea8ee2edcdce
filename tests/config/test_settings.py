"""Options state what they are, and settings report every invalid value with the way out."""

from __future__ import annotations

import contextlib
import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.config import (
    GROUPS,
    RECIPES,
    EngineSettings,
    FineTuningSettings,
    FitSettings,
    ImageNetV2Settings,
    InputSettings,
    Option,
    ReadSettings,
    Settings,
    options_of,
    parse_duration,
)
from headstart.data.spec import InputSpec
from headstart.errors import SettingsError

KINDS: list[type[Settings]] = [
    ReadSettings,
    ImageNetV2Settings,
    EngineSettings,
    InputSettings,
    FineTuningSettings,
    FitSettings,
]
ALL = [pytest.param(kind, option, id=f"{kind.__name__}.{option.name}") for kind in KINDS for option in options_of(kind)]
NUMBERS = [option for option in options_of(FitSettings) if option.type in ("int", "float")]


def message(**values: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        FitSettings.of(**values)
    return str(caught.value)


# -- the options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "option"), ALL)
def test_each_option_states_what_it_is(kind: type[Settings], option: Option) -> None:
    assert len(option.help) > 5
    assert option.help[0].isupper()
    assert option.help.endswith(".")
    assert option.type in ("int", "float", "str", "bool")
    assert option.group in GROUPS
    assert option.mistake(option.default) is None
    assert option.optional or option.default is not None
    name = option.name.replace("_", "-")
    assert option.flag == (f"--{name}/--no-{name}" if option.type == "bool" else f"--{name}")
    assert "[default" not in option.help  # the command line adds it
    assert ("Default: " in option.help) <= option.optional
    if option.choices:
        assert option.default is None or option.default in option.choices


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_is_an_option(kind: type[Settings]) -> None:
    assert [option.name for option in options_of(kind)] == [field.name for field in fields(kind)]
    assert kind.of() == kind()


def test_fit_and_predict_have_the_same_engine_options() -> None:
    of_fit = {option.name: option for option in options_of(FitSettings)}
    assert all(of_fit[option.name] == option for option in options_of(EngineSettings))


def test_every_group_has_options() -> None:
    assert {option.group for kind in KINDS for option in options_of(kind)} == set(GROUPS)


def test_the_common_options_are_few() -> None:
    common = [option.name for kind in (ReadSettings, FitSettings) for option in options_of(kind) if option.common]
    assert sorted(common) == [
        *("budget", "device", "labels", "model", "seed", "test_share", "train", "tta_flip", "validation_share")
    ]


@pytest.mark.parametrize(("kind", "option"), ALL)
def test_defaults_survive_the_command_line(kind: type[Settings], option: Option) -> None:
    if option.default is not None:
        assert getattr(kind.parse({option.name: str(option.default)}), option.name) == option.default
    assert kind.parse({option.name: None}) == kind()


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0; the nearest valid value is 1"),
        ({"epochs": 2.0}, "epochs must be a whole number of at least 1, got 2.0"),
        ({"epochs": "3"}, "epochs must be a whole number of at least 1, got '3'"),
        ({"epochs": True}, "epochs must be a whole number of at least 1, got True"),
        ({"epochs": None}, "epochs must be a whole number of at least 1, got None"),
        ({"lr": -0.1}, "lr must be a number of at least 0, got -0.1; the nearest valid value is 0"),
        ({"lr": False}, "lr must be a number of at least 0, got False"),
        ({"lr": "high"}, "lr must be a number of at least 0, got 'high'"),
        (
            {"validation_share": 0.95},
            "validation_share must be a number from 0 to 0.9, got 0.95; the nearest valid value is 0.9",
        ),
        (
            {"extract_batch_size": 5000},
            "extract_batch_size must be a whole number from 1 to 4096, got 5000; the nearest valid value is 4096",
        ),
        ({"refit": "off"}, "refit must be True or False, got 'off'"),
        ({"refit": 1}, "refit must be True or False, got 1"),
        ({"tta_flip": None}, "tta_flip must be True or False, got None"),
        ({"head_solver": None}, "head_solver must be text, got None"),
        ({"optimizer": "adam"}, "optimizer must be one of adamw, sgd, got 'adam'; did you mean adamw?"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, mps, got 'gpu'; did you mean cpu?"),
        ({"schedule": "linear"}, "schedule must be one of cosine, constant, steps, got 'linear'"),
        ({"schedule": 5}, "schedule must be one of cosine, constant, steps, got 5"),
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
def test_an_invalid_value_is_reported(values: dict[str, Any], text: str) -> None:
    assert message(**values) == text


def test_all_mistakes_are_reported_at_once() -> None:
    text = message(epoch=3, epochs=0, lr="high", train="heads", optimizer="adamw", modle="resnet18")
    assert text == (
        "no setting is called epoch; did you mean epochs?\n"
        "no setting is called modle; did you mean model?\n"
        "train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got 'heads'; did you mean head?\n"
        "epochs must be a whole number of at least 1, got 0; the nearest valid value is 1\n"
        "lr must be a number of at least 0, got 'high'"
    )


def test_the_error_has_the_list_of_mistakes() -> None:
    with pytest.raises(SettingsError) as caught:
        FitSettings.of(epochs=0, batch_size=0)
    assert len(caught.value.mistakes) == 2
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("train", ["head", "all", "last:1", "last:12", "from:blocks.5", "from:layer4.0.conv2"])
def test_valid_values_of_train(train: str) -> None:
    assert FitSettings.of(train=train).train == train


@pytest.mark.parametrize("number", [np.int64(3), np.uint8(3), 3])
def test_integers_of_numpy_are_accepted(number: Any) -> None:
    assert FitSettings.of(epochs=number, lr=number).epochs == 3
    assert message(epochs=np.int64(0)).startswith("epochs must be a whole number of at least 1, got ")


@pytest.mark.parametrize("number", [np.float32(0.25), np.float64(0.25), 0.25])
def test_floats_of_numpy_are_accepted(number: Any) -> None:
    assert FitSettings.of(lr=number).lr == 0.25
    assert message(epochs=number).startswith("epochs must be a whole number of at least 1, got ")


@pytest.mark.parametrize("option", NUMBERS, ids=lambda option: option.name)
@pytest.mark.parametrize("value", [True, np.True_, "1", None, [1]])
def test_a_value_that_is_not_a_number_is_rejected(option: Option, value: Any) -> None:
    if value is None and option.optional:
        assert option.mistake(value) is None
    else:
        assert option.mistake(value) is not None


@given(st.sampled_from([option for option in NUMBERS if option.type == "int"]), st.integers(-(10**12), 10**12))
def test_integers_are_accepted_exactly_in_their_range(option: Option, value: int) -> None:
    fits = (option.low is None or value >= option.low) and (option.high is None or value <= option.high)
    assert (option.mistake(value) is None) == fits
    assert option.parse(str(value)) == value


@given(st.sampled_from([option for option in NUMBERS if option.type == "float"]), st.floats(-1e300, 1e300))
def test_floats_are_accepted_exactly_in_their_range(option: Option, value: float) -> None:
    fits = (option.low is None or value >= option.low) and (option.high is None or value <= option.high)
    assert (option.mistake(value) is None) == fits
    assert option.parse(repr(value)) == value


# -- the command line -------------------------------------------------------------------------------------------------


def test_text_is_converted_to_the_type_of_the_option() -> None:
    given_texts = {"epochs": "3", "lr": "1e-2", "train": "last:2", "model": "resnet18", "l2": None, "labels": "a.csv"}
    settings = FitSettings.parse(given_texts, ReadSettings)
    assert settings == FitSettings.of(epochs=3, lr=0.01, train="last:2", model="resnet18")
    assert type(settings.epochs) is int


@pytest.mark.parametrize(("text", "value"), [("true", True), ("Yes", True), ("1", True), ("off", False), ("no", False)])
def test_text_is_converted_to_a_bool(text: str, value: bool) -> None:
    assert FitSettings.parse({"refit": text, "tta_flip": text}) == FitSettings(refit=value, tta_flip=value)


@pytest.mark.parametrize("value", [True, False, None])
def test_flags_of_the_command_line_are_bools(value: bool | None) -> None:
    settings = FitSettings.parse({"refit": value})
    assert settings.refit is (True if value is None else value)


def test_text_that_cannot_be_converted_is_quoted() -> None:
    with pytest.raises(SettingsError) as caught:
        FitSettings.parse({"epochs": "many", "batch_size": "1.5", "lr": "", "epoch": "3", "refit": "maybe"})
    assert str(caught.value) == (
        "no setting is called epoch; did you mean epochs?\n"
        "epochs must be a whole number of at least 1, got 'many'\n"
        "batch_size must be a whole number of at least 1, got '1.5'\n"
        "lr must be a number of at least 0, got ''\n"
        "refit must be True or False, got 'maybe'"
    )


def test_options_of_other_classes_are_ignored() -> None:
    both = {"labels": "a.csv", "workers": "2"}
    assert ReadSettings.parse(both, EngineSettings) == ReadSettings.of(labels="a.csv")
    assert EngineSettings.parse(both, ReadSettings) == EngineSettings.of(workers=2)
    with pytest.raises(SettingsError, match=r"^no setting is called labels$"):
        EngineSettings.parse(both)


def test_check_validates_and_the_constructor_does_not() -> None:
    invalid = FitSettings(epochs=0)
    with pytest.raises(SettingsError):
        invalid.check()


def test_only_the_model_may_be_positional() -> None:
    assert FitSettings("resnet18").model == "resnet18"
    with pytest.raises(TypeError):
        FitSettings("resnet18", "head")  # type: ignore[misc]


def test_values_are_plain_json() -> None:
    values = FitSettings.of(epochs=3).values()
    assert values["epochs"] == 3
    assert FitSettings.of(**json.loads(json.dumps(values))) == FitSettings.of(epochs=3)


# -- numbers that are not finite, and settings that conflict ----------------------------------------------------------


@pytest.mark.parametrize(
    "option", [option for option in NUMBERS if option.type == "float"], ids=lambda option: option.name
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_a_number_that_is_not_finite_is_rejected(option: Option, value: Any) -> None:
    assert option.mistake(value) == f"{option.name} must be {option._expected()}, got {value!r}"
    assert option.mistake(option.parse("nan")) is not None


@pytest.mark.parametrize("value", [np.array([1, 2]), np.array(3), [0.5]])
def test_arrays_are_not_numbers(value: Any) -> None:
    assert message(epochs=value).startswith("epochs must be a whole number of at least 1, got ")
    assert message(lr=value).startswith("lr must be a number of at least 0, got ")


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (0.8, 0.9), (0, 0)])
def test_shares_that_leave_no_images(validation: float, test: float) -> None:
    assert message(validation_share=validation, test_share=test, epochs=0) == (
        "epochs must be a whole number of at least 1, got 0; the nearest valid value is 1\n"
        "validation_share and test_share must add up to more than 0 and less than 1 (0.2 is 20 %), "
        f"got validation_share={validation} and test_share={test}"
    )


def test_values_of_numpy_become_plain_python_values() -> None:
    values = FitSettings.of(epochs=np.int64(3), lr=np.float32(0.25), l2=None, refit=np.False_).values()
    assert (values["epochs"], values["lr"], values["l2"], values["refit"]) == (3, 0.25, None, False)
    json.dumps(values)


# -- durations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60), ("60s", 60), ("45 sec", 45), ("10min", 600), ("2m", 120), ("1.5h", 5400), (" 0.5 MIN ", 30)],
)
def test_durations_are_converted_to_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-3s", "nan", "inf", "1e3s", "s", "ten", "5 days", "1h30", "1,5h", "٣s"]
)
def test_text_that_is_not_a_duration_is_rejected(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_duration(text)
    assert str(caught.value) == (
        f"a duration must be a number with s, min or h, for example 60s or 10min, got {text!r}"
    )


@given(st.text(max_size=12))
def test_any_text_is_a_positive_duration_or_rejected(text: str) -> None:
    with contextlib.suppress(SettingsError):
        assert 0 < parse_duration(text) < float("inf")


# -- the input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"mean": "0.5"},
            "mean must be three numbers for red, green and blue, for example 0.485,0.456,0.406, got '0.5'",
        ),
        ({"mean": "0.5,0.5,nan"}, "mean must be three numbers"),
        ({"std": "0.5,0.5,0"}, "std must be three numbers above 0"),
        ({"std": 3}, "std must be three numbers above 0"),
        ({"range": "0:1", "mean": "0,0,0"}, "give either range, or mean and std"),
        ({"channels": "GBR"}, "channels must be one of RGB, BGR, got 'GBR'; did you mean"),
    ],
)
def test_an_invalid_input_is_reported(values: dict[str, Any], text: str) -> None:
    assert text in message(**values)


def test_input_settings_change_the_input() -> None:
    spec = InputSpec()
    changes = FitSettings.of(mean="0.1, 0.2,0.3", size=96, channels="BGR").input_changes()
    changed = spec.changed(**changes)
    assert (changed.mean, changed.std) == ((0.1, 0.2, 0.3), spec.std)
    assert (changed.height, changed.width, changed.channels, changed.crop_mode) == (96, 96, "BGR", "squash")
    assert InputSettings().input_changes() == {}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_valid_settings(name: str) -> None:
    values = FitSettings.of(**RECIPES[name]).values()
    assert {key: values[key] for key in RECIPES[name]} == dict(RECIPES[name])


def test_values_given_with_a_recipe_override_it() -> None:
    settings = FitSettings.by_recipe("classic", epochs=2, channels="BGR")
    assert (settings.epochs, settings.channels, settings.train, settings.lr) == (2, "BGR", "layers:20", 0.01)


def test_an_unknown_recipe() -> None:
    with pytest.raises(
        SettingsError,
        match=r"^recipe must be one of classic, imagenet-1h, fast, balanced, best, got 'clasic'; did you mean "
        r"classic\?$",
    ):
        FitSettings.by_recipe("clasic")
