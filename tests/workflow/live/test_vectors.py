"""The vectors in memory."""

from __future__ import annotations

import numpy as np

from headstart.workflow.live.vectors import VectorPool


def test_what_was_taken_stays_as_it_is_while_more_are_added() -> None:
    pool = VectorPool()
    pool.add(range(1000), np.ones((1000, 4)))
    taken = pool.vectors()
    pool.add(range(1000, 5000), np.full((4000, 4), 2))
    assert len(taken) == 1000
    assert (taken.values == 1).all()
    assert len(pool.vectors()) == len(pool) == 5000
    assert pool.vectors().take(slice(4998, 5000)).tolist() == [[2.0] * 4] * 2


def test_an_image_is_added_once() -> None:
    pool = VectorPool()
    assert pool.add([5, 6], np.zeros((2, 3))) == 2
    assert pool.add([6, 7], np.ones((2, 3))) == 1
    assert pool.vectors().ids.tolist() == [5, 6, 7]
    assert pool.vectors().values[:, 0].tolist() == [0, 0, 1]


def test_beyond_the_limit_nothing_is_added() -> None:
    pool = VectorPool(max_bytes=10 * 2 * 4)
    assert pool.add(range(8), np.zeros((8, 4))) == 8
    assert pool.add(range(8, 16), np.zeros((8, 4))) == 2
    assert pool.add([99], np.zeros((1, 4))) == 0
    assert 99 not in pool
    assert pool.rows([9, 10]).tolist() == [9, -1]
