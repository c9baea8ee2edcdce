from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.manifest import Manifest
from headstart.data.splitting import assign_split, split_by_order
from headstart.errors import DataError, SettingsError


def _manifest(
    labels: list[str | None],
    hashes: list[str] | None = None,
    groups: list[str | None] | None = None,
    splits: list[str | None] | None = None,
) -> Manifest:
    uris = [f"/p/{i}.jpg" for i in range(len(labels))]
    manifest = Manifest.from_rows(uris, labels=labels, groups=groups, splits=splits)
    return manifest.with_column("hash", hashes or [f"{i:032x}" for i in range(len(labels))])


def _count(manifest: Manifest) -> dict[tuple[str | None, str | None], int]:
    return dict(Counter(zip(manifest.labels, manifest.splits, strict=True)))


def test_every_class_gives_its_share() -> None:
    split = assign_split(_manifest(["a"] * 100 + ["b"] * 50 + ["c"] * 10), validation_share=0.2, test_share=0.1)
    assert _count(split) == {
        ("a", "train"): 70,
        ("a", "validation"): 20,
        ("a", "test"): 10,
        ("b", "train"): 35,
        ("b", "validation"): 10,
        ("b", "test"): 5,
        ("c", "train"): 7,
        ("c", "validation"): 2,
        ("c", "test"): 1,
    }


