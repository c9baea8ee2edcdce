"""A fine-tuning step that reuses the memory of earlier steps, as headstart trains, and one with fresh memory.

    python -m benchmarks.speed.heap_reuse [--steps 40] [--quick]

Batches of 32 in the precision that a fit takes here by default, stochastic gradient descent; the same tails both ways.
Besides milliseconds, the figures count the pages of memory that the system had to provide per step (minor page faults).
The mechanism is in src/headstart/execution/memory.py.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from benchmarks.harness import Figures, ratio, save, spread, times_of
from benchmarks.speed.tails import CUTS, random_features, title

from headstart.execution.memory import retain_heap
from headstart.inference.engine import choose_precision
from headstart.train.finetune import TrainConfig, finetune

Context = Callable[[], AbstractContextManager[None]]


def page_faults() -> int:
    """Minor page faults of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def measure(model: str, train: str, steps: int, context: Context) -> Figures:
    """Milliseconds per step in each of five epochs, and page faults per step."""
    tail, dataset, one = random_features(model, train, steps)
    config = TrainConfig(1, 32, optimizer="sgd", precision=choose_precision("auto", "cpu"))
    with context():
        finetune(tail, dataset, one, config)
        before = page_faults()
        seconds = times_of(lambda: finetune(tail, dataset, one, config), 5, warmup=0)
        faults = page_faults() - before
    return {"ms": [1000 * each / steps for each in seconds], "pages": round(faults / len(seconds) / steps)}


def main() -> None:
    """Fresh memory first, because the thresholds of glibc's allocator do not return to their initial values."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="2 steps: shows only that the script runs")
    given = parser.parse_args()
    steps = 2 if given.quick else given.steps
    fresh = [measure(model, train, steps, nullcontext) for model, train in CUTS[:3]]
    rows = []
    for (model, train), before in zip(CUTS, fresh, strict=False):
        retained = measure(model, train, steps, retain_heap)
        rows.append(
            {
                "model": title(model),
                "train": train,
                "fresh_ms": spread(before["ms"]),
                "fresh_pages": before["pages"],
                "retained_ms": spread(retained["ms"]),
                "retained_pages": retained["pages"],
                "times_faster": ratio(before["ms"], retained["ms"]),
            }
        )
        print(rows[-1], flush=True)
    figures = {"precision": choose_precision("auto", "cpu"), "steps": rows}
    save("speed/heap_reuse", figures, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
