"""How feature maps lie in memory while a tail is trained: small ones with their channels side by side.

For maps of 7×7 depthwise convolutions are faster so, and with them the last blocks of a MobileNet or an EfficientNet:
in bfloat16 a step takes a quarter less, in float32 somewhat less (benchmarks/layout.py). Other tails are left as they
are. The rule looks at shapes alone and not at a clock, so that a fit can be repeated: sums in another order differ in
the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["laid_out", "same_for_gradients", "suits"]

_SMALL = 64  # positions of a map


def suits(tail: nn.Module, precision: str) -> bool:
    """Whether this tail is faster with channels last.

    >>> suits(nn.Conv2d(8, 8, 3, groups=8), "bfloat16"), suits(nn.Conv2d(8, 8, 5, groups=8), "bfloat16")
    (True, False)
    """
    convolutions = [each for each in tail.modules() if isinstance(each, nn.Conv2d)]
    kernels = [max(each.kernel_size) for each in convolutions if each.groups == each.in_channels > 1]
    return bool(kernels) and (precision == "float32" or max(kernels) <= 3)


def laid_out(inputs: Tensor, *, last: bool) -> Tensor:
    """The same values; with ``last``, small maps (B, C, H, W) have their channels last in memory.

    >>> laid_out(torch.zeros(2, 3, 7, 7), last=True).stride(), laid_out(torch.zeros(2, 3, 14, 14), last=True).stride()
    ((147, 1, 21, 3), (588, 196, 14, 1))
    """
    small = inputs.ndim == 4 and inputs.shape[2] * inputs.shape[3] <= _SMALL and inputs.is_floating_point()
    return inputs.contiguous(memory_format=torch.channels_last) if last and small else inputs


@contextmanager
def same_for_gradients(tail: nn.Module) -> Iterator[None]:
    """Within, the gradient of a normalisation's output comes in the layout that the output has.

    The mean over a map hands back a gradient that lies otherwise, which makes the layer before it copy.
    """

    def watch(_: nn.Module, __: Any, output: Any) -> None:
        maps = isinstance(output, Tensor) and output.ndim == 4 and output.requires_grad
        if maps and output.is_contiguous(memory_format=torch.channels_last):
            output.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))

    normalising = [each for each in tail.modules() if getattr(each, "running_var", None) is not None]
    watched = [each.register_forward_hook(watch) for each in normalising]
    try:
        yield
    finally:
        for each in watched:
            each.remove()
