"""What a linear discriminant analysis gains as a prior of the head, in addition to zero.

    python -m benchmarks.accuracy.priors [--data trash6 dogs120] [--seeds 5] [--quick]

Heads on the same features of the default network: three fifths of the images to train on, a fifth that chooses the L2
penalty, the prior and the temperature. Figures are of the last fifth, which takes part in no choice. The pretrained
head is left out. Seconds are of solving alone, with the features computed before.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.datasets import labeled_images
from benchmarks.harness import Figures, earlier, empty_folder, save, spread

DATA = ("trash6", "dogs120")
PRIORS = {"zero prior": False, "zero and discriminant priors": True}
METRICS = ("top1", "log_loss", "ece", "seconds")


def compute_features(data: str, seed: int, store: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Features (N, D) and targets (N,) of each split, from the store of a fit; and the classes."""
    import torch

    from headstart import paths
    from headstart.config import FitSettings
    from headstart.data.manifest import Manifest
    from headstart.features.store import FeatureStore
    from headstart.workflow.fit import fit

    images, labels = zip(*labeled_images(data), strict=True)
    settings = FitSettings.of(
        seed=seed,
        cache_dir=str(store),
        train="head",
        pretrained_head=False,
        validation_share=0.2,
        test_share=0.2,
        refit=False,
    )
    result = fit(Manifest.from_rows(list(images), labels=list(labels)), settings)
    classes = result.classifier.classes
    (table,) = FeatureStore(paths.features(str(store))).tables()
    splits = {}
    for split in ("train", "validation", "test"):
        rows = result.manifest.usable.in_split(split)
        features = table.rows([str(each) for each in rows.hashes]).take(np.arange(len(rows)))
        splits[split] = torch.from_numpy(features), torch.from_numpy(rows.targets(classes))
    return splits, classes


def solve(splits: dict[str, Any], classes: tuple[str, ...], *, discriminant: bool) -> Figures:
    """Solve a head and evaluate it on the test split."""
    from headstart.evaluate import apply_temperature, evaluate, fit_temperature
    from headstart.inference.engine import choose_precision
    from headstart.train.heads import HeadProblem, head_solver

    precision = choose_precision("auto", "cpu")
    problem = HeadProblem(classes=len(classes), discriminant=discriminant, precision=precision)
    start = time.monotonic()
    found = head_solver("lbfgs").fit(splits["train"], splits["validation"], problem)
    seconds = time.monotonic() - start
    validation, test = splits["validation"], splits["test"]
    temperature = fit_temperature(found.head.logits(validation[0]).numpy(), validation[1].numpy())
    probabilities = apply_temperature(found.head.logits(test[0]).numpy(), temperature)
    evaluation = evaluate(test[1].numpy(), probabilities, classes, split="test")
    figures = {name: getattr(evaluation, name).value for name in ("top1", "log_loss", "ece")}
    return {**figures, "seconds": seconds, "prior": found.prior, "l2": found.l2}


def main() -> None:
    """Data set by data set, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="keep the saved figures of others")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="trash6, one seed")
    given = parser.parse_args()
    if given.quick:
        given.data, given.seeds = ["trash6"], 1
    figures = earlier("accuracy/priors", [data for data in DATA if data not in given.data])
    for data in given.data:
        store = empty_folder(f"priors-{data}") / "store"
        runs: dict[str, list[Figures]] = defaultdict(list)
        for seed in range(given.seeds):
            splits, classes = compute_features(data, seed, store)
            for name, discriminant in PRIORS.items():
                runs[name].append(solve(splits, classes, discriminant=discriminant))
                print(data, seed, name, runs[name][-1], flush=True)
        figures[data] = {
            "images": len(splits["test"][1]),
            **{
                name: {metric: spread([each[metric] for each in found]) for metric in METRICS}
                | {"chosen": [each["prior"] for each in found]}
                for name, found in runs.items()
            },
        }
        save("accuracy/priors", figures, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
