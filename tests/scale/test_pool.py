"""Threads or processes: the same work, whoever does it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import get_args

import pytest

from headstart.scale import cores
from headstart.scale.pool import Kind, open_pool


@pytest.mark.parametrize("kind", get_args(Kind))
def test_it_does_the_work_elsewhere(kind: Kind) -> None:
    with open_pool(1, workers=2, kind=kind) as pool:
        found = [pool.submit(divmod, number, 7) for number in range(50)]
        assert [each.result() for each in found] == [divmod(number, 7) for number in range(50)]
        there = pool.submit(os.getpid).result(), pool.submit(threading.get_ident).result()
    assert (there[0] == os.getpid()) == (kind == "threads")
    assert there[1] != threading.get_ident() or kind == "processes"


@pytest.mark.parametrize(
    ("items", "workers", "kind"),
    [(100, 64, "threads"), (10**6, 2, "threads"), (8000, 8, "processes"), (7999, 8, "threads"), (8000, 7, "threads")],
)
def test_processes_where_they_pay(items: int, workers: int, kind: Kind) -> None:
    with open_pool(items, workers=workers) as pool:
        assert (pool.kind, pool.workers) == (kind, workers)


def test_by_itself_a_worker_a_core() -> None:
    with open_pool(1) as pool:
        assert pool.workers == cores()


@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_nobody_has_begun_is_dropped(kind: Kind) -> None:
    start = time.monotonic()
    with open_pool(1, workers=1, kind=kind) as pool:
        pool.submit(os.getpid).result()
        waiting = [pool.submit(time.sleep, 0.2) for _ in range(200)]
    assert time.monotonic() - start < 30  # all of them would take 40 s
    assert not all(each.done() and not each.cancelled() and each.exception() is None for each in waiting)


def test_the_error_of_a_process_comes_back() -> None:
    with open_pool(1, workers=1, kind="processes") as pool, pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result()


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from headstart.scale.pool import open_pool\n"
        "with open_pool(1, workers=2, kind='processes') as pool:\n"
        "    print(pool.submit(divmod, 7, 2).result())\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n") == ["once", "(3, 1)", ""]
