"""Memory format of feature maps while a tail is trained: channels last for small maps.

On maps of 7×7 depthwise convolutions are faster with channels last, and with them the last blocks of a MobileNet or an
EfficientNet: a training step takes a quarter less in bfloat16, and somewhat less in float32
(benchmarks/speed/memory_format.py). Other tails are left as they are. The rule depends on shapes only and not on
measured times, so that a fit is reproducible: sums in another order differ in the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from headstart.models.stage_head import Unpack

__all__ = ["channels_last_gradients", "choose_memory_format", "prefers_channels_last", "to_channels_last"]

_SMALL_MAP = 64  # pixels


def prefers_channels_last(tail: nn.Module, precision: str) -> bool:
    """Whether this tail is faster with channels last.

    >>> [prefers_channels_last(nn.Conv2d(8, 8, kernel, groups=8), "bfloat16") for kernel in (3, 5)]
    [True, False]
    """
    convolutions = [module for module in tail.modules() if isinstance(module, nn.Conv2d)]
    kernels = [max(module.kernel_size) for module in convolutions if module.groups == module.in_channels > 1]
    return bool(kernels) and (precision == "float32" or max(kernels) <= 3)


def choose_memory_format(tail: nn.Module, precision: str) -> bool:
    """Whether to convert what this tail is given with :func:`to_channels_last`.

    A tail that takes packed rows is told to convert the maps that it unpacks.
    """
    last = prefers_channels_last(tail, precision)
    for module in tail.modules():
        if isinstance(module, Unpack):
            module.channels_last = last and math.prod(module.shape[-2:]) <= _SMALL_MAP
    return last


def to_channels_last(inputs: Tensor, *, last: bool) -> Tensor:
    """Convert small maps (B, C, H, W) to channels last if ``last``; everything else is returned as it is.

    >>> [to_channels_last(torch.zeros(2, 3, side, side), last=True).stride() for side in (7, 14)]
    [(147, 1, 21, 3), (588, 196, 14, 1)]
    """
    small = inputs.ndim == 4 and inputs.shape[2] * inputs.shape[3] <= _SMALL_MAP and inputs.is_floating_point()
    return inputs.contiguous(memory_format=torch.channels_last) if last and small else inputs


@contextmanager
def channels_last_gradients(tail: nn.Module) -> Iterator[None]:
    """Within the block, the gradient of a normalization's output has the memory format of that output.

    The mean over a map passes back a gradient of another format, which makes the layer before it copy.
    """

    def watch(_: nn.Module, __: Any, output: Any) -> None:
        is_map = isinstance(output, Tensor) and output.ndim == 4 and output.requires_grad
        if is_map and output.is_contiguous(memory_format=torch.channels_last):
            output.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))

    normalizations = [module for module in tail.modules() if getattr(module, "running_var", None) is not None]
    hooks = [module.register_forward_hook(watch) for module in normalizations]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
