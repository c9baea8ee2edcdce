from __future__ import annotations

import platform
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library is left alone")

# In a process of its own: the thresholds are those of the whole process.
STEPS = """
import resource, sys
from contextlib import nullcontext
from headstart.execution.memory import retain_heap, trim_heap

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    blocks = [bytearray(1 << 20) for _ in range(64)]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

with retain_heap() if sys.argv[1] == "retained" else nullcontext():
    step()
    before = pages()
    for _ in range(10):
        step()
    print(pages() - before)
    inside = resident()
    trim_heap()
    print(inside - resident())
"""


def run(how: str) -> tuple[int, int]:
    """Pages allocated in ten steps of 64 MiB, and the bytes that trim_heap returned."""
    ran = subprocess.run([sys.executable, "-c", STEPS, how], check=True, capture_output=True, text=True)
    pages, bytes_ = map(int, ran.stdout.split())
    return pages, bytes_


@glibc
def test_freed_memory_is_reused_and_returned_at_the_end() -> None:
    default, retained = run("default"), run("retained")
    a_step = 64 * 256  # pages of 4 KiB
    assert default[0] > 5 * a_step
    assert retained[0] < a_step // 2
    assert retained[1] > 32 << 20
