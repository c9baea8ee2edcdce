"""scikit-learn's LogisticRegression on the pooled features of the frozen network, computed by timm in float32.

On standardized features, C is the value of a grid with the lowest log-loss on validation; with it the regression is
fitted again on training and validation images together, as GridSearchCV does.
"""

from __future__ import annotations

import os
import time

import lite0
import numpy as np
import torch
from common import arguments, finish, read_task
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.data import create_transform, resolve_data_config

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WORKERS = min(8, len(os.sched_getaffinity(0)))
C_GRID = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)


def compute_features(model: torch.nn.Module, paths: list[str], transform: object) -> np.ndarray:
    """(N, 1280)."""
    loader = torch.utils.data.DataLoader(lite0.Images(paths, transform), batch_size=64, num_workers=WORKERS)
    with torch.inference_mode():
        found = [model.forward_head(model.forward_features(x.to(DEVICE)), pre_logits=True).cpu() for x in loader]  # type: ignore[operator]
        return np.concatenate(found)


def main() -> None:
    given = arguments(__doc__).parse_args()
    task = read_task(given)
    start = time.monotonic()
    model = lite0.create_model().to(DEVICE)
    transform = create_transform(**resolve_data_config({}, model=model), is_training=False)
    x = {split: compute_features(model, rows.paths, transform) for split, rows in task.splits.items()}
    computed = time.monotonic()
    y = {split: rows.targets for split, rows in task.splits.items()}
    candidates = []
    for c in C_GRID:
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000, random_state=given.seed))
        fitted.fit(x["train"], y["train"])
        probabilities = fitted.predict_proba(x["validation"])
        candidates.append((log_loss(y["validation"], probabilities, labels=range(len(task.classes))), c, fitted))
    _, c, best = min(candidates, key=lambda each: each[0])
    best.fit(np.concatenate([x["train"], x["validation"]]), np.concatenate([y["train"], y["validation"]]))
    finish(
        task,
        best.predict_proba(x["test"]),
        features_s=round(computed - start, 2),
        training_s=round(time.monotonic() - computed, 2),
        C=c,
    )


if __name__ == "__main__":
    main()
