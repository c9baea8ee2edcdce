"""The executors of this machine: the same results from threads and from processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from headstart.errors import SettingsError
from headstart.execution import Executor, available_cores, base, open_executor, register_executor
from headstart.execution.local import LocalExecutor, open_threads

KINDS = ("threads", "processes")


@pytest.mark.parametrize("kind", KINDS)
def test_work_is_done_by_the_workers(kind: str) -> None:
    with open_executor(1, workers=2, kind=kind) as executor:
        found = [executor.submit(divmod, number, 7) for number in range(50)]
        assert [each.result() for each in found] == [divmod(number, 7) for number in range(50)]
        there = executor.submit(os.getpid).result(), executor.submit(threading.get_ident).result()
    assert (there[0] == os.getpid()) == (kind == "threads")
    assert there[1] != threading.get_ident() or kind == "processes"


@pytest.mark.parametrize(
    ("items", "workers", "kind"),
    [(100, 64, "threads"), (10**6, 2, "threads"), (8000, 8, "processes"), (7999, 8, "threads"), (8000, 7, "threads")],
)
def test_processes_are_chosen_for_many_items_on_many_cores(items: int, workers: int, kind: str) -> None:
    with open_executor(items, workers=workers) as executor:
        assert (executor.kind, executor.workers) == (kind, workers)


def test_one_worker_per_core_by_default() -> None:
    with open_executor(1) as executor:
        assert executor.workers == available_cores()


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_that_have_not_begun_are_cancelled(kind: str) -> None:
    start = time.monotonic()
    with open_executor(1, workers=1, kind=kind) as executor:
        executor.submit(os.getpid).result()
        waiting = [executor.submit(time.sleep, 0.2) for _ in range(200)]
    assert time.monotonic() - start < 30  # all of them would take 40 s
    assert not all(each.done() and not each.cancelled() and each.exception() is None for each in waiting)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ahead", [1, 3, None])
def test_map_keeps_the_order(kind: str, ahead: int | None) -> None:
    with open_executor(1, workers=2, kind=kind) as executor:
        assert list(executor.map(_slow_square, range(12), ahead=ahead)) == [number**2 for number in range(12)]
        assert list(executor.map(_slow_square, [], ahead=ahead)) == []


def _slow_square(number: int) -> int:
    time.sleep(0.01 * (number % 3))
    return number**2


def test_map_draws_no_more_items_than_it_needs() -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for number in range(100):
            drawn += 1
            yield number

    with open_executor(1, workers=2, kind="threads") as executor:
        for taken, square in enumerate(executor.map(_slow_square, items(), ahead=5)):
            assert square == taken**2
            assert drawn <= taken + 5
    assert drawn == 100


def test_a_map_that_is_closed_early_cancels_the_rest() -> None:
    done: list[float] = []

    def work(seconds: float) -> None:
        time.sleep(seconds)
        done.append(seconds)

    with open_executor(1, workers=2, kind="threads") as executor:
        results = executor.map(work, [0.02] * 200)
        next(results)
        results.close()  # type: ignore[attr-defined]
    assert len(done) < 20


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_raised_by_result(kind: str) -> None:
    with open_executor(1, workers=1, kind=kind) as executor:
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()
        with pytest.raises(ZeroDivisionError):
            list(executor.map(partial(divmod, 1), [1, 0]))


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from headstart.execution import open_executor\n"
        "with open_executor(1, workers=2, kind='processes') as executor:\n"
        "    print(executor.submit(divmod, 7, 2).result())\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n") == ["once", "(3, 1)", ""]


def test_another_kind_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_FACTORIES", dict(base._FACTORIES))
    opened: list[Executor] = []

    def open_counted(workers: int) -> LocalExecutor:
        executor = open_threads(workers)
        opened.append(executor)
        return executor

    register_executor("counted", open_counted)
    with open_executor(3, workers=2, kind="counted") as executor:
        assert list(executor.map(abs, [-1, 2])) == [1, 2]
    assert opened == [executor]


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(SettingsError) as caught, open_executor(1, kind="cluster"):
        pass
    assert str(caught.value) == "kind of executor must be processes or threads, got 'cluster'"
