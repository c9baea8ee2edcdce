"""What a network says of images, and what its head saw of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.train.part import Inputs
from headstart.train.tail import logits

__all__ = ["Outputs", "mean_outputs", "outputs"]

_WATCHING = threading.Lock()  # a head that is watched for one thread must see no other thread's images


@dataclass(frozen=True)
class Outputs:
    """Of N images, in their order."""

    logits: NDArray[np.float32]  # (N, C)
    features: NDArray[np.float32] | None  # (F, D), what the head is given; None where that is no vector an image
    step: int = 1  # F are those of every step-th image, from the first on


def outputs(
    tail: nn.Module, head: Any, inputs: Inputs, *, device: str = "cpu", precision: str = "float32", step: int = 1
) -> Outputs:
    """Run the tail in evaluation mode.

    :param head: the tail's last layer; what is no module (distilled networks have two heads) is not looked into.
    :param step: keep the features of every step-th image only, which take more memory than the logits.

    >>> from headstart.train.part import Kept
    >>> tail = nn.Sequential(nn.ReLU(), nn.Linear(2, 3))
    >>> found = outputs(tail, tail[1], Kept(np.array([[1, -1]], np.float32)))
    >>> found.logits.shape, found.features
    ((1, 3), array([[1., 0.]], dtype=float32))
    """
    seen: list[NDArray[np.float32]] = []
    passed = 0  # images
    if not isinstance(head, nn.Module):
        return Outputs(logits(tail, inputs, device=device, precision=precision), None)

    def look(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        nonlocal passed
        seen.append(given[0][-passed % step :: step].float().cpu().numpy())
        passed += len(given[0])

    with _WATCHING:
        watching = head.register_forward_pre_hook(look)
        try:
            found = logits(tail, inputs, device=device, precision=precision)
        finally:
            watching.remove()
    vectors = bool(seen) and all(each.ndim == 2 for each in seen) and passed == len(found)
    return Outputs(found, np.concatenate(seen) if vectors else None, step)


def mean_outputs(each: list[Outputs]) -> Outputs:
    """Of several views of the same images: the mean of their logits, and of their features.

    >>> one, other = Outputs(np.zeros((1, 2)), None), Outputs(np.ones((1, 2)), None)
    >>> mean_outputs([one, other]).logits
    array([[0.5, 0.5]])
    """
    if len(each) == 1:
        return each[0]
    features = [one.features for one in each if one.features is not None]
    return Outputs(
        np.mean([one.logits for one in each], axis=0),
        np.mean(features, axis=0) if len(features) == len(each) else None,
        each[0].step,
    )
