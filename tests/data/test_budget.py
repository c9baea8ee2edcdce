"""Threads that decode large images share a bounded amount of memory."""

from __future__ import annotations

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.data import budget
from headstart.data.budget import MemoryBudget
from headstart.data.decode import decode, decoded, inspect
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.errors import ImageProblem


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=60), st.integers(1, 6))
def test_no_more_than_the_limit_is_held_at_once(amounts: list[int], workers: int) -> None:
    shared, lock, held, most = MemoryBudget(100), threading.Lock(), [0], [0]

    def use(amount: int) -> None:
        with shared.hold(amount):
            with lock:
                held[0] += min(amount, 75)
                most[0] = max(most[0], held[0])
            with lock:
                held[0] -= min(amount, 75)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(use, amounts))
    assert most[0] <= 100
    assert shared.used == 0


def test_bytes_are_given_back_after_an_error() -> None:
    shared = MemoryBudget(100)
    with pytest.raises(KeyError), shared.hold(70):
        raise KeyError
    assert shared.used == 0


def test_small_images_do_not_wait_for_the_largest() -> None:
    shared = MemoryBudget(100)
    with shared.hold(1000), shared.hold(25):
        assert shared.used == 100


def test_small_images_do_not_pass_a_large_one_that_waits() -> None:
    shared, order = MemoryBudget(100), []
    asked = threading.Event()

    def use(amount: int) -> None:
        asked.set()
        with shared.hold(amount):
            order.append(amount)

    threads = [threading.Thread(target=use, args=(amount,)) for amount in (90, 10)]
    with shared.hold(50):
        for thread in threads:
            asked.clear()
            thread.start()
            assert asked.wait(10)
            while len(shared._waiting) < threads.index(thread) + 1:  # until it stands in the line
                pass
    for thread in threads:
        thread.join()
    assert order == [90, 10]


def test_an_image_is_held_until_its_block_ends(monkeypatch: pytest.MonkeyPatch, pictures) -> None:  # type: ignore[no-untyped-def]
    shared = MemoryBudget(1 << 30)
    monkeypatch.setattr("headstart.data.decode.DECODING", shared)
    monkeypatch.setattr("headstart.data.decode._SMALL", 0)
    (path,) = pictures(1)
    with decoded(path) as image:
        assert shared.used >= 4 * image.width * image.height
    assert shared.used == 0
    broken = path.with_name("broken.png")
    broken.write_bytes(path.read_bytes()[:200])
    for read in (inspect, decode):
        if read is decode:
            with pytest.raises(ImageProblem):
                read(broken)
        else:
            assert read(broken).problem is not None
        assert shared.used == 0


def test_images_larger_than_the_budget_are_read_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
    pictures,  # type: ignore[no-untyped-def]
) -> None:
    monkeypatch.setattr("headstart.data.decode.DECODING", MemoryBudget(1))
    monkeypatch.setattr("headstart.data.decode._SMALL", 0)
    manifest = inspect_all(Manifest.from_rows(pictures(6)), workers=4)
    assert manifest.problems == [None] * 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:lance is not fork-safe")  # the child neither reads nor writes with it
def test_a_forked_process_begins_with_an_empty_budget() -> None:
    with budget.DECODING.hold(budget.DECODING.limit):
        child = os.fork()
        if child == 0:
            code, data = 1, png()
            try:
                code = 0 if decode(data).size == (2, 2) and budget.DECODING.used == 0 else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (2, 2)).save(out, "PNG")
    return out.getvalue()
