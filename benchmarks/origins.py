"""What it gains that a head may be drawn toward a discriminant analysis, beside zero.

    python benchmarks/origins.py [--data trash6 dogs120] [--seeds 5]

Heads on the same features of the default network, three fifths of the pictures to solve on, a fifth that chooses
strength and origin, and the temperature; the figures are of the last fifth, which no choice sees. The pretrained head
is left out. Seconds are of solving, features at hand.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import labelled
from harness import emptied, keep, kept, spread

DATA = ("trash6", "dogs120")


def features(data: str, seed: int, store: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Of each part (N, D) and its targets, from a fit's store; and the classes."""
    import torch

    from headstart import places
    from headstart.data.manifest import Manifest
    from headstart.features.store import FeatureStore
    from headstart.settings import FitSettings
    from headstart.workflow.fitting import fit

    paths, labels = zip(*labelled(data), strict=True)
    settings = FitSettings.of(
        seed=seed, store=str(store), train="head", pretrained_head="off", validation=0.2, test=0.2, refit="off"
    )
    fitted = fit(Manifest.from_rows(list(paths), labels=list(labels)), settings)
    classes = fitted.classifier.classes
    (space,) = FeatureStore(places.features(str(store))).spaces()
    parts = {}
    for part in ("train", "validation", "test"):
        rows = fitted.manifest.usable.part(part)
        found = space.rows([str(each) for each in rows.hashes]).take(np.arange(len(rows)))
        parts[part] = torch.from_numpy(found), torch.from_numpy(rows.targets(classes))
    return parts, classes


def solved(parts: dict[str, Any], classes: tuple[str, ...], *, discriminant: bool) -> dict[str, Any]:
    """A head, and what it is worth."""
    from headstart.evaluate import evaluate, fit_temperature, scaled
    from headstart.models.engine import choose_precision
    from headstart.train.head import solve_head

    start = time.monotonic()
    found = solve_head(
        parts["train"],
        parts["validation"],
        classes=len(classes),
        discriminant=discriminant,
        precision=choose_precision("auto", "cpu"),
    )
    seconds = time.monotonic() - start
    temperature = fit_temperature(found.solution.logits(parts["validation"][0]).numpy(), parts["validation"][1].numpy())
    logits = found.solution.logits(parts["test"][0]).numpy()
    told = evaluate(parts["test"][1].numpy(), scaled(logits, temperature), classes)
    figures = {name: told[name]["value"] for name in ("top1", "log_loss", "ece")}
    return {**figures, "seconds": seconds, "origin": found.origin.name, "l2": found.l2}


def main() -> None:
    """Data after data, seed after seed, one way after the other."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="the others stay as kept")
    arguments.add_argument("--seeds", type=int, default=5)
    given = arguments.parse_args()
    figures = kept("origins", [data for data in DATA if data not in given.data])
    for data in given.data:
        store = emptied(f"origins-{data}") / "store"
        runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for seed in range(given.seeds):
            parts, classes = features(data, seed, store)
            for name, discriminant in (("zero alone", False), ("discriminant too", True)):
                runs[name].append(solved(parts, classes, discriminant=discriminant))
                print(data, seed, name, runs[name][-1], flush=True)
        figures[data] = {
            "images": len(parts["test"][1]),
            **{
                name: {
                    figure: spread([each[figure] for each in mine]) for figure in ("top1", "log_loss", "ece", "seconds")
                }
                | {"chosen": [each["origin"] for each in mine]}
                for name, mine in runs.items()
            },
        }
        keep("origins", figures, say=False)


if __name__ == "__main__":
    main()
