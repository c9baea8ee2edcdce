"""What the pooled stages of the network gain as features of the head, beside the last ones, and what a kernel gains.

    python -m benchmarks.accuracy.stages [--data trash6 dogs120] [--seeds 5] [--quick]

Heads on the same features of the default network: three fifths of the images to train on, a fifth that chooses the L2
penalty, the prior, the stages, their weight and the temperature. Figures are of the last fifth, which takes part in no
choice. The pretrained head is left out, except in the data set "dogs120, pretrained head". Without a kernel but for the
last row, which is what ``headstart fit`` does. Seconds are of solving alone, with the features computed before.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.datasets import images_of
from benchmarks.harness import Figures, earlier, empty_folder, save, spread

DATA = {
    "trash6": ("trash6", False),
    "digits": ("digits", False),
    "few-dogs": ("few-dogs", False),
    "dogs120": ("dogs120", False),
    "dogs120, pretrained head": ("dogs120", True),
}
KERNEL = "auto, kernel auto"
CHOICES = ("none", "late:0.5", "all:0.5", "all:1", "auto", KERNEL)  # of stages, without a kernel but for the last
METRICS = ("top1", "log_loss", "ece", "seconds")


def compute_features(
    rows: Sequence[tuple[Path, str]], seed: int, store: Path, **options: Any
) -> tuple[dict[str, Any], Any, tuple[str, ...]]:
    """Features and targets (N,) of each split, the extractor that has made them, and the classes.

    :param rows: images and labels.
    :param options: of the fit.
    """
    import torch

    from headstart.config import FitSettings
    from headstart.data.manifest import Manifest
    from headstart.events import Events
    from headstart.workflow.dataset import SPLITS
    from headstart.workflow.extraction import extract
    from headstart.workflow.fit import prepare
    from headstart.workflow.stopwatch import Stopwatch

    images, labels = zip(*rows, strict=True)
    shares = {"validation_share": 0.2, "test_share": 0.2}
    settings = FitSettings.of(seed=seed, cache_dir=str(store), train="head", **shares, **options)
    manifest = Manifest.from_rows(list(images), labels=list(labels))
    dataset, extractor = prepare(manifest, settings, Events(), Stopwatch())
    dataset = extract(extractor, dataset, dataset.rows(SPLITS), events=Events())
    extractor.release()
    splits = {
        split: (extractor.vectors(dataset.split(split)), torch.from_numpy(dataset.targets(split))) for split in SPLITS
    }
    return splits, extractor, dataset.classes


def solve(
    splits: dict[str, Any], extractor: Any, classes: tuple[str, ...], stages: str, *, pretrained: bool
) -> Figures:
    """Solve a head and evaluate it on the test split."""
    from headstart.evaluate import apply_temperature, evaluate, fit_temperature
    from headstart.train.heads import HeadProblem, head_solver

    problem = HeadProblem(
        classes=len(classes),
        blocks=extractor.blocks,
        stages="auto" if stages == KERNEL else stages,
        kernel="auto" if stages == KERNEL else "none",
        pretrained=extractor.pretrained_prior(classes, *splits["train"]) if pretrained else None,
        precision=extractor.training_precision,
    )
    start = time.monotonic()
    found = head_solver("lbfgs").fit(splits["train"], splits["validation"], problem)
    seconds = time.monotonic() - start
    validation, test = splits["validation"], splits["test"]
    temperature = fit_temperature(found.validation_logits.numpy(), validation[1].numpy())
    probabilities = apply_temperature(found.head.logits(test[0]).numpy(), temperature)
    evaluation = evaluate(test[1].numpy(), probabilities, classes, split="test")
    figures = {name: getattr(evaluation, name).value for name in ("top1", "log_loss", "ece")}
    chosen = {"prior": found.prior, "l2": found.l2, "stages": found.stages, "kernel": found.kernel}
    return {**figures, "seconds": seconds, **chosen}


def main() -> None:
    """Data set by data set, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="keep the saved figures of others")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="trash6, one seed")
    given = parser.parse_args()
    if given.quick:
        given.data, given.seeds = ["trash6"], 1
    figures = earlier("accuracy/stages", [data for data in DATA if data not in given.data])
    store = empty_folder("stages") / "store"
    for title in given.data:
        data, pretrained = DATA[title]
        runs: dict[str, list[Figures]] = defaultdict(list)
        for seed in range(given.seeds):
            splits, extractor, classes = compute_features(images_of(data), seed, store)
            for stages in CHOICES:
                runs[stages].append(solve(splits, extractor, classes, stages, pretrained=pretrained))
                print(title, seed, stages, runs[stages][-1], flush=True)
        figures[title] = {
            "images": len(splits["test"][1]),
            **{
                stages: {metric: spread([each[metric] for each in found]) for metric in METRICS}
                | {"chosen": [" ".join(filter(None, [each["stages"], each["kernel"]])) for each in found]}
                for stages, found in runs.items()
            },
        }
        save("accuracy/stages", figures, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
