"""Learning rates as pure functions of the step, and of how far a layer is from the head."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

__all__ = ["depths", "rate", "shares"]

# A block is numbered ("blocks.2.0", "layer4.1"); where stages are, the blocks in them are ("stages.3.blocks.1").
_BLOCK = re.compile(r"(?:[^.]+\.)*?\d+(?:\.\d+)*(?:\.(?:blocks|layers)\.\d+)?(?=\.)")


def rate(step: int, *, steps: int, highest: float, schedule: str) -> float:
    """The learning rate of a step, counted from 0.

    "cosine" falls from ``highest`` to nearly 0 over ``steps`` (Loshchilov and Hutter 2017, without restarts).

    >>> [round(rate(step, steps=4, highest=1.0, schedule="cosine"), 2) for step in range(4)]
    [1.0, 0.85, 0.5, 0.15]
    """
    if schedule == "constant":
        return highest
    return highest * 0.5 * (1 + math.cos(math.pi * step / steps))


def depths(names: Sequence[str]) -> list[int]:
    """How many blocks each parameter is away from the head: 0 for all that follows the last block.

    What comes before the first block is one more block, the stem. Where nothing follows the last block, it is itself
    the head.

    :param names: of the parameters, in the order in which their modules run.

    >>> depths(["stem.weight", "blocks.0.0.conv.weight", "blocks.0.1.conv.weight", "norm.weight", "head.weight"])
    [3, 2, 1, 0, 0]
    >>> depths(["0.weight", "0.bias", "2.weight", "2.bias"])
    [1, 1, 0, 0]
    """
    found = [_BLOCK.match(name) for name in names]
    blocks = [match[0] if match else "" for match in found]
    # Layers that are numbered beside blocks are none: a stem of three convolutions, say.
    whole = {block for block, name in zip(blocks, names, strict=True) if name.removeprefix(block).count(".") > 1}
    blocks = [block if block in whole or not any(whole) else "" for block in blocks]
    last = max((row for row, block in enumerate(blocks) if block), default=-1)
    order: dict[str, int] = {}
    numbers, now = [], "stem"
    for row, block in enumerate(blocks):
        now = block or ("head" if row > last else now)  # what stands between two blocks belongs to the first
        numbers.append(order.setdefault(now, len(order)))
    return [max(order.values(), default=0) - number for number in numbers]


def shares(names: Sequence[str], decay: float) -> list[float]:
    """The share of the learning rate that each parameter has: 1 in the head, times ``decay`` for each block before it.

    Clark et al., ELECTRA: Pre-training text encoders as discriminators rather than generators, ICLR 2020, appendix A.

    >>> shares(["blocks.0.weight", "blocks.1.weight", "head.weight"], 0.5)
    [0.25, 0.5, 1.0]
    """
    return [decay**depth for depth in depths(names)]
