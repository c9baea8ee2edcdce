"""How good probabilities are, with how sure one can be of it: plain NumPy and SciPy, no torch."""

from headstart.evaluate.classes import class_table, worst
from headstart.evaluate.evaluation import evaluate

__all__ = ["class_table", "evaluate", "worst"]
