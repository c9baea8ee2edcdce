"""What each trial of the search over what to train costs and gains, and where ``headstart fit`` ends, over seeds.

    python -m benchmarks.accuracy.search [--seeds 5] [--only NAME ...] [--quick]

Runs ``headstart fit`` from the command line with a fifth of the images for validation. For trash6 the result is of
another fifth, the test split, which takes part in no choice; for dogs120 it is of the validation split. The first seed
starts from an empty store; the store stays for the other seeds, whose splits still need some new features. Seconds are
of each trial alone, and of the whole process. All figures but those of the trials are after temperature scaling.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from typing import Any

from benchmarks.harness import HEADSTART, SHARED, Figures, earlier, empty_folder, read_json, run, save, spread

WITH_TEST = ("--validation-share", 0.2, "--test-share", 0.2)
WITHOUT_TEST = ("--validation-share", 0.2, "--test-share", 0)
RUNS: dict[str, tuple[object, ...]] = {
    "trash6": WITH_TEST,
    "trash6, two minutes": (*WITH_TEST, "--budget", "2min"),
    "trash6, two minutes, BatchNorm frozen": (*WITH_TEST, "--budget", "2min", "--batchnorm", "frozen"),
    "dogs120": WITHOUT_TEST,
    "dogs120, flip averaging, 256 pixels": (*WITHOUT_TEST, "--tta-flip", "--size", 256),
    "dogs120, no pretrained head": (*WITHOUT_TEST, "--no-pretrained-head"),
    "dogs120, 256 pixels": (*WITHOUT_TEST, "--size", 256),
    "dogs120, 256 pixels, no pretrained head": (*WITHOUT_TEST, "--size", 256, "--no-pretrained-head"),
}


def fit_over_seeds(name: str, seeds: int, *more: object) -> Figures:
    """Seed by seed, with one feature store."""
    data = name.partition(",")[0]
    folder = empty_folder("search")
    result: dict[str, list[float]] = defaultdict(list)
    trials: dict[str, list[dict[str, Any]]] = defaultdict(list)
    chosen = []
    split = ""
    for seed in range(seeds):
        paths = ("--cache-dir", folder / "store", "--out", folder / "run")
        completed = run(HEADSTART, "fit", SHARED / data, *RUNS[name], *more, "--seed", seed, *paths)
        evaluation = read_json(folder / "run" / "evaluation.json")
        split = evaluation["split"]
        for metric in ("top1", "log_loss", "ece"):
            result[metric].append(evaluation[metric]["value"])
        result["covered"].append(evaluation["prediction_sets"]["covered"]["value"])
        result["seconds"].append(completed.seconds)
        result["peak_gb"].append(completed.peak_gb)
        for trial in evaluation["trials"]:
            trials[trial["name"]].append({**trial, "accuracy": trial["accuracy"]["value"]})
        chosen.append(next(trial["name"] for trial in evaluation["trials"] if trial["chosen"]))
    return {
        "split": split,
        "chosen": chosen,
        "first_from_nothing_s": result["seconds"][0],
        "result": {name: {**spread(each), "mean": round(sum(each) / seeds, 4)} for name, each in result.items()},
        "trials": {
            name: {
                "seeds": len(rows),
                **{metric: spread([row[metric] for row in rows]) for metric in ("accuracy", "log_loss", "seconds")},
            }
            for name, rows in trials.items()
        },
    }


def main() -> None:
    """Run by run; the figures are saved after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), help="keep the saved figures of others")
    parser.add_argument("--quick", action="store_true", help="one seed of trash6 within 15 seconds")
    given = parser.parse_args()
    if given.quick:
        save("accuracy/search", {"trash6": fit_over_seeds("trash6", 1, "--budget", "15s")}, quick=True)
        return
    figures = earlier("accuracy/search", [name for name in RUNS if name not in given.only])
    for name in given.only:
        figures[name] = fit_over_seeds(name, given.seeds)
        save("accuracy/search", figures, show=False)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
