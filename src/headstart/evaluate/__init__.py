"""How good probabilities are, with how sure one can be of it: plain NumPy and SciPy, no torch."""

from headstart.evaluate.evaluation import evaluate

__all__ = ["evaluate"]
