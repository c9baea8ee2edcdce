"""A training step with the memory of the steps before it, as headstart trains, and with memory fresh from the system.

    python benchmarks/allocating.py [--steps 40] [--quick]

Batches of 32 in the precision that a fit takes here by itself, stochastic gradient descent; the same tails, both ways
in turn. Beside the milliseconds stand the pages of memory that the system had to hand out for a step. What is done
about it is in src/headstart/scale/memory.py.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from harness import keep, ratio, spread, times_of
from layout import CUTS, tail_of

from headstart.models.engine import choose_precision
from headstart.scale.memory import held
from headstart.train.tail import Loop, train_tail


def pages() -> int:
    """That this process has been handed out so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def measured(model: str, train: str, steps: int, within: Callable[[], AbstractContextManager[None]]) -> dict[str, Any]:
    """Milliseconds a step in each of five epochs, and pages a step."""
    tail, part, one = tail_of(model, train, steps)
    loop = Loop(1, 32, optimizer="sgd", precision=choose_precision("auto", "cpu"))
    with within():
        train_tail(tail, part, one, loop)
        before = pages()
        taken = times_of(lambda: train_tail(tail, part, one, loop), 5, before=0)
        handed_out = pages() - before
    return {"ms": [1000 * each / steps for each in taken], "pages": round(handed_out / len(taken) / steps)}


def main() -> None:
    """Fresh first: what glibc's rule has become does not go back to what it was."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--steps", type=int, default=40)
    arguments.add_argument("--quick", action="store_true", help="2 steps: only whether it runs")
    given = arguments.parse_args()
    steps = 2 if given.quick else given.steps
    fresh = [measured(*each, steps, nullcontext) for each in CUTS[:3]]
    rows = []
    for (model, train), before in zip(CUTS, fresh, strict=False):
        ours = measured(model, train, steps, held)
        rows.append(
            {
                "model": "tutorial's MobileNetV2" if model.endswith(".h5") else model,
                "train": train,
                "fresh_ms": spread(before["ms"]),
                "fresh_pages": before["pages"],
                "held_ms": spread(ours["ms"]),
                "held_pages": ours["pages"],
                "times_faster": ratio(before["ms"], ours["ms"]),
            }
        )
        print(rows[-1], flush=True)
    keep("allocating", {"precision": choose_precision("auto", "cpu"), "steps": rows}, quick=given.quick, say=False)


if __name__ == "__main__":
    main()
