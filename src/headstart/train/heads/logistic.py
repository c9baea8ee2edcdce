"""Multinomial logistic regression with an L2 penalty toward a given head: one solution by L-BFGS."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from headstart.train.class_balance import Balance
from headstart.train.heads.priors import LinearHead
from headstart.train.heads.vectors import Batches

__all__ = ["minimize"]


def minimize(
    start: LinearHead, prior: LinearHead, data: Batches, l2: float, balance: Balance, max_iter: int
) -> LinearHead:
    """Minimize the mean loss plus ``l2 / 2`` times the squared distance of the weights from those of ``prior``.

    The bias is not penalized. The objective is convex, so that ``start`` changes only how many iterations are needed.

    >>> x, y = torch.eye(2).repeat(8, 1), torch.arange(2).repeat(8)
    >>> zero = LinearHead(torch.zeros(2, 2), torch.zeros(2))
    >>> minimize(zero, zero, [(x, y)], 0.01, Balance(), 30).logits(x).argmax(1).equal(y)
    True
    """
    # The variable is the distance from the prior, in units that shrink as the penalty grows: with a strong penalty the
    # weights would otherwise be so much stiffer than the bias that L-BFGS ends before the bias has moved.
    unit = 1 / math.sqrt(1 + l2)
    distance = (start.weight - prior.weight) / unit
    bias = start.bias.clone()
    solver = torch.optim.LBFGS(
        [distance, bias],
        max_iter=max_iter,
        history_size=10,
        # Far below what matters: each penalty of a path starts where the last one ended, and must leave from there.
        tolerance_grad=1e-7,
        tolerance_change=1e-8,
        line_search_fn="strong_wolfe",
    )

    def objective() -> float:
        # Computed in batches: the gradients add up in these two tensors.
        weight, offset = (prior.weight + unit * distance).requires_grad_(), bias.clone().requires_grad_()
        total, count = 0.0, 0
        for x, targets in data:
            loss = balance.loss(F.linear(x, weight.to(x.dtype)).to(bias.dtype) + offset, targets)
            loss.backward(loss.new_tensor(len(targets)))  # type: ignore[no-untyped-call]
            total, count = total + float(loss.detach()) * len(targets), count + len(targets)
        assert weight.grad is not None
        assert offset.grad is not None
        distance.grad, bias.grad = unit * (weight.grad / count + l2 * unit * distance), offset.grad / count
        return total / count + 0.5 * l2 * float((unit * distance).square().sum())

    solver.step(objective)  # type: ignore[no-untyped-call]
    return LinearHead(prior.weight + unit * distance, bias)
