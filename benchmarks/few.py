"""Few pictures a class: headstart with and without the pretrained head's rows, and scikit-learn on the same features.

    python benchmarks/few.py [--data trash6 dogs120] [--images 5 10 20] [--seeds 5]

So many pictures of each class are drawn by each seed to train on; 2,000 others (or all that are left) are the test.
headstart chooses by folds, as it does by itself with so few. scikit-learn's LogisticRegression chooses its C of five by
as many folds, on the same features, scaled to unit variance. Seconds are of fitting alone, features at hand.
"""

from __future__ import annotations

import argparse
import random
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import labelled
from harness import emptied, keep, spread

TEST = 2000
FIGURES = ("top1", "log_loss", "ece", "seconds")


def drawn(data: str, images: int, seed: int) -> Any:
    """A manifest with parts."""
    from headstart.data.manifest import Manifest

    rows = labelled(data)
    random.Random(seed).shuffle(rows)
    own: dict[str, int] = defaultdict(int)
    train, others = [], []
    for path, label in rows:
        (train if own[label] < images else others).append((path, label))
        own[label] += 1
    chosen = [*train, *others[:TEST]]
    return Manifest.from_rows(
        [path for path, _ in chosen],
        labels=[label for _, label in chosen],
        splits=["train"] * len(train) + ["test"] * (len(chosen) - len(train)),
    )


def ours(manifest: Any, seed: int, store: Path, **settings: Any) -> tuple[dict[str, float], Any]:
    """A fit by itself, which is one of the head by folds."""
    from headstart.settings import FitSettings
    from headstart.workflow.fitting import fit

    fitted = fit(manifest, FitSettings.of(seed=seed, store=str(store), **settings))
    told = {name: fitted.evaluation[name]["value"] for name in ("top1", "log_loss", "ece")}
    return {**told, "seconds": fitted.evaluation["summary"]["seconds"]["training"]}, fitted


def theirs(fitted: Any, store: Path, images: int) -> dict[str, float]:
    """Logistic regression on the features that the store has."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from headstart import places
    from headstart.evaluate import evaluate
    from headstart.features.store import FeatureStore

    (space,) = FeatureStore(places.features(str(store))).spaces()
    parts = {}
    for part in ("train", "test"):
        rows = fitted.manifest.usable.part(part)
        features = space.rows([str(each) for each in rows.hashes]).take(np.arange(len(rows))).astype(np.float32)
        parts[part] = features, rows.targets(fitted.classifier.classes)
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
        warnings.simplefilter("ignore")  # that the last digits have not converged
        model.fit(*parts["train"])
    seconds = time.monotonic() - start
    told = evaluate(parts["test"][1], model.predict_proba(parts["test"][0]), fitted.classifier.classes)
    return {**{name: told[name]["value"] for name in ("top1", "log_loss", "ece")}, "seconds": seconds}


def main() -> None:
    """Data after data, seed after seed."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--data", nargs="+", default=["trash6", "dogs120"])
    arguments.add_argument("--images", nargs="+", type=int, default=[5, 10, 20])
    arguments.add_argument("--seeds", type=int, default=5)
    given = arguments.parse_args()
    figures: dict[str, Any] = {}
    for data in given.data:
        store = emptied(f"few-{data}") / "store"
        for images in given.images:
            runs: dict[str, list[dict[str, float]]] = defaultdict(list)
            for seed in range(given.seeds):
                manifest = drawn(data, images, seed)
                told, _ = ours(manifest, seed, store)
                runs["headstart"].append(told)
                told, fitted = ours(manifest, seed, store, pretrained_head="off")
                runs["headstart-no-head-start"].append(told)
                runs["sklearn"].append(theirs(fitted, store, images))
                print(
                    data, images, {name: {k: round(v, 3) for k, v in each[-1].items()} for name, each in runs.items()}
                )
            figures[f"{data}, {images} a class"] = {
                name: {figure: spread([each[figure] for each in mine]) for figure in FIGURES}
                for name, mine in runs.items()
            }
            keep("few", figures, say=False)


if __name__ == "__main__":
    main()
