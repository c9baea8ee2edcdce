"""scikit-learn's LogisticRegression on the pooled features of the frozen network, computed by timm in float32.

C is the one of a grid that has the lowest log-loss on validation, on standardised features; with it the regression is
fitted again on training and validation pictures together, as GridSearchCV does: what a careful person does.
"""

from __future__ import annotations

import os
import time

import lite0
import numpy as np
import torch
from common import arguments, finish, task
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.data import create_transform, resolve_data_config

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WORKERS = min(8, len(os.sched_getaffinity(0)))
STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)


def features(model: torch.nn.Module, paths: list[str], transform: object) -> np.ndarray:
    """(N, 1280)."""
    loader = torch.utils.data.DataLoader(lite0.Pictures(paths, transform), batch_size=64, num_workers=WORKERS)
    with torch.inference_mode():
        seen = [model.forward_head(model.forward_features(x.to(DEVICE)), pre_logits=True).cpu() for x in loader]  # type: ignore[operator]
        return np.concatenate(seen)


def main() -> None:
    given = arguments(__doc__).parse_args()
    work = task(given)
    start = time.monotonic()
    model = lite0.network().to(DEVICE)
    transform = create_transform(**resolve_data_config({}, model=model), is_training=False)
    x = {part: features(model, rows.paths, transform) for part, rows in work.parts.items()}
    computed = time.monotonic()
    y = {part: rows.targets for part, rows in work.parts.items()}
    tried = []
    for c in STRENGTHS:
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000, random_state=given.seed))
        fitted.fit(x["train"], y["train"])
        shares = fitted.predict_proba(x["validation"])
        tried.append((log_loss(y["validation"], shares, labels=range(len(work.classes))), c, fitted))
    _, c, best = min(tried, key=lambda each: each[0])
    best.fit(np.concatenate([x["train"], x["validation"]]), np.concatenate([y["train"], y["validation"]]))
    finish(
        work,
        best.predict_proba(x["test"]),
        features_s=round(computed - start, 2),
        training_s=round(time.monotonic() - computed, 2),
        C=c,
    )


if __name__ == "__main__":
    main()
