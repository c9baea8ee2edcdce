from __future__ import annotations

import os
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


# As many threads at once as would have eight heaps. What glibc tells of itself is XML with one element for each.
HEAPS = """
import ctypes, sys, threading
from headstart.execution.memory import share_heaps

if sys.argv[1] == "shared":
    share_heaps()
everyone = threading.Barrier(8)

def allocate():
    kept = [bytearray(1000) for _ in range(100)]
    everyone.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
library = ctypes.CDLL(None)
library.fdopen.restype = ctypes.c_void_p
library.malloc_info(0, ctypes.c_void_p(library.fdopen(1, b"w")))
library.fflush(None)
"""


@glibc
@pytest.mark.parametrize(("how", "environment", "most"), [("shared", {}, 2), ("shared", {"MALLOC_ARENA_MAX": "3"}, 3)])
def test_threads_share_two_heaps_unless_a_person_has_set_how_many(
    how: str, environment: dict[str, str], most: int
) -> None:
    def heaps(how: str) -> int:
        kept = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
        words = [sys.executable, "-c", HEAPS, how]
        env = {**kept, **environment}
        return subprocess.run(words, check=True, capture_output=True, text=True, env=env).stdout.count("<heap ")

    assert heaps(how) == most
    assert environment or heaps("default") > most
