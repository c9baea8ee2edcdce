"""Named sets of settings that belong together.

"classic" reproduces a Keras tutorial of 2020: the last quarter of the table is the validation split, a new softmax head
with Glorot initialization and the last 20 layers are trained, BatchNorm in training mode, with plain SGD at 0.01; the
last epoch is kept. Expect 64 to 65 % validation accuracy after ten epochs on ``dogs120`` (``docs/tutorial.md``).

``QUALITIES`` trade time for accuracy, by the names of ``headstart fit --quality``: a head in seconds, the search over
what to train (the defaults), and the most accurate network that the machine runs in time, with flip averaging.

>>> from headstart.config import FitSettings
>>> FitSettings.of(**RECIPES["classic"]).optimizer, FitSettings.of(**QUALITIES["fast"]).train
('sgd', 'head')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["QUALITIES", "RECIPES"]

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "classic": {
        "train": "layers:20",
        "pretrained_head": False,
        "head_init": "glorot",
        "split": "last",
        "validation_share": 0.25,
        "test_share": 0.0,
        "class_order": "appearance",
        "epochs": 10,
        "batch_size": 32,
        "optimizer": "sgd",
        "lr": 0.01,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "schedule": "constant",
        "batchnorm": "train",
        "restore_best": False,
        "augmentations": 0,
        "mixup": 0.0,
    },
}

QUALITIES: Mapping[str, Mapping[str, Any]] = {
    "fast": {"model": "tf_efficientnet_lite0", "train": "head"},
    "balanced": {"model": "tf_efficientnet_lite0", "train": "auto", "budget": "10min"},
    "best": {"model": "auto", "train": "auto", "tta_flip": True, "budget": "30min"},
}
