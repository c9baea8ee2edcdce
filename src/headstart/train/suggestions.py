"""Which images to label next, from what a classifier says of them and their features.

``margin``
    The smallest margin between the two most probable classes first: Scheffer, Decomain and Wrobel, Active hidden Markov
    models for information extraction, IDA 2001; Settles, Active learning literature survey, 2009, section 3.1.
``diverse``
    The same images, but spread: k-means++ seeding (Arthur and Vassilvitskii, k-means++: the advantages of careful
    seeding, SODA 2007) among those with small margins, in which each squared distance is weighted by the uncertainty.
    So each image that is chosen makes those that look like it less likely. The small margins first and then a
    clustering weighted by uncertainty are those of Zhdanov, Diverse mini-batch active learning, 2019
    (arXiv:1901.05954), who runs k-means to its end and takes the image nearest to each center; k-means++ seeding alone
    in place of that is from BADGE (Ash, Zhang, Krishnamurthy, Langford and Agarwal, Deep batch active learning by
    diverse, uncertain gradient lower bounds, ICLR 2020, arXiv:1906.03671), where distances are between gradients.
``random``
    As a baseline, and where no classifier is known yet.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headstart.data.vectors import normalized
from headstart.errors import SettingsError, did_you_mean

__all__ = ["RULES", "margins", "order_by_suggestion", "spread_out"]

RULES = ("diverse", "margin", "random")

CANDIDATES = 3
"""How many images with small margins there are for each that is chosen. With 10 and 30 more labels were needed on
trash6: what differs from all others is then too often an image that the head is sure of."""

Floats = NDArray[np.floating]
Take = Callable[[NDArray[np.int64]], Floats]


def margins(probabilities: Floats) -> NDArray[np.float32]:
    """Return by how much the most probable class of each image is ahead of the second, (N,), of (N, C).

    With a single class there is no doubt: the margin is its probability.

    >>> margins(np.array([[0.6, 0.3, 0.1], [0.4, 0.4, 0.2]])).round(2).tolist()
    [0.30000001192092896, 0.0]
    """
    if probabilities.shape[1] < 2:
        return np.asarray(probabilities[:, 0], np.float32)
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0], np.float32)


def order_by_suggestion(
    rule: str, ahead: Floats, features: Floats | Take, *, count: int = 50, seed: int = 0
) -> NDArray[np.int64]:
    """Return all rows (N,), the image to be labeled first in the first place.

    :param rule: "diverse", "margin" or "random".
    :param ahead: margins of unlabeled images, (N,), from 0 to 1.
    :param features: of these, (N, D), or a function that returns those of some rows.
    :param count: with "diverse", how many are chosen to be spread; the others follow by margin.
    :raises SettingsError: there is no such rule.

    >>> ahead = margins(np.array([[0.9, 0.1], [0.5, 0.5], [0.51, 0.49], [0.6, 0.4]]))
    >>> features = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> order_by_suggestion("margin", ahead, features).tolist()
    [1, 2, 3, 0]
    >>> first, second = order_by_suggestion("diverse", ahead, features, count=2)[:2].tolist()
    >>> bool((features[first] != features[second]).any())  # the second looks like none before
    True
    """
    if rule not in RULES:
        raise SettingsError(f"rule must be one of {', '.join(RULES)}, got {rule!r}{did_you_mean(rule, RULES)}")
    if rule == "random":
        return np.random.default_rng(seed).permutation(len(ahead))
    order = np.argsort(ahead, kind="stable")
    if rule == "margin":
        return order
    candidates = order[: CANDIDATES * count]
    rows = features(candidates) if callable(features) else features[candidates]
    chosen = candidates[spread_out(rows, 1 - ahead[candidates], count, seed=seed)]
    return np.concatenate([chosen, order[~np.isin(order, chosen)]])


def spread_out(features: Floats, weights: Floats, count: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Return ``count`` rows, or all if there are fewer, by weighted k-means++ seeding.

    The first is the one with the largest weight. Each further one is drawn with a probability that is proportional to
    its weight times the squared distance to the nearest one before it, between directions (features are scaled to a
    length of 1).

    :param features: (N, D).
    :param weights: (N,), at least 0.

    >>> features = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> spread_out(features, np.array([0.9, 1.0, 0.1]), 2).tolist()
    [1, 2]
    """
    rng = np.random.default_rng(seed)
    x = normalized(features)
    scores = np.asarray(weights, np.float64)
    chosen: list[int] = []
    free = np.ones(len(x), bool)
    nearest = np.full(len(x), np.inf)
    for _ in range(min(count, len(x))):
        if not chosen:
            row = int(np.argmax(scores))
        else:
            chances = np.where(free, scores * nearest, 0)
            total = chances.sum()
            # Where nothing is left but copies of images that were chosen, the largest weights follow.
            row = (
                int(rng.choice(len(x), p=chances / total)) if total > 0 else int(np.argmax(np.where(free, scores, -1)))
            )
        chosen.append(row)
        free[row] = False
        nearest = np.minimum(nearest, np.maximum(2 - 2 * (x @ x[row]), 0))
        nearest[row] = 0
    return np.array(chosen, np.int64)
