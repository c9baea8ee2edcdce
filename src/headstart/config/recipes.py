"""Named sets of settings that belong together.

"classic" reproduces a Keras tutorial of 2020: the last quarter of the table is the validation split, a new softmax head
with Glorot initialization and the last 20 layers are trained, BatchNorm in training mode, with plain SGD at 0.01; the
last epoch is kept. Expect 64 to 65 % validation accuracy after ten epochs on ``dogs120`` (``docs/tutorial.md``).

"imagenet-1h" trains a network from random weights as Goyal et al. 2017, "Accurate, large minibatch SGD: Training
ImageNet in 1 hour" (arXiv:1706.02677): the learning rate is 0.1 × batch size / 256, after a gradual warm-up over five
epochs, and a tenth of that after 1/3, 2/3 and 8/9 of the epochs. BatchNorm uses the statistics of 32 images, and the
last one of each residual block starts with zeros, as timm initializes its ResNets. The paper's ResNet-50 reaches
76.4 % on ImageNet with batches of 256 and 76.3 % with 8,192 on 256 GPUs; headstart has not been run at that size. Other
than in the paper, crops have at least 0.4 of the image's area (not 0.08), brightness, contrast and saturation change,
biases have no weight decay, and the head starts as timm initializes it.

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
    "imagenet-1h": {
        "model": "resnet50",
        "weights": "random",
        "framing": "model",
        "size": 224,
        "crop": 0.875,
        "interpolation": "bilinear",
        "train": "all",
        "pretrained_head": False,
        "epochs": 90,
        "batch_size": 256,
        "micro_batch_size": 32,
        "optimizer": "sgd",
        "lr": 0.1,
        "lr_base_size": 256,
        "warmup_epochs": 5,
        "schedule": "steps",
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
        "batchnorm": "train",
        "restore_best": False,
        "live_augmentation": True,
        "mixup": 0.0,
    },
}

QUALITIES: Mapping[str, Mapping[str, Any]] = {
    "fast": {"model": "tf_efficientnet_lite0", "train": "head"},
    "balanced": {"model": "tf_efficientnet_lite0", "train": "auto", "budget": "10min"},
    "best": {"model": "auto", "train": "auto", "tta_flip": True, "budget": "30min"},
}
