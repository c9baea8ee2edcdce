"""The strength of the L2 penalty, column by column and row by row, of a head on blocks of features.

The first block is the last features of the network, the others are its pooled stages, from the last to the first. Each
is scaled to one mean norm (:class:`headstart.train.heads.vectors.Scaling`). To give the stages a weight ``w``, that is
to multiply their features by it, is the same as to divide their penalty by its square: so all weights share one copy of
the features.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.train.heads.linear import LinearHead

__all__ = ["NO_STAGES", "Penalty", "StageChoice", "parse_stages"]

_OF_NEW_CLASSES = 0.01  # the penalty at which the search for a head without a prior begins
_TEXT = re.compile(r"(none)|(late|all):([0-9.]+)")


@dataclass(frozen=True, order=True)
class StageChoice:
    """Which stages a head is given, and the weight of their features.

    >>> str(StageChoice("late", 0.5)), StageChoice("late", 0.5).blocks(8), StageChoice("none").blocks(8)
    ('late:0.5', 5, 1)
    """

    which: str = "none"  # "none", "late" (the later half) or "all"
    weight: float = 1.0

    def __str__(self) -> str:
        return self.which if self.which == "none" else f"{self.which}:{self.weight:g}"

    def blocks(self, count: int) -> int:
        """How many of ``count`` blocks are used: the first, and for each stage one more."""
        return {"none": 1, "late": 1 + count // 2, "all": count}[self.which]

    def column_weights(self, blocks: Sequence[int]) -> Tensor:
        """The weight of each feature that is given, (columns,).

        >>> StageChoice("all", 0.5).column_weights([2, 1])
        tensor([1.0000, 1.0000, 0.5000])
        """
        weights = torch.full((sum(blocks[: self.blocks(len(blocks))]),), self.weight)
        weights[: blocks[0]] = 1
        return weights


NO_STAGES = StageChoice()


def parse_stages(text: str) -> StageChoice:
    """Parse the text of a choice.

    :raises ValueError: it is not "none", "late:WEIGHT" or "all:WEIGHT" with a weight above 0.

    >>> parse_stages("all:0.25")
    StageChoice(which='all', weight=0.25)
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    if found[1]:
        return NO_STAGES
    choice = StageChoice(found[2], float(found[3]))
    if choice.weight <= 0:
        raise ValueError(text)
    return choice


@dataclass(frozen=True)
class Penalty:
    """An L2 penalty, and the features that it is for."""

    l2: float
    stages: StageChoice = NO_STAGES

    def strengths(self, blocks: Sequence[int], prior: LinearHead, *, bias: bool) -> tuple[Tensor, Tensor]:
        """The penalty of each weight, (1 or C, columns), and of each bias, (1 or C,).

        A class that the prior does not know is not held by a strong pull that keeps the known ones as they are.

        :param bias: whether the penalty is for the biases as well.
        """
        columns = self.l2 / self.stages.column_weights(blocks).to(prior.bias.device).square()
        rows = columns.new_ones(1)
        if prior.known is not None:
            rows = torch.where(prior.known, 1.0, min(1.0, _OF_NEW_CLASSES / max(self.l2, 1e-12)))
        return rows[:, None] * columns, rows * self.l2 * bias
