"""Head solvers: from features that do not change to a head, without a learning rate."""

from headstart.train.heads.base import Head, HeadFit, HeadProblem, HeadSolver, LabeledVectors
from headstart.train.heads.kernel import KernelHead
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.priors import matched_head
from headstart.train.heads.registry import head_solver, register_head_solver

__all__ = [
    "Head",
    "HeadFit",
    "HeadProblem",
    "HeadSolver",
    "KernelHead",
    "LabeledVectors",
    "LinearHead",
    "head_solver",
    "matched_head",
    "register_head_solver",
]
