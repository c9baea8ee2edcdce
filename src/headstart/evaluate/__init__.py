"""How good probabilities are, with how sure one can be of it: plain NumPy and SciPy, no torch."""

from headstart.evaluate.classes import class_table, worst
from headstart.evaluate.conformal import conformal_threshold, prediction_sets, sets_section
from headstart.evaluate.evaluation import evaluate
from headstart.evaluate.novelty import Novelty, auroc, fit_novelty, novelty_rows, novelty_section
from headstart.evaluate.temperature import fit_temperature, scaled, scaled_out_of_fold, temperature_section

__all__ = [
    "Novelty",
    "auroc",
    "class_table",
    "conformal_threshold",
    "evaluate",
    "fit_novelty",
    "fit_temperature",
    "novelty_rows",
    "novelty_section",
    "prediction_sets",
    "scaled",
    "scaled_out_of_fold",
    "sets_section",
    "temperature_section",
    "worst",
]
