"""Trying the live head on images that are no part of the project, and looking into what it does."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.data.decode import decoded
from headstart.data.sources.base import reference
from headstart.data.spec import InputSpec
from headstart.data.transforms import evaluation_view, min_source_side
from headstart.errors import DataError, ImageProblem
from headstart.evaluate import OODDetector, conformal_threshold
from headstart.inference.results import PredictionSetRule, set_names
from headstart.inference.saliency import SaliencyMapper, highlight
from headstart.models.backbone import Backbone, load_backbone
from headstart.workflow.live.features import LiveNetwork
from headstart.workflow.live.records import Guess, LivePrediction
from headstart.workflow.live.solving import Solution

__all__ = ["TryOut"]

_COVERAGE = 0.9
_MIN_FOR_SETS = 9  # images, with fewer of which every class is in every set of that coverage
_TOP = 5


class TryOut:
    """Predicts images one by one, as they come from a camera, and shows where the network looked."""

    def __init__(self, network: LiveNetwork) -> None:
        self._network = network
        self._engine, self._looking = threading.Lock(), threading.Lock()
        self._rule: tuple[Solution, PredictionSetRule | None] | None = None
        self._mapper: tuple[Solution, SaliencyMapper] | None = None
        self._backbone: Backbone | None = None

    @property
    def _spec(self) -> InputSpec:
        return self._network.candidate.extractor.backbone.spec

    def predict(
        self, images: Sequence[tuple[str, bytes]], solution: Solution, detector: OODDetector | None
    ) -> list[LivePrediction]:
        """What a head says of encoded images, each with its name."""
        return [self._predict(name, content, solution, detector) for name, content in images]

    def saliency(self, uri: str, class_id: int, solution: Solution) -> bytes:
        """A PNG of what the network sees of an image, bright where it speaks for a class.

        :raises ImageProblem: the image cannot be read any more.
        :raises DataError: the head does not know the class, or the network cannot be looked into.
        """
        if class_id not in solution.classes:
            raise DataError("the class has no labeled image yet, so that nothing speaks for it: label one")
        with decoded(
            reference(uri), min_side=min_source_side(self._spec), value_ranges=self._spec.value_ranges
        ) as image:
            view = evaluation_view(image, self._spec)
        with self._looking:
            found = self._mapper_of(solution).explain(view, solution.classes.index(class_id))
        if found is None:
            raise DataError(f"{self._network.settings.model}: its network has no map that shows where it looked")
        buffer = io.BytesIO()
        highlight(view, found.contributions).save(buffer, "PNG")
        return buffer.getvalue()

    def _predict(self, name: str, content: bytes, solution: Solution, detector: OODDetector | None) -> LivePrediction:
        spec, settings = self._spec, self._network.settings
        try:
            with decoded(
                content,
                max_pixels=settings.max_pixels,
                min_side=min_source_side(spec),
                value_ranges=spec.value_ranges,
            ) as image:
                view = evaluation_view(image, spec)
        except ImageProblem as problem:
            return LivePrediction(name, problem.reason)
        with self._engine:
            vector = self._network.single.engine(view[None])[:, : self._network.width]
        probabilities = solution.predict(vector)
        order = np.argsort(-probabilities[0], kind="stable")[:_TOP]
        rule, members = self._rule_of(solution), None
        if rule is not None:
            members = tuple(set_names(probabilities, rule.apply(probabilities), solution.names)[0])
        return LivePrediction(
            name,
            top=tuple(
                Guess(solution.classes[row], solution.names[row], float(probabilities[0, row]))
                for row in order.tolist()
            ),
            prediction_set=members,
            out_of_distribution=None if detector is None else bool(detector.flag(vector)[0]),
        )

    def _rule_of(self, solution: Solution) -> PredictionSetRule | None:
        if self._rule is None or self._rule[0] is not solution:
            self._rule = solution, _rule(solution.probabilities, solution)
        return self._rule[1]

    def _mapper_of(self, solution: Solution) -> SaliencyMapper:
        """A mapper of the network with this head, which is not the network that computes features."""
        if self._mapper is None or self._mapper[0] is not solution:
            if self._backbone is None:
                settings = self._network.settings
                loaded = load_backbone(settings.model, weights_file=settings.weights, seed=settings.seed)
                self._backbone = loaded.with_input(**settings.input_changes())
            backbone = self._backbone.with_new_head(len(solution.classes), seed=0)
            head, own = solution.head(), cast("nn.Linear", backbone.head)
            with torch.no_grad():
                own.weight.copy_(head.weight)
                own.bias.copy_(head.bias)
            self._mapper = solution, SaliencyMapper(backbone.module.eval(), self._spec)
        return self._mapper[1]


def _rule(probabilities: NDArray[np.float32], solution: Solution) -> PredictionSetRule | None:
    """The rule of the prediction sets, from the cross-fitted probabilities."""
    mask = solution.solved.judged.numpy()
    if int(mask.sum()) < _MIN_FOR_SETS:
        return None
    threshold = conformal_threshold(probabilities[mask], solution.targets[mask], coverage=_COVERAGE)
    return PredictionSetRule(threshold, _COVERAGE)
