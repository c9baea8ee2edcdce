"""The head solvers by name. A new one is registered, and then chosen with ``--head-solver NAME``."""

from __future__ import annotations

from headstart.errors import SettingsError, did_you_mean
from headstart.train.heads.base import HeadSolver
from headstart.train.heads.lbfgs import LbfgsSolver

__all__ = ["head_solver", "register_head_solver"]

_SOLVERS: dict[str, HeadSolver] = {}


def register_head_solver(solver: HeadSolver) -> None:
    """Make a solver available by its name; a solver of the same name is replaced."""
    _SOLVERS[solver.name] = solver


def head_solver(name: str) -> HeadSolver:
    """Return the solver with this name.

    :raises SettingsError: no solver of this name is registered.

    >>> head_solver("lbfgs").name
    'lbfgs'
    """
    if name not in _SOLVERS:
        hint = did_you_mean(name, _SOLVERS)
        raise SettingsError(f"head_solver must be one of {', '.join(sorted(_SOLVERS))}, got {name!r}{hint}")
    return _SOLVERS[name]


register_head_solver(LbfgsSolver())
