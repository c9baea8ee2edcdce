"""Learning while a person labels: features once, a head in a second, and figures that do not flatter."""

from headstart.workflow.live.classifier import LiveClassifier
from headstart.workflow.live.evaluation import LiveEvaluation
from headstart.workflow.live.records import CurvePoint, Guess, LearningState, LivePrediction, LiveSettings

__all__ = [
    "CurvePoint",
    "Guess",
    "LearningState",
    "LiveClassifier",
    "LiveEvaluation",
    "LivePrediction",
    "LiveSettings",
]
