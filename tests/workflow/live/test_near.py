"""Images that are nearly the same."""

from __future__ import annotations

import numpy as np

from headstart.workflow.live import near
from headstart.workflow.live.near import NearGroups


def test_frames_of_a_burst_are_one_group_also_when_they_are_labeled_later() -> None:
    rng = np.random.default_rng(0)
    scenes = rng.normal(size=(20, 64))
    frames = np.repeat(scenes, 10, axis=0) + rng.normal(0, 0.05, (200, 64))
    ids = np.arange(200)
    order = rng.permutation(200)
    groups, found = NearGroups(), np.zeros(200, np.int64)
    for part in np.array_split(order, 7):
        found[part] = groups.of(ids[part].tolist(), frames[part])
    assert len(np.unique(found)) == 20
    assert all(len(set(found[start : start + 10])) == 1 for start in range(0, 200, 10))


def test_different_images_have_groups_of_their_own() -> None:
    vectors = np.random.default_rng(0).normal(size=(1200, 64))
    assert NearGroups().of(range(1200), vectors).tolist() == list(range(1200))


def test_beyond_the_limit_images_are_not_compared(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(near, "_MOST", 3)
    groups = NearGroups()
    assert groups.of([0, 1], np.ones((2, 4))).tolist() == [0, 0]
    assert groups.of([2, 3], np.ones((2, 4))).tolist() == [2, 3]


def test_where_all_images_look_alike_they_are_not_one_group() -> None:
    vectors = 10 + np.random.default_rng(0).normal(size=(300, 64))  # cosines above 0.98
    groups = NearGroups()
    groups.measure(vectors)
    assert len(np.unique(groups.of(range(300), vectors))) > 250
