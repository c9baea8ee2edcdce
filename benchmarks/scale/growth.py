"""How time and memory grow: the feature store from 1,000 to 1,000,000 rows, a fit from 1,000 to 40,000 images.

    python -m benchmarks.scale.growth [--max-rows 1000000] [--max-images 40000] [--quick]

The store's rows have made-up hashes and 64 features each, so that the number of rows dominates and not the disk; they
are appended in commits of 2,000, about what extraction appends at once, and the rate is the median of the last twenty.
Each size runs in a process of its own, whose peak memory is recorded. Images beyond the 10,222 of dogs120 are the same
files with eight bytes after their end: decoders ignore them, but the contents differ, so that each image is decoded,
computed and stored.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import shutil
import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import (
    HEADSTART,
    ROOT,
    SHARED,
    Figures,
    empty_folder,
    module,
    read_json,
    run,
    save,
    times_of,
)

COMMIT, FEATURES, SOME = 2000, 64, 1000
ROWS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
IMAGES = (1_000, 5_000, 10_000, 20_000, 40_000)


def hashes(start: int, count: int) -> list[str]:
    """Strings like content hashes."""
    return [hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest() for number in range(start, start + count)]


def seconds(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    return round(times_of(work, 1, warmup=0)[0], 4)


def measure_store(rows: int) -> Figures:
    """Fill a table, then do with it what a fit and a prune do."""
    import numpy as np

    from headstart.data.spec import InputSpec
    from headstart.features.key import FeatureSpace
    from headstart.features.store import FeatureStore

    space = FeatureSpace("growth", "0" * 32, "pool", InputSpec(), "float32", "float16", (FEATURES,))
    table = FeatureStore(empty_folder("growth-store")).table(space)
    rng = np.random.default_rng(0)
    values = rng.standard_normal((COMMIT, FEATURES), np.float32)
    appending = []
    for start in range(0, rows, COMMIT):
        names = hashes(start, min(COMMIT, rows - start))
        appending.append(seconds(lambda names=names: table.append(names, values[: len(names)])) / len(names))  # type: ignore[misc]
    joining = seconds(table.compact)
    everything, absent = hashes(0, rows), hashes(rows, SOME)
    chosen = [everything[number] for number in rng.choice(rows, SOME, replace=False)]
    looking_up_all = seconds(lambda: table.missing(everything))
    looking_up_some = seconds(lambda: table.missing(chosen + absent))
    found = table.rows(everything)
    taking_some = seconds(lambda: found.take(rng.choice(rows, SOME, replace=False)))
    taking_all = seconds(lambda: found.take(np.arange(rows)))
    # A hundredth of the rows twice, as two concurrent runs leave them.
    again = everything[: max(1, rows // 100)]
    for start in range(0, len(again), COMMIT):
        names = again[start : start + COMMIT]
        table.append(names, values[: len(names)])
    before = table.bytes
    pruning = seconds(lambda: table.prune(alone=True))
    assert len(table) == rows, (len(table), rows)
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
        "bytes_per_row_before_and_after": [round(before / rows), round(table.bytes / rows)],
    }


def measure_stores(max_rows: int) -> list[Figures]:
    """Each size in a process of its own."""
    lines = []
    for rows in (each for each in ROWS if each <= max_rows):
        completed = run(*module("benchmarks.scale.growth", "--one-store", rows), cwd=ROOT)
        lines.append({**completed.report(), "process_s": completed.seconds, "peak_gb": completed.peak_gb})
        print(json.dumps(lines[-1]), flush=True)
    return lines


def write_images(count: int) -> Path:
    """Write one subfolder per class with ``count`` images in total, no two with the same content."""
    folder = empty_folder("growth-images")
    dogs = SHARED / "dogs120"
    by_breed: dict[str, list[str]] = defaultdict(list)
    with (dogs / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            by_breed[row["breed"]].append(row["id"])
    written = 0
    for turn in range(count):
        for breed, ids in by_breed.items():
            if written == count:
                return folder
            content = (dogs / "train" / f"{ids[turn % len(ids)]}.jpg").read_bytes()
            path = folder / breed / f"{turn:05}.jpg"
            path.parent.mkdir(exist_ok=True)
            # The first time as it is; after that with a number behind the end of the image.
            path.write_bytes(content + (turn // len(ids)).to_bytes(8, "big") * (turn >= len(ids)))
            written += 1
    return folder


def measure_fits(max_images: int) -> list[Figures]:
    """``headstart fit`` with an empty store, then with a full one."""
    lines = []
    for count in (each for each in IMAGES if each <= max_images):
        folder, work = write_images(count), empty_folder("growth-fit")
        words = (HEADSTART, "fit", folder, "--out", work / "run", "--cache-dir", work / "store")
        cold, warm = run(*words), run(*words)
        summary = read_json(work / "run" / "evaluation.json")["summary"]
        assert sum(summary["images"].values()) == count, summary
        lines.append(
            {
                "images": count,
                "from_nothing_s": cold.seconds,
                "store_warm_s": warm.seconds,
                "peak_gb": max(cold.peak_gb, warm.peak_gb),
                "anonymous_gb": max(cold.anonymous_gb, warm.anonymous_gb),
                "stages_s_when_warm": summary["seconds"],
            }
        )
        print(json.dumps(lines[-1]), flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return lines


def main() -> None:
    """The store, then fits."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--max-rows", type=int, default=ROWS[-1])
    parser.add_argument("--max-images", type=int, default=IMAGES[-1])
    parser.add_argument("--quick", action="store_true", help="the smallest sizes: shows only that the script runs")
    parser.add_argument("--one-store", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one_store:
        print(json.dumps(measure_store(given.one_store)))
        return
    if given.quick:
        given.max_rows, given.max_images = 10_000, 1_000
    figures = {"store": measure_stores(given.max_rows), "fit": measure_fits(given.max_images)}
    save("scale/growth", figures, quick=given.quick)


if __name__ == "__main__":
    main()
