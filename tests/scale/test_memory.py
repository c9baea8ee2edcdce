from __future__ import annotations

import platform
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library is left alone")

# In a process of its own: the rules are one for all of it.
STEPS = """
import resource, sys
from contextlib import nullcontext
from headstart.scale.memory import give_back, held

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    blocks = [bytearray(1 << 20) for _ in range(64)]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

with held() if sys.argv[1] == "held" else nullcontext():
    step()
    before = pages()
    for _ in range(10):
        step()
    print(pages() - before)
    inside = resident()
    give_back()
    print(inside - resident())
"""


def run(how: str) -> tuple[int, int]:
    """Pages handed out for ten steps of 64 MiB, and the bytes that giving back brought."""
    ran = subprocess.run([sys.executable, "-c", STEPS, how], check=True, capture_output=True, text=True)
    pages, bytes_ = map(int, ran.stdout.split())
    return pages, bytes_


@glibc
def test_what_is_freed_is_used_again_and_given_back_at_the_end() -> None:
    fresh, held = run("as it is"), run("held")
    a_step = 64 * 256  # pages of 4 KiB
    assert fresh[0] > 5 * a_step
    assert held[0] < a_step // 2
    assert held[1] > 32 << 20
