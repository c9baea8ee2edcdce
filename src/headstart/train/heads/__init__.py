"""Head solvers: from features that do not change to a linear head, without a learning rate."""

from headstart.train.heads.base import HeadFit, HeadProblem, HeadSolver, LabeledVectors
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.priors import matched_head
from headstart.train.heads.registry import head_solver, register_head_solver

__all__ = [
    "HeadFit",
    "HeadProblem",
    "HeadSolver",
    "LabeledVectors",
    "LinearHead",
    "head_solver",
    "matched_head",
    "register_head_solver",
]
