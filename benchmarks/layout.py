"""A training step with feature maps as they come and with small ones laid out channels last, as headstart does.

    python benchmarks/layout.py [--steps 40] [--quick]

Batches of 32, stochastic gradient descent; the same tails, from the same weights. The rule is in
src/headstart/train/layout.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
from harness import WEIGHTS, keep, ratio, spread, times_of
from torch import nn

from headstart.models.backbone import load_backbone
from headstart.models.cut import cut
from headstart.train import tail as training
from headstart.train.part import Kept, Part

CUTS = (
    (str(WEIGHTS), "layers:20"),
    ("tf_efficientnet_lite0", "last:1"),
    ("tf_efficientnet_lite0", "last:3"),
    ("resnet18", "last:1"),
    ("mobilenetv3_small_100", "last:1"),
)


@contextmanager
def as_they_come() -> Iterator[None]:
    """Without the rule."""
    with mock.patch.object(training, "laid_out", lambda inputs, **_: inputs):
        yield


def tail_of(model: str, train: str, steps: int) -> tuple[nn.Module, Part, Part]:
    """What is trained of a network, noise to train it on for so many steps of 32, and one image to validate on."""
    known = model == str(WEIGHTS) or "lite0" in model
    network = load_backbone(model, weights_file=None if known else "random").module
    network.reset_classifier(120)
    parts = cut(network, train, input_shape=(3, 224, 224))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in parts.trainable)
    chance = np.random.default_rng(0)
    features = np.maximum(chance.standard_normal((32 * steps, *parts.feature_shape), np.float32), 0).astype(np.float16)
    part = Part(Kept(features), chance.integers(0, 120, 32 * steps))
    return parts.tail, part, Part(Kept(features[:1]), part.targets[:1])


def milliseconds(model: str, train: str, precision: str, steps: int) -> tuple[tuple[int, ...], list[float]]:
    """The shape of the maps, and milliseconds a step in each of five epochs, validation on one image included."""
    tail, part, one = tail_of(model, train, steps)
    loop = training.Loop(1, 32, optimizer="sgd", precision=precision)
    taken = times_of(lambda: training.train_tail(tail, part, one, loop), 5)
    return part.inputs.take([0]).shape[1:], [1000 * each / steps for each in taken]


def main() -> None:
    """Each cut, both ways in turn."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--steps", type=int, default=40)
    arguments.add_argument("--quick", action="store_true", help="2 steps: only whether it runs")
    given = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    for model, train in CUTS:
        for precision in ("bfloat16", "float32"):
            steps = 2 if given.quick else given.steps
            with as_they_come():
                shape, plain = milliseconds(model, train, precision, steps)
            _, ours = milliseconds(model, train, precision, steps)
            name = "tutorial's MobileNetV2" if model == str(WEIGHTS) else model
            row = {"model": name, "train": train, "maps": list(shape), "precision": precision}
            rows.append(
                row | {"as_they_come_ms": spread(plain), "ms": spread(ours), "times_faster": ratio(plain, ours)}
            )
            print(rows[-1], flush=True)
    keep("layout", {"steps": rows}, quick=given.quick, say=False)


if __name__ == "__main__":
    main()
