"""fastai's own recipe: vision_learner on the same timm network and weights, its augmentation, fine_tune(3)."""

from __future__ import annotations

import os
import time

import lite0
import numpy as np
import pandas as pd
import torch
from common import arguments, finish, read_task
from fastai.vision.all import (
    ImageDataLoaders,
    Resize,
    aug_transforms,
    set_seed,
    vision_learner,
)


def main() -> None:
    given = arguments(__doc__).parse_args()
    task = read_task(given)
    set_seed(given.seed, reproducible=True)
    start = time.monotonic()
    rows = [
        (path, task.classes[target], split == "validation")
        for split in ("train", "validation")
        for path, target in zip(task.splits[split].paths, task.splits[split].targets, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["path", "label", "is_valid"])
    loaders = ImageDataLoaders.from_df(
        table,
        path="/",
        fn_col="path",
        label_col="label",
        valid_col="is_valid",
        seed=given.seed,
        item_tfms=Resize(256),
        batch_tfms=aug_transforms(size=224, min_scale=0.75),
        bs=min(64, max(2, len(task.splits["train"].paths) // 2)),
        num_workers=min(8, len(os.sched_getaffinity(0))),
    )
    # A file instead of the hub's, with the weights that all peers have.
    file = task.out / "lite0.pth"
    torch.save(lite0.state_dict(), file)
    overlay = {"file": str(file), "hf_hub_id": None, "url": ""}
    learner = vision_learner(loaders, lite0.NAME, pretrained_cfg_overlay=overlay)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(given.epochs or 3)
        trained = time.monotonic()
        test = loaders.test_dl(pd.DataFrame({"path": task.splits["test"].paths}), with_labels=False)
        probabilities, _ = learner.get_preds(dl=test)
    names = list(loaders.vocab)
    ordered = np.zeros((len(probabilities), len(task.classes)), np.float32)  # its vocabulary may lack a class
    ordered[:, [task.classes.index(name) for name in names]] = probabilities.numpy()
    finish(task, ordered, training_s=round(trained - start, 2))


if __name__ == "__main__":
    main()
