"""``headstart fit`` on 10,222 images of 120 dog breeds, store empty and full: time, memory, accuracy.

python -m benchmarks.speed.first_fit [--times 3] [--quick]
"""

from __future__ import annotations

import argparse

from benchmarks.harness import HEADSTART, SHARED, empty_folder, read_json, run, save, spread


def main() -> None:
    """From an empty store, then once more with the store warm, each time."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="the 240 dogs of kaggle-dogs-240, once")
    given = parser.parse_args()
    data, times = ("kaggle-dogs-240", 1) if given.quick else ("dogs120", given.times)
    cold, warm = [], []
    for _ in range(times):
        folder = empty_folder("first_fit")
        words = (HEADSTART, "fit", SHARED / data, "--out", folder / "run", "--cache-dir", folder / "store")
        cold.append(run(*words))
        warm.append(run(*words))
    evaluation = read_json(folder / "run" / "evaluation.json")
    save(
        "speed/first_fit",
        {
            "from_nothing_s": spread([each.seconds for each in cold]),
            "store_warm_s": spread([each.seconds for each in warm]),
            "peak_gb": max(each.peak_gb for each in cold + warm),
            "split": evaluation["split"],
            "figures": {name: evaluation[name] for name in ("top1", "top5", "log_loss", "ece")},
            "stages_s_when_warm": evaluation["summary"]["seconds"],
        },
        quick=given.quick,
    )


if __name__ == "__main__":
    main()
