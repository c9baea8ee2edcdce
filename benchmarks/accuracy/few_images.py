"""Few images per class: headstart with and without the pretrained head's rows, and scikit-learn on the same features.

    python -m benchmarks.accuracy.few_images [--data trash6 dogs120] [--images 5 10 20] [--seeds 5] [--quick]

Each seed draws that many training images of each class; 2,000 others (or all that are left) are the test split.
headstart chooses by cross-validation, as it does by default with so few images. scikit-learn's LogisticRegressionCV
chooses its C among five by as many folds, on the same features, standardized. Seconds are of training alone, with the
features computed before.
"""

from __future__ import annotations

import argparse
import random
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.datasets import labeled_images
from benchmarks.harness import Figures, empty_folder, save, spread

if TYPE_CHECKING:
    from headstart.data.manifest import Manifest
    from headstart.workflow.fit import FitResult

TEST_IMAGES = 2000
METRICS = ("top1", "log_loss", "ece")


def draw(data: str, images: int, seed: int) -> Manifest:
    """A manifest with ``images`` training images per class, and a test split."""
    from headstart.data.manifest import Manifest

    rows = labeled_images(data)
    random.Random(seed).shuffle(rows)
    count: dict[str, int] = defaultdict(int)
    train: list[tuple[Path, str]] = []
    others: list[tuple[Path, str]] = []
    for path, label in rows:
        (train if count[label] < images else others).append((path, label))
        count[label] += 1
    chosen = [*train, *others[:TEST_IMAGES]]
    return Manifest.from_rows(
        [path for path, _ in chosen],
        labels=[label for _, label in chosen],
        splits=["train"] * len(train) + ["test"] * (len(chosen) - len(train)),
    )


def fit_headstart(manifest: Manifest, seed: int, store: Path, **settings: Any) -> tuple[Figures, FitResult]:
    """A fit with the defaults, which trains a head by cross-validation: its figures, and the fit."""
    from headstart.config import FitSettings
    from headstart.workflow.fit import fit

    result = fit(manifest, FitSettings.of(seed=seed, cache_dir=str(store), **settings))
    evaluation = result.evaluation
    assert evaluation.summary is not None
    figures = {name: getattr(evaluation, name).value for name in METRICS}
    return {**figures, "seconds": evaluation.summary.seconds["training"]}, result


def fit_sklearn(result: FitResult, store: Path, images: int) -> Figures:
    """Logistic regression on the features in the store."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from headstart import paths
    from headstart.evaluate import evaluate
    from headstart.features.store import FeatureStore

    (table,) = FeatureStore(paths.features(str(store))).tables()
    classes = result.classifier.classes
    splits = {}
    for split in ("train", "test"):
        rows = result.manifest.usable.in_split(split)
        features = table.rows([str(each) for each in rows.hashes]).take(np.arange(len(rows))).astype(np.float32)
        splits[split] = features, rows.targets(classes)
    model = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(
            Cs=np.logspace(-4, 0, 5),
            cv=min(5, images),
            scoring="neg_log_loss",
            max_iter=200,
            use_legacy_attributes=False,
        ),
    )
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence warnings, about the last digits
        model.fit(*splits["train"])
    seconds = time.monotonic() - start
    evaluation = evaluate(splits["test"][1], model.predict_proba(splits["test"][0]), classes, split="test")
    return {**{name: getattr(evaluation, name).value for name in METRICS}, "seconds": seconds}


def main() -> None:
    """Data set by data set, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", nargs="+", default=["trash6", "dogs120"])
    parser.add_argument("--images", nargs="+", type=int, default=[5, 10, 20])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="5 images per class of trash6, one seed")
    given = parser.parse_args()
    if given.quick:
        given.data, given.images, given.seeds = ["trash6"], [5], 1
    figures: Figures = {}
    for data in given.data:
        store = empty_folder(f"few_images-{data}") / "store"
        for images in given.images:
            runs: dict[str, list[Figures]] = defaultdict(list)
            for seed in range(given.seeds):
                manifest = draw(data, images, seed)
                runs["headstart"].append(fit_headstart(manifest, seed, store)[0])
                found, result = fit_headstart(manifest, seed, store, pretrained_head=False)
                runs["headstart-no-pretrained-head"].append(found)
                runs["sklearn"].append(fit_sklearn(result, store, images))
                last = {
                    peer: {name: round(value, 3) for name, value in each[-1].items()} for peer, each in runs.items()
                }
                print(data, images, last, flush=True)
            figures[f"{data}, {images} images per class"] = {
                peer: {name: spread([each[name] for each in found]) for name in (*METRICS, "seconds")}
                for peer, found in runs.items()
            }
            save("accuracy/few_images", figures, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
