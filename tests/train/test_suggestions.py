"""Which images to label next."""

from __future__ import annotations

import time

import numpy as np
import pytest

from headstart.errors import SettingsError
from headstart.train.suggestions import margins, order_by_suggestion, spread_out


def test_the_most_doubtful_image_comes_first() -> None:
    ahead = margins(np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.5, 0.2, 0.3]]))
    assert ahead == pytest.approx([0.5, 0.05, 0.2])
    assert order_by_suggestion("margin", ahead, np.eye(3)).tolist() == [1, 2, 0]


def test_of_a_single_class_the_least_probable_comes_first() -> None:
    assert margins(np.array([[0.9], [0.4]])).tolist() == pytest.approx([0.9, 0.4])


def clusters(seed: int, *, each: int = 40, groups: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Directions about as many axes as there are groups, and the group of each."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), each)
    return np.eye(groups, 8)[group] + rng.normal(0, 0.02, (len(group), 8)), group


@pytest.mark.parametrize("seed", range(5))
def test_spread_suggestions_are_of_all_groups_where_margins_alone_are_of_one(seed: int) -> None:
    features, group = clusters(seed)
    ahead = 0.2 + 0.01 * group + np.random.default_rng(seed).random(len(group)) / 1000  # group 0 is the most doubtful
    assert set(group[order_by_suggestion("margin", ahead, features)[:5]]) == {0}
    assert set(group[order_by_suggestion("diverse", ahead, features, count=70, seed=seed)[:5]]) == set(range(5))


def test_spread_suggestions_are_doubtful_ones() -> None:
    features, _ = clusters(0)
    ahead = np.random.default_rng(0).random(len(features))
    chosen = order_by_suggestion("diverse", ahead, features, count=5)[:5]
    assert ahead[chosen].max() <= np.sort(ahead)[15]


@pytest.mark.parametrize("rule", ["diverse", "margin", "random"])
@pytest.mark.parametrize("count", [0, 1, 7, 500])
def test_every_image_is_in_the_order_once(rule: str, count: int) -> None:
    features = np.random.default_rng(0).normal(size=(100, 4))
    order = order_by_suggestion(rule, np.linspace(0, 1, 100), features, count=count)
    assert sorted(order.tolist()) == list(range(100))


def test_copies_of_chosen_images_come_after_what_differs() -> None:
    features = np.array([[1.0, 0.0]] * 5 + [[0.0, 1.0]])
    assert set(spread_out(features, np.ones(6), 2).tolist()) == {0, 5}
    assert sorted(spread_out(features, np.ones(6), 6).tolist()) == list(range(6))


def test_features_are_read_only_of_candidates() -> None:
    asked: list[int] = []

    def take(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return np.ones((len(rows), 3)) * rows[:, None]

    order_by_suggestion("diverse", np.linspace(0, 1, 1000), take, count=2)
    assert max(asked) < 100


def test_no_images_have_an_empty_order() -> None:
    for rule in ("diverse", "margin", "random"):
        assert order_by_suggestion(rule, np.zeros(0), np.zeros((0, 4))).tolist() == []


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(SettingsError, match="did you mean margin"):
        order_by_suggestion("margins", np.zeros(3), np.eye(3))


def test_a_hundred_thousand_images_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    ahead, features = rng.random(100_000), rng.normal(size=(2000, 1280)).astype(np.float16)
    start = time.process_time()
    order_by_suggestion("diverse", ahead, lambda rows: features[rows % 2000], count=50)
    assert time.process_time() - start < 3  # of all threads, on a machine that may be busy
