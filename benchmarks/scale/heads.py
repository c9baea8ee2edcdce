"""Heads over shards: memory of the process that solves and of its workers, and agreement with a head solved at once.

    python -m benchmarks.scale.heads [--rows 10000 100000 1000000] [--quick]

Rows of 256 made-up features of 20 overlapping classes in a real feature store; of every six rows one validates. A
logistic regression with the penalty 0.01 is solved with the features in memory, read from the store in each pass (as
without a cluster, where they do not fit), and by two one-core workers of a Ray cluster on this machine. Each way in a
process of its own, whose peak memory is recorded: with no rows at all, some hundred MB for torch and Lance, and in any
case the store's keys and the targets, some hundred bytes per row. Times are recorded with ``--times``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable

from benchmarks.harness import BUILD, ROOT, Figures, empty_folder, module, run, save

FEATURES, CLASSES, COMMIT, L2 = 256, 20, 10_000, 0.01
WAYS = ("in memory", "from the store", "two workers")
STORE = BUILD / "heads-store"


def peak_mb() -> float:
    """Peak resident memory of this process."""
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def worker_peak(_: object) -> tuple[int, float]:
    """Of a shard: the process that holds it, and its peak memory."""
    import os

    return os.getpid(), peak_mb()


def names(rows: Iterable[int]) -> list[str]:
    """Strings like content hashes."""
    return [f"{number:032x}" for number in rows]


def table():  # type: ignore[no-untyped-def]
    """The table of the store."""
    from headstart.data.spec import InputSpec
    from headstart.features.key import FeatureSpace
    from headstart.features.store import FeatureStore

    return FeatureStore(STORE).table(
        FeatureSpace("heads", "0" * 32, "pool", InputSpec(), "float32", "float16", (FEATURES,))
    )


def fill(rows: int) -> None:
    """Write the rows, and their targets beside them."""
    import numpy as np

    rng, store = np.random.default_rng(0), table()
    centers, targets = rng.normal(size=(CLASSES, FEATURES)), rng.integers(0, CLASSES, rows)
    for start in range(0, rows, COMMIT):
        part = targets[start : start + COMMIT]
        values = 3 + centers[part] + 6 * rng.standard_normal((len(part), FEATURES))
        store.append(names(range(start, start + len(part))), values.astype(np.float32))
    store.compact()
    np.save(STORE / "targets.npy", targets)


def solve(way: str, rows: int) -> Figures:
    """Solve the head one way, and keep it for the comparison."""
    from contextlib import nullcontext

    import numpy as np
    import torch

    from headstart.execution.cluster import Cluster
    from headstart.train.heads import HeadProblem
    from headstart.train.heads.lbfgs import LbfgsSolver
    from headstart.train.heads.sharded import open_sharded

    targets, store = torch.from_numpy(np.load(STORE / "targets.npy")), table()
    problem = HeadProblem(CLASSES, l2=L2, kernel="none", discriminant=False)
    cut = rows * 5 // 6
    sources = [store.rows(names(part)) for part in (range(cut), range(cut, rows))]
    splits = list(zip(sources, (targets[:cut], targets[cut:]), strict=True))
    if way == "in memory":
        splits = [(torch.from_numpy(source.take(np.arange(len(source)))), y) for source, y in splits]
    context = open_sharded(Cluster("local", 2), splits) if way == "two workers" else nullcontext(splits)
    with context as given:
        start = time.monotonic()
        fit = LbfgsSolver().fit(*given, problem)
        seconds = round(time.monotonic() - start, 2)
        found: Figures = {"peak_mb": peak_mb(), "seconds": seconds}
        if way == "two workers":
            found["shards"] = [len(vectors.shards) for vectors, _ in given]
            peaks = dict(peak for vectors, _ in given for peak in vectors.shards.map(worker_peak))
            found["worker_peaks_mb"] = sorted(peaks.values())
    (chosen,) = [record for record in fit.history if record.chosen]
    np.savez(STORE / f"{way}.npz", weight=fit.head.weight, logits=fit.validation_logits, loss=chosen.val_loss)
    return {**found, "val_loss": chosen.val_loss, "val_accuracy": chosen.val_accuracy}


def compare() -> Figures:
    """The head of two workers beside that of one process."""
    import numpy as np

    here, there = (np.load(STORE / f"{way}.npz") for way in ("in memory", "two workers"))
    weights = np.linalg.norm(there["weight"] - here["weight"]) / np.linalg.norm(here["weight"])
    return {
        "weights_differ_by_share": float(f"{weights:.2g}"),
        "logits_differ_by_at_most": float(f"{np.abs(there['logits'] - here['logits']).max():.2g}"),
        "loss_differs_by": float(f"{abs(there['loss'] - here['loss']):.2g}"),
    }


def main() -> None:
    """Each size and way in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--times", action="store_true", help="record seconds, where nothing else runs")
    parser.add_argument("--quick", action="store_true", help="3,000 rows")
    parser.add_argument("--one", choices=("fill", *WAYS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        (rows,) = given.rows
        print(json.dumps(fill(rows) if given.one == "fill" else solve(given.one, rows)))
        return
    sizes = []
    for rows in [3000] if given.quick else given.rows:
        empty_folder(STORE.name)
        run(*module("benchmarks.scale.heads", "--one", "fill", "--rows", rows), cwd=ROOT)
        ways: dict[str, Figures] = {}
        for way in WAYS:
            ways[way] = run(*module("benchmarks.scale.heads", "--one", way, "--rows", rows), cwd=ROOT).report()
            if not given.times:
                del ways[way]["seconds"]
            print(rows, way, ways[way], flush=True)
        sizes.append({"rows": rows, "features_mb": round(rows * FEATURES * 2 / 1e6, 1), **ways, **compare()})
        save("scale/heads", {"features": FEATURES, "classes": CLASSES, "sizes": sizes}, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
