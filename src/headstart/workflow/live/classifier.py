"""The live classifier of a project: it follows the labels, and answers at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Literal

import numpy as np

from headstart.data.projects import Change, Project
from headstart.data.vectors import normalized
from headstart.errors import DataError
from headstart.workflow.live.evaluation import LiveEvaluation
from headstart.workflow.live.feature_thread import FeatureThread
from headstart.workflow.live.features import LiveNetwork
from headstart.workflow.live.learner import Learner
from headstart.workflow.live.records import Guess, LearningState, LivePrediction, LiveSettings, Phase
from headstart.workflow.live.solving import Solution
from headstart.workflow.live.try_out import TryOut
from headstart.workflow.live.vectors import VectorPool

__all__ = ["LiveClassifier"]

_BLOCK = 8192  # rows compared at a time

Told = Callable[[str, Mapping[str, object]], None]


class LiveClassifier:
    """Learns from the labels of a project as they are given.

    Two threads work in the background: one computes features (in the feature store, where a later fit finds them), one
    solves the head. All methods answer from what was found last, and wait for neither.

    :param on_change: called in these threads with "features", "learning" or "evaluation", and what is new.
    :raises SettingsError: the settings do not name one network.
    """

    def __init__(self, project: Project, settings: LiveSettings | None = None, on_change: Told | None = None) -> None:
        self.settings = settings or LiveSettings()
        self._project, self._on_change = project, on_change
        self._network = LiveNetwork(self.settings.fit)
        self._pool = VectorPool(self.settings.max_vector_bytes)
        self._features = FeatureThread(project, self._network, self._pool, self._told_features)
        self._learner = Learner(project, self._network, self._pool, self.settings, self._told_learning)
        self._try_out = TryOut(self._network)
        self._evaluated: LiveEvaluation | None = None
        self._evaluating = threading.Lock()
        self._end = project.listen(self._changed)

    def __enter__(self) -> LiveClassifier:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to learn."""
        self._learner.start()
        self._learner.wake(changed=True)
        self._features.start()

    def close(self) -> None:
        """Stop: what is being computed is finished first, which takes seconds at most."""
        self._end()
        self._features.close()
        self._learner.close()

    def state(self) -> LearningState:
        """How far it is."""
        counts, solution = self._project.counts(), self._learner.view.solution
        features, learner = self._features, self._learner
        failure = features.failure or learner.failure
        phase: Phase = "idle"
        if failure:
            phase = "failed"
        elif learner.solving:
            phase = "solving"
        elif not features.opened.is_set():
            phase = "opening"
        elif features.busy:
            phase = "features"
        return LearningState(
            phase=phase,
            model=self.settings.fit.model,
            images_with_features=len(self._pool),
            images_total=counts.images - counts.problems,
            labels=counts.labeled,
            learned=0 if solution is None else len(solution.ids),
            revision=0 if solution is None else solution.revision,
            suggested=learner.view.revision,
            accuracy=learner.accuracy,
            log_loss=None if solution is None else solution.log_loss,
            judged=0 if solution is None else solution.judged,
            seconds=learner.seconds,
            curve=learner.curve,
            message=failure or self._message(),
        )

    @property
    def view_id(self) -> int:
        """Another number whenever predictions, order or evaluation may be others."""
        return self._learner.looked

    def predictions(self, ids: Iterable[int]) -> dict[int, tuple[int, float]]:
        """The class id and probability of each of these images that has features, as soon as there is a head.

        Images with a label are predicted by a head that was solved without them. Where a person has rejected a class
        for an image, another one is predicted; none if all are rejected.
        """
        view, asked = self._learner.view, list(ids)
        if view.solution is None:
            return {}
        found = {}
        for image, row in zip(asked, self._pool.rows(asked).tolist(), strict=True):
            if 0 <= row < len(view.predicted) and view.predicted[row] >= 0:
                number = view.solution.classes[view.predicted[row]]
                found[image] = number, float(view.probability[row])
        return found

    def order(self, ids: Sequence[int], by: Literal["suggested", "uncertainty"]) -> list[int]:
        """These images, those to look at first in the first place; images without features last.

        :param by: "suggested": to be labeled next (images with a label come after all others); "uncertainty": by the
            margin between the two most probable classes.
        """
        view = self._learner.view
        rows = self._pool.rows(ids)
        here = (rows >= 0) & (rows < len(view.rank))
        keys = np.full(len(rows), np.inf)
        keys[here] = (view.rank if by == "suggested" else view.ahead)[rows[here]]
        return [ids[place] for place in np.argsort(keys, kind="stable").tolist()]

    def evaluation(self) -> LiveEvaluation | None:
        """What cross-fitted predictions say of the labels; None before there is a head."""
        solution = self._learner.view.solution
        if solution is None:
            return None
        with self._evaluating:
            if self._evaluated is None or self._evaluated.solution is not solution:
                self._evaluated = LiveEvaluation(solution)
            return self._evaluated

    def probabilities(self, image: int) -> list[Guess]:
        """All classes of an image of the project, most probable first; empty without features or a head."""
        view, (row,) = self._learner.view, self._pool.rows([image]).tolist()
        if view.solution is None or not 0 <= row < len(view.predicted):
            return []
        solution = view.solution
        own = np.flatnonzero(solution.ids == image)
        found = (
            solution.probabilities[own[0]] if len(own) else solution.predict(view.vectors.take(slice(row, row + 1)))[0]
        )
        order = np.argsort(-found, kind="stable").tolist()
        return [Guess(solution.classes[each], solution.names[each], float(found[each])) for each in order]

    def predict(self, images: Sequence[tuple[str, bytes]]) -> list[LivePrediction]:
        """Predict images that are no part of the project, from their names and encoded contents.

        :raises DataError: nothing was learned yet.
        """
        return self._try_out.predict(images, self._solution(), self._learner.detector)

    def neighbors(self, image: int, count: int = 6) -> list[tuple[int, float]]:
        """The ids of the images whose features are nearest, with the cosines between them, nearest first."""
        vectors, (row,) = self._pool.vectors(), self._pool.rows([image]).tolist()
        if not 0 <= row < len(vectors):
            return []
        own = normalized(vectors.take(slice(row, row + 1)))[0]
        cosines = np.empty(len(vectors), np.float32)
        for start in range(0, len(vectors), _BLOCK):
            block = normalized(vectors.take(slice(start, start + _BLOCK)))
            cosines[start : start + len(block)] = block @ own
        cosines[row] = -np.inf
        nearest = np.argsort(-cosines, kind="stable")[: min(count, len(vectors) - 1)]
        return [(int(vectors.ids[each]), float(cosines[each])) for each in nearest.tolist()]

    def saliency(self, image: int, class_id: int | None = None) -> bytes:
        """Where the network looked in an image of the project: a PNG that is bright where it speaks for a class.

        :param class_id: by default the predicted class.
        :raises NotInProject: there is no such image.
        :raises DataError: nothing was learned yet, the class has no labels, or the network cannot be looked into.
        """
        solution, uri = self._solution(), self._project.image(image).uri
        if class_id is None:
            predicted = self.probabilities(image)
            if not predicted:
                raise DataError("the features of this image are not computed yet: try again in some seconds")
            class_id = predicted[0].class_id
        return self._try_out.saliency(uri, class_id, solution)

    def _solution(self) -> Solution:
        solution = self._learner.view.solution
        if solution is None:
            raise DataError(self._message() or "nothing was learned yet: try again in some seconds")
        return solution

    def _message(self) -> str:  # what is missing for an accuracy; empty if nothing is
        learner, features = self._learner, self._features
        if learner.accuracy is not None:
            return _left_out(features, self.settings)
        if missing := _missing_labels([each.count for each in self._project.classes()]):
            return missing
        if not features.opened.is_set():
            return "the network is being loaded"
        return "the features of the labeled images are being computed" if features.busy else "the head is being solved"

    def _changed(self, _: Change) -> None:
        self._features.wake()
        self._learner.wake(changed=True)

    def _told_features(self) -> None:
        self._learner.wake(changed=False)
        state = self.state()
        values = {name: getattr(state, name) for name in ("phase", "images_with_features", "images_total", "message")}
        self._tell("features", values)

    def _told_learning(self, kind: str) -> None:
        state = self.state()
        self._tell(kind, asdict(state) if kind == "learning" else {"revision": state.revision})

    def _tell(self, kind: str, data: Mapping[str, object]) -> None:
        if self._on_change is not None:
            self._on_change(kind, data)


def _missing_labels(counts: Sequence[int]) -> str:
    """Which labels there must be before an accuracy can be told, by the number of images of each class."""
    several = sorted(count for count in counts if count)
    if not several:
        return "label two images of two classes each"
    if len(several) < 2:
        return "all labels are of one class: label two images of another one, too"
    return "each class has one labeled image: label a second one of each" if several[-1] < 2 else ""


def _left_out(features: FeatureThread, settings: LiveSettings) -> str:
    """Which images get no suggestions, and why; empty if all do."""
    messages = []
    if count := features.left_out:
        size = settings.max_vector_bytes / (1 << 30)
        messages.append(f"{count:,} images get no suggestions: their features would take more than {size:.1f} GiB")
    if count := len(features.problems):
        messages.append(f"{count:,} images vanished or changed since they were added")
    return "; ".join(messages)
