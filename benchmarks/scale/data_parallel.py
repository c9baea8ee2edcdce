"""Training by several workers: the same losses as one, and large batches with linear scaling and gradual warm-up.

    python -m benchmarks.scale.data_parallel [--seeds 1] [--epochs 12] [--only workers scaling] [--quick]

A small residual network with BatchNorm (timm's test_resnet, random weights) on the pixels of trash6 at 32×32, with one
in five images held out, and four augmented views of the others.

``workers``: five epochs of 1,024 images with batches of 64 on 1, 2 and 4 workers of Ray on this machine, and in one
process that accumulates the gradients of micro-batches. BatchNorm uses the statistics of 16 images in all of them, as
the workers of Goyal et al. 2017 (arXiv:1706.02677) use those of 32; with those of 64 the curve is another one.
``difference`` is the largest one of any epoch's training loss to that of one process with micro-batches of 16. Training
enlarges what is rounded differently: the yardstick is one process again, from weights that are changed by 1.2e-7, a
unit in the last place of float32. The learning rate is 0.01; with 0.1 either difference is 0.001 to 0.02.

``scaling``: batches of 16, 64 and 256 (k = 1, 4, 16) by micro-batches of 16: with the learning rate of k = 1, with k
times that rate, and with k times that rate after a gradual warm-up over three epochs. SGD with Nesterov momentum,
weight decay 1e-4, steps at 1/3, 2/3 and 8/9 of the epochs. The figures are those of the last epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from benchmarks.harness import SHARED, Figures, earlier, save, spread

if TYPE_CHECKING:
    from torch import nn

    from headstart.features.sources import FeatureDataset

NETWORK, SIZE, STATISTICS = "test_resnet", 32, 16
BATCH, LR, WARMUP = 16, 0.1, 3
FACTORS = (1, 4, 16)
YARDSTICK = "one process, weights changed by 1.2e-7"
EQUAL = 1024  # images that batches of 64 divide, so that each micro-batch is the same in all ways
VARIANTS = ("one rate", "linear scaling", "linear scaling and warm-up")


def network(seed: int) -> nn.Module:
    """Pixels (B, 32, 32, 3) -> logits (B, 6)."""
    from headstart.inference.engine import Normalized
    from headstart.models.backbone import load_backbone

    backbone = load_backbone(NETWORK, weights_file="random", seed=seed).with_input(size=SIZE, framing="whole")
    backbone = backbone.with_new_head(6, seed=seed)
    return Normalized(backbone.module, backbone.spec)


def pictures(folder: Path, *, quick: bool) -> tuple[FeatureDataset, FeatureDataset]:
    """The pixels of the images for training with four augmented views, and of those for validation."""
    from headstart.data.inspection import inspect_all
    from headstart.data.sources.read import read_images
    from headstart.data.spec import InputSpec
    from headstart.features.images import ImageViews
    from headstart.features.sources import FeatureDataset, InMemoryFeatures

    images = inspect_all(read_images(folder))
    order = np.random.default_rng(0).permutation(len(images))[: 300 if quick else None]
    images = images.select(order)
    names = sorted(set(map(str, images.labels)))
    targets = np.array([names.index(str(label)) for label in images.labels])
    rows = np.arange(len(images))
    spec = InputSpec(height=SIZE, width=SIZE).changed(framing="whole")
    held_out = rows % 5 == 0

    def pixels(number: int, rows: np.ndarray) -> InMemoryFeatures:
        return InMemoryFeatures(ImageViews(images, spec, number, 10**9).take(rows))

    train, validation = rows[~held_out], rows[held_out]
    views = tuple(pixels(number, train) for number in range(1, 5))
    return (
        FeatureDataset(pixels(0, train), targets[train], views),
        FeatureDataset(pixels(0, validation), targets[validation]),
    )


def first_images(data: FeatureDataset, count: int) -> FeatureDataset:
    """The first images."""
    from headstart.features.sources import FeatureDataset, InMemoryFeatures

    rows = np.arange(min(count, len(data)))
    inputs, *views = (InMemoryFeatures(each.take(rows)) for each in (data.inputs, *data.views))
    return FeatureDataset(inputs, data.targets[rows], tuple(views))


def workers(data: tuple[FeatureDataset, FeatureDataset], epochs: int) -> Figures:
    """The losses of the same training, divided in several ways."""
    from headstart.execution.cluster import Cluster
    from headstart.train.finetune import TrainConfig, finetune

    config = TrainConfig(
        epochs, 64, "sgd", lr=0.01, weight_decay=1e-4, nesterov=True, batchnorm="train", restore_best=False
    )
    ways = {
        "one process, micro-batches of 16": (None, STATISTICS),
        YARDSTICK: (None, STATISTICS),
        "2 workers, micro-batches of 16": (2, STATISTICS),
        "4 workers": (4, None),
        "one process, statistics of 64 images": (None, None),
    }
    found: Figures = {}
    train = first_images(data[0], EQUAL)
    for way, (count, size) in ways.items():
        cluster = None if count is None else Cluster("local", count)
        tail = network(0)
        if way == YARDSTICK:
            for parameter in tail.parameters():
                parameter.data.mul_(1 + 1.2e-7)
        history = finetune(tail, train, data[1], replace(config, micro_batch_size=size), cluster=cluster)
        losses = [record.loss for record in history]
        first = next(iter(found.values()))["losses"] if found else losses
        found[way] = {
            "losses": losses,
            "val_accuracy": history[-1].val_accuracy,
            "difference": max(abs(one - other) for one, other in zip(losses, first, strict=True)),
        }
        print(way, found[way], flush=True)
    return found


def scaling(data: tuple[FeatureDataset, FeatureDataset], epochs: int, seeds: int) -> Iterator[Figures]:
    """Training loss and validation accuracy after the last epoch, by batch size and learning rate."""
    from headstart.errors import SettingsError
    from headstart.train.finetune import TrainConfig, finetune

    for factor in FACTORS:
        for variant in VARIANTS[: None if factor > 1 else 1]:
            losses, accuracies = [], []
            for seed in range(seeds):
                config = TrainConfig(
                    epochs,
                    BATCH * factor,
                    "sgd",
                    lr=LR,
                    lr_base_size=None if variant == "one rate" else BATCH,
                    warmup_epochs=WARMUP if "warm-up" in variant else 0,
                    micro_batch_size=STATISTICS,
                    schedule="steps",
                    weight_decay=1e-4,
                    nesterov=True,
                    batchnorm="train",
                    restore_best=False,
                    seed=seed,
                )
                try:
                    last = finetune(network(seed), *data, config)[-1]
                except SettingsError:  # the loss is not finite
                    continue
                losses.append(last.loss)
                accuracies.append(last.val_accuracy)
            row: Figures = {"batch": BATCH * factor, "k": factor, "rate": variant, "diverged": seeds - len(losses)}
            if losses:
                row |= {"loss": spread(losses), "val_accuracy": spread(accuracies)}
            print(row, flush=True)
            yield row


def main() -> None:
    """Both parts, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--only", nargs="+", choices=("workers", "scaling"), default=["workers", "scaling"])
    parser.add_argument("--quick", action="store_true", help="300 images, a few epochs, one seed")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.epochs = 1, 6
    data = pictures(SHARED / "trash6", quick=given.quick)
    kept = [part for part in ("workers", "scaling") if part not in given.only]
    figures: Figures = {"images": len(data[0])}

    def write() -> None:
        save("scale/data_parallel", {**earlier("scale/data_parallel", kept), **figures}, quick=given.quick, show=False)

    if "workers" in given.only:
        figures["workers"] = workers(data, 2 if given.quick else 5)
        write()
    if "scaling" in given.only:
        figures["scaling"] = {"epochs": given.epochs, "seeds": given.seeds, "rows": []}
        for row in scaling(data, given.epochs, given.seeds):
            figures["scaling"]["rows"].append(row)
            write()


if __name__ == "__main__":
    main()
