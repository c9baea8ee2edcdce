"""Whether held-out images confirm what a fit reports: its accuracy, its prediction sets, its calibration.

    python -m benchmarks.accuracy.held_out [--data trash6 dogs120] [--seeds 10] [--quick]

Each seed sets a random fifth of the images aside; ``headstart fit`` gets the rest, with its defaults, and reports an
accuracy. The classifier then predicts the images that were set aside. Three questions, over all seeds:

1. Is the accuracy on the held-out images within the 95 % interval that the fit reported? These images are a sample,
   too: of 505, as in trash6, the accuracy is known to 2.2 points. So ``consistent`` counts the seeds in which the 95 %
   interval of the difference of both accuracies (Newcombe 1998, method 10) contains zero, and ``optimism`` is the mean
   of reported minus held-out accuracy, with its standard error.
2. How often do prediction sets with a target coverage of 90 % contain the true class?
3. How large is the expected calibration error (ECE)?

Features stay in the store from seed to seed; seconds are of the fit alone.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.datasets import labeled_images
from benchmarks.harness import Figures, earlier, empty_folder, save, spread

DATA = ("trash6", "dogs120")


def measure(data: str, seed: int, store: Path) -> Figures:
    """One seed: what the fit reports, and what the held-out images show."""
    from headstart.config import EngineSettings, FitSettings
    from headstart.data.manifest import Manifest
    from headstart.evaluate import evaluate
    from headstart.workflow.fit import fit

    rows = labeled_images(data)
    random.Random(seed).shuffle(rows)
    count = len(rows) // 5
    used, held_out = (
        Manifest.from_rows([path for path, _ in some], labels=[label for _, label in some])
        for some in (rows[count:], rows[:count])
    )
    start = time.monotonic()
    result = fit(used, FitSettings(seed=seed, cache_dir=str(store)))
    seconds = time.monotonic() - start
    classifier = result.classifier
    found = classifier.infer(held_out, settings=EngineSettings())
    sets = found.prediction_sets
    assert sets is not None
    targets = held_out.targets(classifier.classes)
    true = evaluate(targets, found.probabilities, classifier.classes, split="test")
    reported = result.evaluation
    return {
        "seed": seed,
        "trial": next(trial.name for trial in reported.trials if trial.chosen),
        "split": reported.split,
        "reported": asdict(reported.top1),
        "held_out": asdict(true.top1),
        "within": reported.top1.low <= true.top1.value <= reported.top1.high,
        "log_loss": true.log_loss.value,
        "ece": true.ece.value,
        "covered": float(sets[range(len(targets)), targets].mean()),
        "set_size": float(sets.sum(1).mean()),
        "seconds": round(seconds, 1),
    }


def is_consistent(run: Figures) -> bool:
    """Whether both accuracies of a seed may be of one classifier: Newcombe's interval of their difference."""
    one, other = run["reported"], run["held_out"]
    difference = one["value"] - other["value"]
    below = math.hypot(one["value"] - one["low"], other["high"] - other["value"])
    above = math.hypot(one["high"] - one["value"], other["value"] - other["low"])
    return bool(difference - below <= 0 <= difference + above)


def summary(runs: list[Figures]) -> Figures:
    """What the seeds of a data set say together."""
    optimism = [run["reported"]["value"] - run["held_out"]["value"] for run in runs]
    error = statistics.stdev(optimism) / math.sqrt(len(runs)) if len(runs) > 1 else math.nan
    return {
        "within": f"{sum(run['within'] for run in runs)} of {len(runs)}",
        "consistent": f"{sum(map(is_consistent, runs))} of {len(runs)}",
        "optimism": {"mean": round(statistics.fmean(optimism), 4), "standard_error": round(error, 4)},
        **{name: spread([run[name] for run in runs]) for name in ("covered", "set_size", "ece", "log_loss")},
        "covered_mean": round(sum(run["covered"] for run in runs) / len(runs), 4),
        "held_out_top1": spread([run["held_out"]["value"] for run in runs]),
        "width": spread([run["reported"]["high"] - run["reported"]["low"] for run in runs]),
        "runs": runs,
    }


def main() -> None:
    """Seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="keep the saved figures of others")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="trash6, one seed: shows only that the script runs")
    given = parser.parse_args()
    if given.quick:
        given.data, given.seeds = ["trash6"], 1
    figures = earlier("accuracy/held_out", [data for data in DATA if data not in given.data])
    for data in given.data:
        store = empty_folder(f"held_out-{data}") / "store"
        runs = []
        for seed in range(given.seeds):
            runs.append(measure(data, seed, store))
            print(data, runs[-1], flush=True)
        figures[data] = summary(runs)
        save("accuracy/held_out", figures, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
