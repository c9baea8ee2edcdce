from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.spec import InputSpec
from headstart.data.value_range import ValueRange
from headstart.features.key import FeatureSpace, stored_view

names = st.text(max_size=6)
colors = st.tuples(*[st.floats(0, 1)] * 3)
specs = st.builds(
    InputSpec,
    height=st.integers(1, 3),
    width=st.integers(1, 3),
    crop=st.sampled_from([0.875, 0.9, 1.0]),
    crop_mode=st.sampled_from(["center", "squash"]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    mean=colors,
    std=colors,
    channels=st.sampled_from(["RGB", "BGR"]),
    value_ranges=st.sampled_from([(), (ValueRange("uint16", 0, 255),), (ValueRange("uint16", 0, 4095),)]),
)
spaces = st.builds(
    FeatureSpace,
    model=names,
    weights=names,
    cut=names,
    spec=specs,
    precision=st.sampled_from(["float32", "bfloat16"]),
    dtype=st.sampled_from(["float16", "float32", "uint8"]),
    shape=st.lists(st.integers(1, 30), min_size=1, max_size=3).map(tuple),
    decoder=st.sampled_from(["pillow", "nvjpeg"]),
)


@given(spaces, spaces)
def test_keys_are_equal_only_if_spaces_are_equal(one: FeatureSpace, other: FeatureSpace) -> None:
    assert (one.key == other.key) == (one == other)


@given(spaces, st.data())
def test_every_field_changes_the_key(space: FeatureSpace, data: st.DataObject) -> None:
    name, other = data.draw(
        st.sampled_from(
            [("model", "net"), ("weights", "0" * 32), ("cut", "pool"), ("dtype", "bits"), ("shape", (7, 7))]
        )
    )
    changed: dict[str, Any] = {name: other if getattr(space, name) != other else "another"}
    assert replace(space, **changed).key != space.key
    assert replace(space, precision="float32").key != replace(space, precision="bfloat16").key
    assert replace(space, decoder="pillow").key != replace(space, decoder="nvjpeg").key


def test_fields_do_not_run_into_each_other() -> None:
    space = FeatureSpace("ab", "c", "d", InputSpec(), "float32", "float16", (12, 3))
    keys = {
        each.key
        for each in (
            space,
            replace(space, model="a", weights="bc"),
            replace(space, shape=(1, 23)),
            replace(space, cut=""),
        )
    }
    assert len(keys) == 4


@given(spaces)
def test_as_dict_has_all_fields(space: FeatureSpace) -> None:
    values = json.loads(json.dumps(space.as_dict()))
    assert (values.pop("key"), values.pop("format")) == (space.key, 3)
    spec = values.pop("spec")
    spec["value_ranges"] = tuple(ValueRange(**each) for each in spec["value_ranges"])
    spec = InputSpec(**{**spec, "mean": tuple(spec["mean"]), "std": tuple(spec["std"])})
    assert FeatureSpace(**{**values, "spec": spec, "shape": tuple(values["shape"])}) == space


def test_key_of_existing_stores() -> None:
    """Recorded when large JPEGs came to be decoded at reduced size: features stored since then stay valid."""
    space = FeatureSpace("net", "0" * 32, "pool", InputSpec(), "float32", "float16", (4,))
    assert space.key == "754d22a8e53d433a70ff457e5f19a6b6"


def test_only_the_numbers_of_training_views_depend_on_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [stored_view(number) for number in range(-1, 50)]
    assert before[:2] == [-1, 0]
    monkeypatch.setattr("headstart.features.key.TRAINING_VIEWS_VERSION", 2)
    after = [stored_view(number) for number in range(-1, 50)]
    assert after[:2] == [-1, 0]
    assert len({*before, *after}) == 2 + 2 * 49
    with pytest.raises(ValueError, match=r"^the number of a view must be below 1,048,576, got 1048576$"):
        stored_view(1 << 20)
