"""headstart fit on 10,222 pictures of 120 dog breeds, from nothing and again: seconds, memory, accuracy.

python benchmarks/first_fit.py [--times 3]
"""

from __future__ import annotations

import argparse
import json

from harness import HEADSTART, SHARED, emptied, keep, run, spread


def main() -> None:
    """From nothing, then twice with the store warm, each time."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--times", type=int, default=3)
    cold, warm = [], []
    for _ in range(arguments.parse_args().times):
        folder = emptied("first_fit")
        words = (HEADSTART, "fit", SHARED / "dogs120", "--out", folder / "run", "--store", folder / "store")
        cold.append(run(*words))
        warm.append(run(*words))
    evaluation = json.loads((folder / "run" / "evaluation.json").read_text())
    keep(
        "first_fit",
        {
            "from_nothing_s": spread([each.seconds for each in cold]),
            "store_warm_s": spread([each.seconds for each in warm]),
            "peak_gb": max(each.peak_gb for each in cold + warm),
            "part": evaluation["part"],
            "figures": {name: evaluation[name] for name in ("top1", "top5", "log_loss", "ece")},
            "stages_s_when_warm": evaluation["summary"]["seconds"],
        },
    )


if __name__ == "__main__":
    main()
