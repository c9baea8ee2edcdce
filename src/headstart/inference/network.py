"""Logits of a network, together with the embeddings that its head receives."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.execution.forks import new_lock
from headstart.features.sources import FeatureSource
from headstart.inference.memory_format import choose_memory_format, to_channels_last

__all__ = ["NetworkOutputs", "autocast", "head_inputs", "logits", "mean_outputs", "network_outputs", "to_tensor"]

_BATCH_SIZE = 64  # feature maps have many channels: with 256 images they take hundreds of megabytes
_HOOK = new_lock()  # the hook of one thread must not see the images of another


@dataclass(frozen=True)
class NetworkOutputs:
    """The outputs of a network for N images, in order."""

    logits: NDArray[np.float32]  # (N, C)
    embeddings: NDArray[np.float32] | None  # (M, D), the input of the head; None if that is not one vector per image
    step: int = 1  # the embeddings are those of every step-th image, starting with the first


def network_outputs(
    tail: nn.Module, head: Any, source: FeatureSource, *, device: str = "cpu", precision: str = "float32", step: int = 1
) -> NetworkOutputs:
    """Run the tail in evaluation mode, and keep what its head receives.

    :param head: the last layer of the tail. Anything but a module, such as the two heads of a distilled network, yields
        no embeddings.
    :param step: keep the embeddings of every step-th image only, since they take more memory than the logits.

    >>> from headstart.features.sources import InMemoryFeatures
    >>> tail = nn.Sequential(nn.ReLU(), nn.Linear(2, 3))
    >>> outputs = network_outputs(tail, tail[1], InMemoryFeatures(np.array([[1, -1]], np.float32)))
    >>> outputs.logits.shape, outputs.embeddings
    ((1, 3), array([[1., 0.]], dtype=float32))
    """
    if not isinstance(head, nn.Module):
        return NetworkOutputs(logits(tail, source, device=device, precision=precision), None)
    recorded = _HeadInputs(len(source), step)
    with _HOOK:
        hook = head.register_forward_pre_hook(recorded)
        try:
            values = logits(tail, source, device=device, precision=precision)
        finally:
            hook.remove()
    return NetworkOutputs(values, recorded.vectors, step)


class _HeadInputs:
    """A hook that keeps what a layer is given of every ``step``-th image, in one array for all."""

    def __init__(self, images: int, step: int) -> None:
        self._images, self._step = images, step
        self._count = 0  # images that the layer was given
        self._are_vectors = True  # one for each image
        self._kept: NDArray[np.float32] | None = None

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given = inputs[0]
        start = -(-self._count // self._step)
        some = given[-self._count % self._step :: self._step]
        self._count += len(given)
        self._are_vectors &= given.ndim == 2 and self._count <= self._images
        if not self._are_vectors:
            return
        if self._kept is None:
            self._kept = np.empty((-(-self._images // self._step), given.shape[1]), np.float32)
        self._kept[start : start + len(some)] = some.float().cpu().numpy()

    @property
    def vectors(self) -> NDArray[np.float32] | None:
        """What was kept, (M, D); None if the layer is not given one vector per image."""
        return self._kept if self._are_vectors and self._count == self._images else None


def head_inputs(
    tail: nn.Module, heads: Sequence[nn.Module], source: FeatureSource, *, device: str = "cpu"
) -> NDArray[np.float32]:
    """Run the tail in evaluation mode, and return what some of its layers are given, one after the other, (N, D).

    :param heads: layers of the tail, of which the last argument is one vector per image.

    >>> from headstart.features.sources import InMemoryFeatures
    >>> tail = nn.Sequential(nn.ReLU(), nn.Linear(2, 3))
    >>> head_inputs(tail, [tail[1]], InMemoryFeatures(np.array([[1, -1]], np.float32)))
    array([[1., 0.]], dtype=float32)
    """
    batches: list[list[NDArray[np.float32]]] = [[] for _ in heads]
    with _HOOK, ExitStack() as hooks:
        for head, own in zip(heads, batches, strict=True):

            def record(_: nn.Module, inputs: tuple[Tensor, ...], own: list[NDArray[np.float32]] = own) -> None:
                own.append(inputs[-1].float().cpu().numpy())

            hooks.callback(head.register_forward_pre_hook(record).remove)
        logits(tail, source, device=device)
    return np.concatenate([np.concatenate(own) for own in batches], axis=1)


def mean_outputs(views: Sequence[NetworkOutputs]) -> NetworkOutputs:
    """The mean of the logits, and of the embeddings, over several views of the same images.

    >>> mean_outputs([NetworkOutputs(np.zeros((1, 2)), None), NetworkOutputs(np.ones((1, 2)), None)]).logits
    array([[0.5, 0.5]])
    """
    if len(views) == 1:
        return views[0]
    embeddings = [view.embeddings for view in views if view.embeddings is not None]
    return NetworkOutputs(
        np.mean([view.logits for view in views], axis=0),
        np.mean(embeddings, axis=0) if len(embeddings) == len(views) else None,
        views[0].step,
    )


@torch.inference_mode()
def logits(
    tail: nn.Module, source: FeatureSource, *, device: str = "cpu", precision: str = "float32"
) -> NDArray[np.float32]:
    """Run the tail in evaluation mode, 64 inputs at a time; returns (N, C)."""
    tail.to(device).eval()
    batches, last = [], choose_memory_format(tail, precision)
    with autocast(device, precision):
        for start in range(0, len(source), _BATCH_SIZE):
            rows = np.arange(start, min(start + _BATCH_SIZE, len(source)))
            batches.append(tail(to_channels_last(to_tensor(source, rows, device), last=last)).float().cpu().numpy())
    return np.concatenate(batches)


def to_tensor(source: FeatureSource, rows: NDArray[np.int64], device: str) -> Tensor:
    """Move rows to the device: features as float32; pixels stay uint8, since the network normalizes them itself."""
    values = torch.from_numpy(source.take(rows)).to(device)
    return values if values.dtype == torch.uint8 else values.float()


def autocast(device: str, precision: str) -> torch.autocast:
    """A context that computes products in bfloat16 if ``precision`` is "bfloat16"."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")
