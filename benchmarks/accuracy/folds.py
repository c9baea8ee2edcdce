"""Whether a head is better chosen on a validation split or by cross-validation, at several sizes.

    python -m benchmarks.accuracy.folds [--data trash6 dogs120] [--images 20 40 80 all] [--seeds 5] [--quick]

Each seed sets a random fifth of the images aside and draws so many of the others per class. ``headstart fit --train
head`` gets them: with a fifth for validation, or with 5 folds, both with refitting. Either classifier predicts the
images that were set aside. ``within`` counts the seeds whose interval, as the fit reported it, holds the accuracy on
these; ``width`` is that of the interval. Seconds are of choosing and solving, with the features stored. Without
pretrained rows.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from pathlib import Path

from benchmarks.datasets import labeled_images
from benchmarks.harness import Figures, earlier, empty_folder, save, spread

DATA = ("trash6", "dogs120")
WAYS = {"validation split": 0, "5 folds": 1_000_000}  # images per class below which a fit cross-validates
METRICS = ("top1", "log_loss", "ece", "width", "seconds")
Rows = list[tuple[Path, str]]


def draw(data: str, images: str, seed: int) -> tuple[Rows, Rows]:
    """Images to fit on, and images set aside."""
    rows = labeled_images(data)
    random.Random(seed).shuffle(rows)
    held_out, others = rows[: len(rows) // 5], rows[len(rows) // 5 :]
    count: dict[str, int] = defaultdict(int)
    used = []
    for path, label in others:
        count[label] += 1
        if images == "all" or count[label] <= int(images):
            used.append((path, label))
    return used, held_out


def measure(used: Rows, held_out: Rows, seed: int, store: Path, few: int) -> Figures:
    """One fit, and what the images that were set aside show."""
    from headstart.config import EngineSettings, FitSettings
    from headstart.data.manifest import Manifest
    from headstart.evaluate import evaluate
    from headstart.workflow import dataset
    from headstart.workflow.fit import fit

    dataset.MIN_IMAGES_PER_CLASS = few
    manifests = [
        Manifest.from_rows([path for path, _ in rows], labels=[label for _, label in rows]) for rows in (used, held_out)
    ]
    settings = FitSettings.of(seed=seed, cache_dir=str(store), train="head", pretrained_head=False, test_share=0.0)
    result = fit(manifests[0], settings)
    classifier, reported = result.classifier, result.evaluation
    assert reported.summary is not None
    found = classifier.infer(manifests[1], settings=EngineSettings())
    true = evaluate(manifests[1].targets(classifier.classes), found.probabilities, classifier.classes, split="test")
    return {
        **{name: getattr(true, name).value for name in METRICS[:3]},
        "within": reported.top1.low <= true.top1.value <= reported.top1.high,
        "width": reported.top1.high - reported.top1.low,
        "seconds": reported.summary.seconds["training"],
        "reported": reported.top1.value,
    }


def main() -> None:
    """Size by size, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="keep the saved figures of others")
    parser.add_argument("--images", nargs="+", default=["20", "40", "80", "all"], help="per class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="trash6, 20 images per class, one seed")
    given = parser.parse_args()
    if given.quick:
        given.data, given.images, given.seeds = ["trash6"], ["20"], 1
    figures = earlier("accuracy/folds", [data for data in DATA if data not in given.data])
    for data in given.data:
        store, sizes = empty_folder("folds") / "store", {}
        for images in given.images:
            runs: dict[str, list[Figures]] = defaultdict(list)
            for seed in range(given.seeds):
                used, held_out = draw(data, images, seed)
                for way, few in WAYS.items():
                    runs[way].append(measure(used, held_out, seed, store, few))
                    print(data, images, seed, way, runs[way][-1], flush=True)
            sizes[images] = {
                way: {metric: spread([each[metric] for each in found]) for metric in METRICS}
                | {"within": f"{sum(each['within'] for each in found)} of {len(found)}"}
                for way, found in runs.items()
            }
        figures[data] = sizes
        save("accuracy/folds", figures, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
