"""The micro-batcher: what is run together, what is left out, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from headstart.serve.batching import MicroBatcher


def shade(value: int) -> NDArray[np.uint8]:
    return np.full((1, 1, 3), value, np.uint8)


def shades(views: NDArray[np.uint8]) -> list[int]:
    return [int(view[0, 0, 0]) for view in views]


@pytest.fixture
def held() -> Callable[[MicroBatcher[int]], threading.Event]:
    """held(batcher): keeps its thread busy until the returned event is set."""

    def hold(batcher: MicroBatcher[int]) -> threading.Event:
        begun, go_on = threading.Event(), threading.Event()
        batcher.call(lambda: (begun.set(), go_on.wait(10)))
        assert begun.wait(10)
        return go_on

    return hold


def test_what_waits_runs_together(held: Callable[[MicroBatcher[int]], threading.Event]) -> None:
    sizes: list[int] = []
    with MicroBatcher(shades, batch_size=4, wait=5, observe=sizes.append) as batcher:
        go_on = held(batcher)
        futures = [batcher.submit(shade(value)) for value in range(10)]
        go_on.set()
        assert [future.result(10) for future in futures] == list(range(10))
    assert sizes == [4, 4, 2]  # the last ones did not wait five seconds: no further image was expected


def test_it_waits_for_what_is_expected() -> None:
    sizes: list[int] = []
    with MicroBatcher(shades, batch_size=8, wait=10, observe=sizes.append) as batcher:
        batcher.expect(2)
        first = batcher.submit(shade(1))
        time.sleep(0.2)
        assert not first.done()
        second = batcher.submit(shade(2))
        batcher.expect(-2)
        third = batcher.submit(shade(3))
        assert [each.result(1) for each in (first, second, third)][:2] == [1, 2]
    assert sizes[0] >= 2


def test_a_cancelled_image_is_left_out(held: Callable[[MicroBatcher[int]], threading.Event]) -> None:
    sizes: list[int] = []
    with MicroBatcher(shades, batch_size=4, wait=0, observe=sizes.append) as batcher:
        go_on = held(batcher)
        futures = [batcher.submit(shade(value)) for value in range(3)]
        assert futures[1].cancel()
        go_on.set()
        assert futures[2].result(10) == 2
    assert sizes == [2]


def test_a_failure_reaches_those_who_wait_and_no_others() -> None:
    def run(views: NDArray[np.uint8]) -> list[int]:
        if views.max() == 13:
            raise ValueError("unlucky")
        return shades(views)

    with MicroBatcher(run, batch_size=1, wait=0) as batcher:
        futures = [batcher.submit(shade(value)) for value in (1, 13, 2)]
        assert isinstance(futures[1].exception(10), ValueError)
        assert [futures[0].result(10), futures[2].result(10)] == [1, 2]
        with pytest.raises(ZeroDivisionError):
            batcher.call(lambda: 1 // 0).result(10)


def test_closing_finishes_what_is_queued(held: Callable[[MicroBatcher[int]], threading.Event]) -> None:
    batcher = MicroBatcher(shades, batch_size=2, wait=0)
    go_on = held(batcher)
    futures = [batcher.submit(shade(value)) for value in range(5)]
    call = batcher.call(lambda: "done")
    go_on.set()
    batcher.close()
    assert [future.result(0) for future in futures] == list(range(5))
    assert call.result(0) == "done"
