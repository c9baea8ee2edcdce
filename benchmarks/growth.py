"""How time and memory grow: the feature store from 1,000 to 1,000,000 rows, a fit from 1,000 to 40,000 pictures.

    python benchmarks/growth.py [--most-rows 1000000] [--most-pictures 40000] [--quick]

The store's rows have made-up hashes and 64 features each, so that what grows is the store and not the disk's work;
they come in commits of 2,000, about what extraction writes at once, and the rate is the median of the last twenty. Each
size is a process of its own, whose memory is told. The pictures beyond the 10,222 of dogs120 are the same files with
eight bytes after their end, which nobody shows but which make them other contents: each is decoded, computed and kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from harness import HEADSTART, SHARED, emptied, keep, run, told

COMMIT, FEATURES, SOME = 2000, 64, 1000
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
PICTURES = (1_000, 5_000, 10_000, 20_000, 40_000)


def hashes(start: int, count: int) -> list[str]:
    """As content hashes look."""
    return [hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest() for number in range(start, start + count)]


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 4)


def one_store(rows: int) -> dict[str, Any]:
    """Fill a store, then ask of it what a fit and a prune ask."""
    import numpy as np

    from headstart.data.spec import InputSpec
    from headstart.features.key import FeatureSpace
    from headstart.features.store import FeatureStore

    folder = emptied("growth-store")
    facts = FeatureSpace("growth", "0" * 32, "pool", InputSpec(), "float32", "float16", (FEATURES,))
    space = FeatureStore(folder).space(facts)
    chance = np.random.default_rng(0)
    values = chance.standard_normal((COMMIT, FEATURES), np.float32)
    appending = []
    for start in range(0, rows, COMMIT):
        names = hashes(start, min(COMMIT, rows - start))
        appending.append(seconds(lambda names=names: space.append(names, values[: len(names)])) / len(names))  # type: ignore[misc]
    joining = seconds(space.tidy)
    everything = hashes(0, rows)
    absent = hashes(rows, SOME)
    chosen = [everything[number] for number in chance.choice(rows, SOME, replace=False)]
    looking_up_all = seconds(lambda: space.missing(everything))
    looking_up_some = seconds(lambda: space.missing(chosen + absent))
    found = space.rows(everything)
    taking_some = seconds(lambda: found.take(chance.choice(rows, SOME, replace=False)))
    taking_all = seconds(lambda: found.take(np.arange(rows)))
    # A hundredth is there twice, as two runs at once leave it.
    again = everything[: max(1, rows // 100)]
    for start in range(0, len(again), COMMIT):
        part = again[start : start + COMMIT]
        space.append(part, values[: len(part)])
    before = space.bytes
    pruning = seconds(lambda: space.prune(timedelta(0)))
    assert len(space) == rows, (len(space), rows)
    return {
        "rows": rows,
        "append_rows_per_s": round(1 / statistics.median(appending[-20:])),
        "join_fragments_s": joining,
        "look_up_all_s": looking_up_all,
        "look_up_2000_s": looking_up_some,
        "take_1000_s": taking_some,
        "take_all_s": taking_all,
        "prune_s": pruning,
        "prune_rows_per_s": round(rows / pruning),
        "bytes_a_row_before_and_after": [round(before / rows), round(space.bytes / rows)],
    }


def stores(most: int) -> list[dict[str, Any]]:
    """Each size in a process of its own."""
    lines = []
    for rows in (each for each in SIZES if each <= most):
        ran = run(sys.executable, __file__, "--one-store", rows)
        lines.append({**told(ran), "process_s": ran.seconds, "peak_gb": ran.peak_gb})
        print(json.dumps(lines[-1]), flush=True)
    return lines


def pictures(count: int) -> Path:
    """A folder of classes with so many pictures, no two alike."""
    import csv

    folder = emptied("growth-pictures")
    dogs = SHARED / "dogs120"
    by_breed: dict[str, list[str]] = defaultdict(list)
    with (dogs / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            by_breed[row["breed"]].append(row["id"])
    taken = 0
    for turn in range(count):
        for breed, ids in by_breed.items():
            if taken == count:
                return folder
            content = (dogs / "train" / f"{ids[turn % len(ids)]}.jpg").read_bytes()
            place = folder / breed / f"{turn:05}.jpg"
            place.parent.mkdir(exist_ok=True)
            # The first time as it is; then with a number behind the end of the picture.
            place.write_bytes(content + (turn // len(ids)).to_bytes(8, "big") * (turn >= len(ids)))
            taken += 1
    return folder


def fits(most: int) -> list[dict[str, Any]]:
    """headstart fit from nothing, then with the store full."""
    lines = []
    for count in (each for each in PICTURES if each <= most):
        folder, work = pictures(count), emptied("growth-fit")
        words = (HEADSTART, "fit", folder, "--out", work / "run", "--store", work / "store")
        cold, warm = run(*words), run(*words)
        summary = json.loads((work / "run" / "evaluation.json").read_text())["summary"]
        assert sum(summary["images"].values()) == count, summary
        lines.append(
            {
                "pictures": count,
                "from_nothing_s": cold.seconds,
                "store_warm_s": warm.seconds,
                "peak_gb": max(cold.peak_gb, warm.peak_gb),
                "stages_s_when_warm": summary["seconds"],
            }
        )
        print(json.dumps(lines[-1]), flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return lines


def main() -> None:
    """The store, then fits."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--most-rows", type=int, default=SIZES[-1])
    arguments.add_argument("--most-pictures", type=int, default=PICTURES[-1])
    arguments.add_argument("--quick", action="store_true", help="the smallest sizes: only whether it runs")
    arguments.add_argument("--one-store", type=int, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one_store:
        print(json.dumps(one_store(given.one_store)))
        return
    if given.quick:
        given.most_rows, given.most_pictures = 10_000, 1_000
    figures = {"store": stores(given.most_rows), "fit": fits(given.most_pictures)}
    keep("growth", figures, quick=given.quick)


if __name__ == "__main__":
    main()