def test_with_two_images_per_class_some_classes_give_one() -> None:
    split = assign_split(_manifest([str(i // 2) for i in range(240)]), validation_share=0.2)
    assert Counter(split.splits) == {"train": 192, "validation": 48}
    assert set(split.in_split("train").labels) == set(map(str, range(120)))


def test_a_class_with_one_image_stays_in_train() -> None:
    split = assign_split(_manifest(["a", "b", "c", "c"]), validation_share=0.5)
    assert split.splits[:2] == ["train", "train"]
    assert sorted(map(str, split.splits[2:])) == ["train", "validation"]
    assert assign_split(_manifest(["a", "b"])).splits == ["train", "train"]


def test_rows_that_cannot_be_used_get_no_split() -> None:
    manifest = _manifest(["a", None, "a", "a"]).with_column("problem", [None, None, "empty file", None])
    split = assign_split(manifest, validation_share=0.5)
    assert split.splits[1:3] == [None, None]
    assert Counter(split.splits) == {"train": 1, "validation": 1, None: 2}


def test_the_draw_depends_on_the_seed() -> None:
    manifest = _manifest(["a"] * 50)
    assert assign_split(manifest, seed=1).splits == assign_split(manifest, seed=1).splits
    assert assign_split(manifest, seed=1).splits != assign_split(manifest, seed=2).splits


def test_groups_and_copies_stay_together_through_a_chain() -> None:
    hashes = [f"{i:032x}" for i in range(40)]
    hashes[1] = hashes[0]
    groups: list[str | None] = [None] * 40
    groups[1] = groups[2] = "g"
    for seed in range(30):
        splits = assign_split(_manifest(["a"] * 40, hashes, groups), seed=seed).splits
        assert splits[0] == splits[1] == splits[2]


def test_large_groups_are_held_out_too() -> None:
    groups: list[str | None] = [str(i // 30) for i in range(90)]
    counts = Counter(assign_split(_manifest(["a"] * 90, groups=groups), validation_share=0.2).splits)
    assert counts == {"train": 60, "validation": 30}


LABELS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 12), st.sampled_from([None, None, "g", "h"])),
    min_size=1,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(LABELS, st.floats(0.05, 0.6), st.floats(0, 0.35), st.integers(0, 5), st.randoms(use_true_random=False))
def test_no_image_is_in_two_splits_and_the_order_does_not_matter(
    rows: list[tuple[str, int, str | None]], validation: float, test: float, seed: int, random: np.random.Generator
) -> None:
    labels, contents, groups = (list(column) for column in zip(*rows, strict=True))
    manifest = _manifest(labels, [f"{content:032x}" for content in contents], groups)
    split = assign_split(manifest, validation_share=validation, test_share=test, seed=seed)
    assert set(split.splits) <= {"train", "validation", "test"}
    for keys in (contents, groups):
        sides: dict[object, set[str | None]] = {}
        for key, side in zip(keys, split.splits, strict=True):
            if key is not None:
                sides.setdefault(key, set()).add(side)
        assert all(len(side) == 1 for side in sides.values())
    assert set(split.in_split("train").labels) == set(labels)
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[arg-type]
    again = assign_split(manifest.select(order), validation_share=validation, test_share=test, seed=seed)
    assert again.splits == [split.splits[i] for i in order]


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 40), min_size=1),
    st.floats(0.05, 0.5),
    st.floats(0, 0.4),
)
def test_without_copies_the_shares_are_kept(counts: dict[str, int], validation: float, test: float) -> None:
    labels: list[str | None] = [label for label, count in counts.items() for _ in range(count)]
    seen = _count(assign_split(_manifest(labels), validation_share=validation, test_share=test))
    for label, count in counts.items():
        assert seen.get((label, "validation"), 0) <= np.ceil(count * validation)
        assert seen.get((label, "test"), 0) <= np.ceil(count * test)
        assert seen.get((label, "train"), 0) >= 1
        if count * validation >= 1 and count * (1 - validation - test) >= 1:
            assert seen.get((label, "validation"), 0) >= np.floor(count * validation)


def test_given_splits_are_kept() -> None:
    given_splits: list[str | None] = ["train"] * 8 + ["validation"] * 2 + ["test"]
    assert assign_split(_manifest(["a"] * 11, splits=given_splits), test_share=0.3).splits == given_splits


def test_validation_is_drawn_from_train_if_only_test_is_given() -> None:
    split = assign_split(_manifest(["a"] * 30, splits=[*["train"] * 20, *["test"] * 10]), validation_share=0.25)
    assert Counter(split.splits) == {"train": 15, "validation": 5, "test": 10}
    assert split.splits[20:] == ["test"] * 10


def test_unassigned_rows_are_in_train_unless_a_copy_is_held_out() -> None:
    hashes = [f"{i:032x}" for i in (0, 1, 2, 3, 0, 1)]
    split = assign_split(_manifest(["a"] * 6, hashes, splits=["test", "validation", "train", None, None, None]))
    assert split.splits == ["test", "validation", "train", "train", "test", "validation"]


def test_nothing_left_to_train_on() -> None:
    with pytest.raises(DataError) as caught:
        assign_split(_manifest(["a", "b"], splits=["test", "validation"]))
    assert str(caught.value) == (
        "no usable image with a label is in the train split: put some into train, or give no splits"
    )


@pytest.mark.parametrize(("validation", "test"), [(0.0, 0.0), (0.5, 0.5), (1.2, 0.0), (-0.1, 0.3), (float("nan"), 0.1)])
def test_shares_that_leave_nothing(validation: float, test: float) -> None:
    with pytest.raises(SettingsError) as caught:
        assign_split(_manifest(["a"]), validation_share=validation, test_share=test)
    assert str(caught.value) == (
        "validation_share and test_share must be at least 0 and together between 0 and 1 (0.2 is a fifth), "
        f"got validation_share={validation} and test_share={test}"
    )


def test_the_last_rows_are_held_out_in_the_order_of_the_table() -> None:
    manifest = _manifest(["a", "b", None, "a", "b", "a", "b", "a"])
    found = split_by_order(manifest, validation_share=0.25, test_share=0.25)
    assert found.splits == ["train", "train", None, "train", "validation", "validation", "test", "test"]


def test_as_many_rows_as_in_keras() -> None:
    found = split_by_order(_manifest(["a"] * 10_222), validation_share=0.25)
    assert found.splits.count("train") == int(10_222 * 0.75) == 7_666


def test_rows_that_are_alike_stay_together_and_the_others_where_they_were() -> None:
    manifest = _manifest(["a"] * 40 + ["b"] * 40)
    alone = np.arange(80)
    before = assign_split(manifest, test_share=0.1)
    assert assign_split(manifest, test_share=0.1, alike=alone).splits == before.splits
    held_out = next(row for row, split in enumerate(before.splits) if split != "train")
    trained = before.splits.index("train")
    alike = np.where(alone == held_out, trained, alone)
    after = assign_split(manifest, test_share=0.1, alike=alike).splits
    assert after[held_out] == after[trained]
    assert sum(one != other for one, other in zip(before.splits, after, strict=True)) <= 4


def test_an_unassigned_row_that_is_alike_to_a_held_out_one_is_held_out() -> None:
    manifest = _manifest(["a"] * 4, splits=["test", None, "train", "train"])
    given = assign_split(manifest, validation_share=0.0, test_share=0.2, alike=np.array([0, 0, 0, 3]))
    assert given.splits == ["test", "test", "train", "train"]  # given ones stay
