"""A solved head on a machine that has other work, with threads that wait for each other as headstart lets them.

    python -m benchmarks.speed.busy_machine [--times 5] [--quick]

``headstart fit --train head`` of trash6 with stored features, beside none, one and two processes that do nothing but
count: with the brief waiting that the command line sets (src/headstart/execution/waiting.py), and with OpenMP's own.
The seconds are those of solving alone, and the two ways take turns.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import HEADSTART, SHARED, Figures, empty_folder, read_json, run, save, spread

WAYS = {"headstart": "2000", "openmp": "300000"}  # rounds of spinning; the second: OpenMP's on its own cores
BESIDE = (0, 1, 2)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that count."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> None:
    """With no other process, then with one and two."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="once beside one process: shows only that it runs")
    given = parser.parse_args()
    times, beside = (1, (1,)) if given.quick else (given.times, BESIDE)
    folder = empty_folder("busy_machine")
    words = (HEADSTART, "fit", SHARED / "trash6", "--train", "head", "--out", folder / "run")
    words += ("--cache-dir", folder / "store")
    run(*words)  # fills the store
    figures: Figures = {}
    for processes in beside:
        seconds: dict[str, list[float]] = defaultdict(list)
        for _ in range(times):
            for way, rounds in WAYS.items():
                with busy(processes):
                    run(*words, GOMP_SPINCOUNT=rounds)
                trials = read_json(folder / "run" / "evaluation.json")["trials"]
                seconds[way].append(next(trial["seconds"] for trial in trials if trial["name"] == "head"))
        figures[str(processes)] = {way: spread(found) for way, found in seconds.items()}
        save("speed/busy_machine", figures, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
