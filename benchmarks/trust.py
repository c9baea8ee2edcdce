"""Whether what a fit says of itself is true: its accuracy, its percentages and its sets, on pictures it never saw.

    python benchmarks/trust.py [--data trash6 dogs120] [--seeds 10]

A fifth of the pictures is drawn by each seed and put away; ``headstart fit`` gets the rest, with its defaults, and says
how accurate it is. Then the classifier is shown what was put away. Three questions, over all seeds:

1. Does the accuracy on the pictures put away lie in the 95 % interval of what the fit printed, or the other way round:
   does its own figure lie in the interval of theirs?
2. How often do the sets that promise 90 % hold the true class?
3. How far are percentages from the truth (ECE)?

Features are kept from seed to seed; seconds are of the fit alone.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import Any

from accuracy import labelled
from harness import emptied, keep, kept, spread

DATA = ("trash6", "dogs120")


def shown(data: str, seed: int, store: Path) -> dict[str, Any]:
    """One seed: what the fit says, and what is true."""
    from headstart.data.manifest import Manifest
    from headstart.evaluate import evaluate
    from headstart.settings import FitSettings
    from headstart.workflow import predicting
    from headstart.workflow.fitting import fit

    rows = labelled(data)
    random.Random(seed).shuffle(rows)
    away = len(rows) // 5
    manifests = [
        Manifest.from_rows([path for path, _ in some], labels=[label for _, label in some])
        for some in (rows[away:], rows[:away])
    ]
    start = time.monotonic()
    fitted = fit(manifests[0], FitSettings(seed=seed, store=str(store)))
    seconds = time.monotonic() - start
    found = predicting.predict(fitted.classifier, manifests[1])
    assert found.sets is not None
    sets = found.sets.of(found.probabilities, found.classes)
    labels = manifests[1].labels
    true = evaluate(manifests[1].targets(fitted.classifier.classes), found.probabilities, fitted.classifier.classes)
    said, chosen = fitted.evaluation, next(row for row in fitted.evaluation["ladder"] if row["chosen"])
    return {
        "seed": seed,
        "rung": chosen["rung"],
        "part": said["part"],
        "said": said["top1"],
        "true": true["top1"],
        "within": said["top1"]["low"] <= true["top1"]["value"] <= said["top1"]["high"],
        "log_loss": true["log_loss"]["value"],
        "ece": true["ece"]["value"],
        "covered": sum(label in held for label, held in zip(labels, sets, strict=True)) / len(labels),
        "set_size": sum(map(len, sets)) / len(labels),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Seed after seed."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="the others stay as kept")
    arguments.add_argument("--seeds", type=int, default=10)
    given = arguments.parse_args()
    figures = kept("trust", [data for data in DATA if data not in given.data])
    for data in given.data:
        store = emptied(f"trust-{data}") / "store"
        runs = []
        for seed in range(given.seeds):
            runs.append(shown(data, seed, store))
            print(data, runs[-1], flush=True)
        figures[data] = {
            "within": f"{sum(run['within'] for run in runs)} of {len(runs)}",
            **{name: spread([run[name] for run in runs]) for name in ("covered", "set_size", "ece", "log_loss")},
            "covered_mean": round(sum(run["covered"] for run in runs) / len(runs), 4),
            "true_top1": spread([run["true"]["value"] for run in runs]),
            "runs": runs,
        }
        keep("trust", figures, say=False)


if __name__ == "__main__":
    main()
