"""Metrics of predicted probabilities, with confidence intervals. Plain NumPy and SciPy, no torch."""

from headstart.evaluate.conformal import conformal_threshold, prediction_set_metrics, prediction_sets
from headstart.evaluate.evaluation import evaluate
from headstart.evaluate.out_of_distribution import OODDetector, auroc, fit_ood_detector, ood_fit_rows, ood_metrics
from headstart.evaluate.per_class import ClassErrors, per_class_csv, worst_classes
from headstart.evaluate.temperature import (
    apply_temperature,
    calibration_metrics,
    cross_fitted_probabilities,
    fit_temperature,
)

__all__ = [
    "ClassErrors",
    "OODDetector",
    "apply_temperature",
    "auroc",
    "calibration_metrics",
    "conformal_threshold",
    "cross_fitted_probabilities",
    "evaluate",
    "fit_ood_detector",
    "fit_temperature",
    "ood_fit_rows",
    "ood_metrics",
    "per_class_csv",
    "prediction_set_metrics",
    "prediction_sets",
    "worst_classes",
]
