"""Learning rates as pure functions of the step and of the distance of a layer from the head."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Warmup", "block_depths", "learning_rate", "lr_scales"]

# Blocks are numbered ("blocks.2.0", "layer4.1"); in networks with stages, within these ("stages.3.blocks.1").
_BLOCK = re.compile(r"(?:[^.]+\.)*?\d+(?:\.\d+)*(?:\.(?:blocks|layers)\.\d+)?(?=\.)")


_MILESTONES = 3, 6, 8  # ninths of the steps: epochs 30, 60 and 80 of 90


@dataclass(frozen=True)
class Warmup:
    """Gradual warm-up: over ``steps`` the rate rises by equal amounts from ``start`` to the peak.

    Goyal et al., Accurate, large minibatch SGD: Training ImageNet in 1 hour, 2017 (arXiv:1706.02677), section 2.2.
    """

    steps: int = 0
    start: float = 0.0


def learning_rate(step: int, *, steps: int, base_lr: float, schedule: str, warmup: Warmup | None = None) -> float:
    """The learning rate of a step, counted from 0.

    "cosine" falls from ``base_lr`` to nearly 0 over the steps after the warm-up (Loshchilov and Hutter 2017, without
    restarts); "constant" stays at ``base_lr``; "steps" is multiplied by 0.1 after 1/3, 2/3 and 8/9 of all steps (Goyal
    et al. 2017, section 5.1), but not before the warm-up ends.

    >>> [round(learning_rate(step, steps=4, base_lr=1.0, schedule="cosine"), 2) for step in range(4)]
    [1.0, 0.85, 0.5, 0.15]
    >>> rates = [learning_rate(step, steps=9, base_lr=1.0, schedule="steps", warmup=Warmup(2)) for step in range(9)]
    >>> [round(rate, 3) for rate in rates]
    [0.0, 0.5, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001]
    """
    warmup = warmup or Warmup()
    if step < warmup.steps:
        return warmup.start + (base_lr - warmup.start) * step / warmup.steps
    if schedule == "constant":
        return base_lr
    if schedule == "steps":
        return base_lr * 0.1 ** sum(9 * step >= ninths * steps for ninths in _MILESTONES)
    return base_lr * 0.5 * (1 + math.cos(math.pi * (step - warmup.steps) / (steps - warmup.steps)))


def block_depths(names: Sequence[str]) -> list[int]:
    """Distance of each parameter from the head, in blocks: 0 for everything after the last block.

    Parameters before the first block form one more block, the stem. If nothing follows the last block, it is the head.

    :param names: of the parameters, in the order in which their modules run.

    >>> block_depths(["stem.weight", "blocks.0.0.conv.weight", "blocks.0.1.conv.weight", "norm.weight", "head.weight"])
    [3, 2, 1, 0, 0]
    >>> block_depths(["0.weight", "0.bias", "2.weight", "2.bias"])
    [1, 1, 0, 0]
    """
    found = [_BLOCK.match(name) for name in names]
    blocks = [match[0] if match else "" for match in found]
    # Numbered layers in a network that has numbered blocks are no blocks, for example a stem of three convolutions.
    whole = {block for block, name in zip(blocks, names, strict=True) if name.removeprefix(block).count(".") > 1}
    blocks = [block if block in whole or not any(whole) else "" for block in blocks]
    last = max((row for row, block in enumerate(blocks) if block), default=-1)
    order: dict[str, int] = {}
    numbers, current = [], "stem"
    for row, block in enumerate(blocks):
        # A parameter between two blocks belongs to the first.
        current = block or ("head" if row > last else current)
        numbers.append(order.setdefault(current, len(order)))
    return [max(order.values(), default=0) - number for number in numbers]


def lr_scales(names: Sequence[str], decay: float) -> list[float]:
    """The factor of each parameter's learning rate: 1 in the head, multiplied by ``decay`` per block before it.

    Clark et al., ELECTRA: Pre-training text encoders as discriminators rather than generators, ICLR 2020, appendix A.

    >>> lr_scales(["blocks.0.weight", "blocks.1.weight", "head.weight"], 0.5)
    [0.25, 0.5, 1.0]
    """
    return [decay**depth for depth in block_depths(names)]
