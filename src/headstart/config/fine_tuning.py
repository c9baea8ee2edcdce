"""The settings of fine-tuning: training by gradient descent, as opposed to solving the head alone."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from headstart.config.options import Settings, option, parse_duration
from headstart.errors import SettingsError

__all__ = ["FineTuningSettings"]

_TRAIN = re.compile(r"auto|head|all|(last|layers):[1-9][0-9]*|from:\S+")


def _mistake_in_train(value: Any) -> str | None:
    if isinstance(value, str) and _TRAIN.fullmatch(value):
        return None
    near = difflib.get_close_matches(
        str(value).partition(":")[0], ["auto", "head", "last", "layers", "from", "all"], n=1
    )
    full = {"last": "last:1", "layers": "layers:20", "from": "from:MODULE"}
    hint = f"; did you mean {full.get(near[0], near[0])}?" if near else ""
    return f"train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got {value!r}{hint}"


def _mistake_in_budget(value: Any) -> str | None:
    try:
        parse_duration(str(value))
    except SettingsError:
        return f"budget must be a duration, for example 60s or 10min, got {value!r}"
    return None


@dataclass(kw_only=True)
class FineTuningSettings(Settings):
    """What is trained, and how."""

    train: str = option(
        "auto",
        "Part of the network to train: auto (the head, then deeper blocks while validation improves), head, last:N "
        "(blocks), layers:N, from:MODULE, or all. Everything before it is frozen and computed once.",
        metavar="WHAT",
        check=_mistake_in_train,
        group="Fine-tuning",
        common=True,
    )
    budget: str = option(
        "10min",
        "Time limit of --train auto, for example 60s or 10min. A trial that is expected to exceed it is not started.",
        metavar="TIME",
        check=_mistake_in_budget,
        group="Fine-tuning",
        common=True,
    )
    head_init: str = option(
        "network",
        "Initialization of a new head that is trained by gradient descent: network (as the model's code does), or "
        "glorot (as the Dense layer of Keras does; its larger weights move the layers before it faster in the first "
        "epochs).",
        choices=("network", "glorot"),
        group="Fine-tuning",
    )
    augmentations: int = option(
        4,
        "Augmented views per training image (random crop, flip, color), used when fine-tuning beyond the head; "
        "computed once and stored.",
        low=0,
        high=1000,
        group="Fine-tuning",
    )
    live_augmentation: bool = option(
        False,
        "Decode the training images in each epoch, with a new augmented view each time, instead of storing them; with "
        "--train all, where nothing is frozen.",
        group="Fine-tuning",
    )
    mixup: float = option(
        0.2,
        "Mixup alpha: mixing weights are drawn from Beta(alpha, alpha); 0 turns it off (Zhang et al. 2018).",
        metavar="ALPHA",
        low=0,
        high=10,
        group="Fine-tuning",
    )
    label_smoothing: float = option(
        0.0,
        "Label smoothing: share of the target probability that is spread over all classes.",
        metavar="SHARE",
        low=0,
        high=0.9,
        group="Fine-tuning",
    )
    feature_noise: float = option(
        0.0,
        "Gaussian noise added to the features, in units of their standard deviation.",
        low=0,
        high=10,
        group="Fine-tuning",
    )
    layer_decay: float = option(
        1.0,
        "Learning rate factor per block, counted from the head.",
        metavar="FACTOR",
        low=0.01,
        high=1,
        group="Fine-tuning",
    )
    epochs: int = option(12, "Number of epochs.", low=1, group="Fine-tuning")
    batch_size: int = option(
        32, "Images per training step, of all workers together (global batch size).", low=1, group="Fine-tuning"
    )
    micro_batch_size: int | None = option(
        None,
        "Images of a batch that are computed at a time (gradient accumulation), so that a large batch needs the memory "
        "of a small one. Trained BatchNorm layers then use the statistics of this many images. Default: all at once.",
        metavar="IMAGES",
        low=1,
        group="Fine-tuning",
    )
    optimizer: str = option("adamw", "Optimizer.", choices=("adamw", "sgd"), group="Fine-tuning")
    lr: float | None = option(
        None,
        "Peak learning rate. Default: 0.001 for adamw, 0.01 for sgd.",
        metavar="RATE",
        low=0,
        group="Fine-tuning",
    )
    lr_base_size: int | None = option(
        None,
        "Batch size that the learning rate is meant for: the peak is lr × batch_size / lr_base_size (linear scaling "
        "rule; Goyal et al. 2017). Default: no scaling.",
        metavar="IMAGES",
        low=1,
        group="Fine-tuning",
    )
    warmup_epochs: int = option(
        0,
        "Epochs in which the learning rate rises linearly to its peak (gradual warm-up): from lr where lr_base_size "
        "makes the peak higher, else from 0.",
        metavar="EPOCHS",
        low=0,
        group="Fine-tuning",
    )
    weight_decay: float = option(0.01, "Weight decay.", low=0, group="Fine-tuning")
    momentum: float = option(0.9, "SGD momentum.", low=0, high=1, group="Fine-tuning")
    nesterov: bool = option(False, "Nesterov's form of SGD momentum.", group="Fine-tuning")
    schedule: str = option(
        "cosine",
        "Learning rate schedule after the warm-up: cosine, constant, or steps (a tenth after 1/3, 2/3 and 8/9 of the "
        "epochs).",
        choices=("cosine", "constant", "steps"),
        group="Fine-tuning",
    )
    # The gain was measured by benchmarks/accuracy/search.py.
    batchnorm: str = option(
        "train",
        "Mode of the trained BatchNorm layers: train (update the running statistics, which gains a point where the "
        "images are unlike those of pretraining), or frozen (keep the pretrained statistics).",
        choices=("frozen", "train"),
        group="Fine-tuning",
    )
    restore_best: bool = option(
        True,
        "Weights of the epoch with the lowest validation loss, instead of the last epoch's.",
        group="Fine-tuning",
    )

    def _conflicts(self, invalid: Collection[str]) -> list[str]:
        messages = super()._conflicts(invalid)
        if {"warmup_epochs", "epochs"}.isdisjoint(invalid) and self.warmup_epochs >= self.epochs:
            messages.append(
                f"warmup_epochs must be fewer than epochs, got warmup_epochs={self.warmup_epochs} and "
                f"epochs={self.epochs}"
            )
        if self.live_augmentation and self.train != "all":
            messages.append(
                f"live_augmentation is for training the whole network: set train to all, got {self.train!r}"
            )
        if {"nesterov", "momentum"}.isdisjoint(invalid) and self.nesterov and not self.momentum:
            messages.append("nesterov is a form of momentum: set momentum above 0, for example 0.9")
        return messages
