from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.train.cross_fitting import cross_fitted_choice, random_folds


def test_no_image_is_judged_by_its_own_choice() -> None:
    """Of candidates that are all as good, the best on the images it was chosen by looks better than it is."""
    rng, optimistic, honest = np.random.default_rng(0), [], []
    for seed in range(200):
        losses = rng.normal(1, 1, (20, 60))
        folds = random_folds(60, seed)
        chosen = cross_fitted_choice(folds, lambda seen, losses=losses: int(losses[:, seen].mean(1).argmin()))
        optimistic.append(losses.mean(1).min())
        honest.append(losses[chosen, np.arange(60)].mean())
    assert np.mean(optimistic) < 0.8
    assert abs(np.mean(honest) - 1) < 0.03


def test_the_images_of_a_fold_are_not_seen() -> None:
    folds, seen = np.array([0, 1, 2, 0]), []

    def choose(mask: NDArray[np.bool_]) -> int:
        seen.append(mask.tolist())
        return len(seen)

    assert cross_fitted_choice(folds, choose).tolist() == [1, 2, 3, 1]
    assert seen == [[False, True, True, False], [True, False, True, True], [True, True, False, True]]


def test_a_single_image_is_judged_by_the_only_choice_there_is() -> None:
    assert cross_fitted_choice(np.zeros(1, np.int64), lambda seen: int(seen.sum())).tolist() == [1]


def test_folds_do_not_divide_groups() -> None:
    groups = np.repeat(np.arange(30), 4)
    folds = random_folds(120, 0, groups=groups)
    assert all(len(set(folds[groups == group].tolist())) == 1 for group in range(30))
    assert np.bincount(folds).tolist() == [12] * 10
