"""How long the threads of a computation wait for each other before they sleep.

GNU's OpenMP, which torch computes with on Linux, lets a thread that is done with its part of a step spin until the
others are done: for milliseconds, since it takes every core to be its own. A solved head is thousands of steps of a few
microseconds. Where another program wants a core, the thread that all wait for is the one that has none, the others spin
away the time that it needs, and the head takes many times as long (benchmarks/speed/busy_machine.py). With few
rounds of spinning it takes about as long as its share of the cores lets it, and as long as before on an idle machine.
"""

from __future__ import annotations

import os

__all__ = ["spin_briefly"]

_ROUNDS = "2000"  # some microseconds, about what putting a thread to sleep and waking it up costs


def spin_briefly() -> None:
    """Set it for this process and those that it starts, unless a person has set how OpenMP waits.

    OpenMP reads it once, when torch is loaded: later calls change nothing.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _ROUNDS)
