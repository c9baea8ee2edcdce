"""Multinomial logistic regression with an L2 penalty toward a given head: one solution by L-BFGS."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.train.class_balance import Balance
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.vectors import Batches, sums

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
        apart = [unit * variable for unit, variable in zip(units, variables, strict=True)]
        loss = _Loss(prior.weight + apart[0], prior.bias + apart[1], balance)
        *gradients, totals = sums(data, loss)
        total, count = float(totals[0]), float(totals[1])
        for variable, gradient, unit, distance, strength in zip(
            variables, gradients, units, apart, strengths, strict=True
        ):
            variable.grad = unit * (gradient / count + strength * distance)
        return total / count + 0.5 * sum(
            float((strength * distance.square()).sum()) for strength, distance in zip(strengths, apart, strict=True)
        )

    solver.step(objective)  # type: ignore[no-untyped-call]
    return LinearHead(prior.weight + units[0] * variables[0], prior.bias + units[1] * variables[1])


@dataclass(frozen=True)
class _Loss:
    """The loss of a head on a batch, added up over its images, with its gradients."""

    weight: Tensor  # (C, D)
    bias: Tensor  # (C,)
    balance: Balance

    def __call__(self, x: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Gradients (C, D) and (C,), and the loss with the number of images, (2,) float64."""
        with torch.enable_grad():
            weight, bias = self.weight.detach().requires_grad_(), self.bias.detach().requires_grad_()
            products = F.linear(x[:, : weight.shape[1]], weight.to(x.dtype)).to(bias.dtype)
            loss = self.balance.loss(products + bias, targets)
            gradients = torch.autograd.grad(loss, (weight, bias), loss.new_tensor(len(targets)))
        total = float(loss.detach()) * len(targets)
        return *gradients, torch.tensor([total, len(targets)], dtype=torch.float64)
