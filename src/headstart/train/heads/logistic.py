"""Multinomial logistic regression with an L2 penalty toward a given head: one solution by L-BFGS."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.train.class_balance import Balance
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.vectors import Batches

__all__ = ["minimize"]


def minimize(
    start: LinearHead,
    prior: LinearHead,
    data: Batches,
    strengths: tuple[Tensor, Tensor],
    balance: Balance,
    max_iter: int,
) -> LinearHead:
    """Minimize the mean loss plus half the squared distances from ``prior``, each times its strength.

    The objective is convex, so that ``start`` changes only how many iterations are needed.

    :param strengths: of the penalty on the weights (1 or C, D) and on the biases (1 or C,). Features beyond the first D
        are ignored; ``start`` and ``prior`` may have fewer, and are zero beyond.

    >>> x, y = torch.eye(2).repeat(8, 1), torch.arange(2).repeat(8)
    >>> zero = LinearHead(torch.zeros(2, 2), torch.zeros(2))
    >>> strengths = torch.full((1, 2), 0.01), torch.full((1,), 0.01)
    >>> minimize(zero, zero, [(x, y)], strengths, Balance(), 30).logits(x).argmax(1).equal(y)
    True
    """
    columns = strengths[0].shape[1]
    start, prior = start.padded(columns), prior.padded(columns)
    # The variables are the distances from the prior, in units that shrink as the penalty grows: those with a strong
    # penalty would otherwise be so much stiffer than the others that L-BFGS ends before these have moved.
    units = [1 / (1 + strength).sqrt() for strength in strengths]
    variables = [(start.weight - prior.weight) / units[0], (start.bias - prior.bias) / units[1]]
    solver = torch.optim.LBFGS(
        variables,
        max_iter=max_iter,
        history_size=10,
        # Far below what matters: each penalty of a path starts where the last one ended, and must leave from there.
        tolerance_grad=1e-7,
        tolerance_change=1e-8,
        line_search_fn="strong_wolfe",
    )

    def objective() -> float:
        # Computed in batches: the gradients add up in these two tensors.
        apart = [unit * variable for unit, variable in zip(units, variables, strict=True)]
        weight, bias = (prior.weight + apart[0]).requires_grad_(), (prior.bias + apart[1]).requires_grad_()
        total, count = 0.0, 0
        for x, targets in data:
            products = F.linear(x[:, :columns], weight.to(x.dtype)).to(bias.dtype)
            loss = balance.loss(products + bias, targets)
            loss.backward(loss.new_tensor(len(targets)))  # type: ignore[no-untyped-call]
            total, count = total + float(loss.detach()) * len(targets), count + len(targets)
        assert weight.grad is not None
        assert bias.grad is not None
        for variable, gradient, unit, distance, strength in zip(
            variables, (weight.grad, bias.grad), units, apart, strengths, strict=True
        ):
            variable.grad = unit * (gradient / count + strength * distance)
        return total / count + 0.5 * sum(
            float((strength * distance.square()).sum()) for strength, distance in zip(strengths, apart, strict=True)
        )

    solver.step(objective)  # type: ignore[no-untyped-call]
    return LinearHead(prior.weight + units[0] * variables[0], prior.bias + units[1] * variables[1])
