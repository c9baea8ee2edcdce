"""The thread that solves the live head, and what it found last, which any thread may look at without waiting."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from headstart.data.projects import Project
from headstart.errors import HeadstartError
from headstart.evaluate import OODDetector, fit_ood_detector
from headstart.evaluate.schema import Interval
from headstart.workflow.live.features import LiveNetwork
from headstart.workflow.live.records import CurvePoint, LiveSettings
from headstart.workflow.live.solving import Labeled, LiveHead, Solution
from headstart.workflow.live.vectors import VectorPool, Vectors
from headstart.workflow.live.view import View, look

__all__ = ["Learner"]

_log = logging.getLogger(__name__)

_QUIET = 0.7  # seconds without a change, after which the head is improved
_MAX_CURVE = 400  # points
_COMPLETE = 0.95  # share of the labeled images with features, below which an accuracy is no point of the curve
_CURVE = "learning.curve"  # setting of the project
_MIN_DETECTOR = 100  # a fifth of them is held out: fewer than 20 say nothing of what 95 % of images look like
_DETECTOR_IMAGES, _DETECTOR_GROWTH = 2000, 1.2


class Learner:
    """Solves the head after each change of the labels; of several changes in between, only the last state counts.

    :param told: called in this thread with the kind of news: "learning" or "evaluation".
    """

    def __init__(
        self,
        project: Project,
        network: LiveNetwork,
        pool: VectorPool,
        settings: LiveSettings,
        told: Callable[[str], None],
    ) -> None:
        self._project, self._network, self._pool, self._settings, self._told = project, network, pool, settings, told
        self._wake, self._closing = threading.Event(), threading.Event()
        self._noticed: float | None = None  # when the first change since the last solution was noticed
        self._head: LiveHead | None = None
        self._labeled: Labeled | None = None
        self._rejected: set[tuple[int, int]] = set()
        self._detector_for = 0
        self._curve = _read_curve(project)
        self._curve_changed = False
        self._with_features = 0.0  # share of the labeled images
        self.view, self.looked = View.empty(), 0
        self.detector: OODDetector | None = None
        self.accuracy: Interval | None = None
        self.seconds: float | None = None
        self.solving, self.failure = False, ""
        self._thread = threading.Thread(target=self._run, name="headstart-learner", daemon=True)

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        """The accuracy over the number of labels."""
        return tuple(self._curve[labels] for labels in sorted(self._curve.copy()))

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self, *, changed: bool) -> None:
        """Say that there is something new: a change of the project, or vectors. Returns at once."""
        if changed and self._noticed is None:
            self._noticed = time.monotonic()
        self._wake.set()

    def close(self) -> None:
        """End as soon as the head that is being solved is."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._head is not None:
            self._head.close()

    def _interrupted(self) -> bool:
        return self._wake.is_set()

    def _run(self) -> None:
        torch.set_num_threads(1)  # of this thread; see headstart.train.cross_fitted_head
        quiet: float | None = None
        while not self._closing.is_set():
            woken = self._wake.wait(quiet)
            if self._closing.is_set():
                break
            self._wake.clear()
            try:
                if woken:
                    self._update()
                    quiet = _QUIET
                else:
                    quiet = 0.0 if self._improve() else None
                self.failure = ""
            except HeadstartError as error:
                self.failure, quiet = str(error), None
            except Exception as error:
                _log.exception("the head cannot be solved")
                self.failure, quiet = f"the head cannot be solved ({type(error).__name__}: {error})", None
            if self.failure:
                self._told("learning")
        self._save_curve()

    def _update(self) -> None:
        labeled = self._now()
        if labeled is None:
            return
        vectors, rejected = self._pool.vectors(), self._project.rejections()
        before, self._labeled = self._labeled, labeled
        if before is None or not _same(before, labeled):
            noticed, self._noticed = self._noticed, None
            began = time.monotonic()
            self.solving = True
            try:
                solution = self._solver().update(labeled, vectors.values)
            finally:
                self.solving = False
            self.seconds = None if solution is None else time.monotonic() - (noticed or began)
            self._publish(solution, vectors, rejected)
        elif len(vectors) > len(self.view.vectors) or rejected != self._rejected:
            self._noticed = None
            self._look(self.view.solution, vectors, rejected)
            self._told("evaluation")
        else:
            self._noticed = None
            self.view = replace(self.view, revision=labeled.revision)

    def _improve(self) -> bool:
        """Do one thing for which there is time now; return whether there may be more."""
        labeled = self._labeled
        if labeled is None or self._head is None:
            return False
        better = self._head.improve(labeled, self._interrupted)
        if better is not None:
            self._publish(better, self._pool.vectors(), self._rejected)
            return True
        if self._interrupted():
            return True
        self._fit_detector(labeled)
        self._save_curve()
        return False

    def _publish(self, solution: Solution | None, vectors: Vectors, rejected: set[tuple[int, int]]) -> None:
        """Tell the accuracy first, then what takes a little longer."""
        self.accuracy = None if solution is None else solution.accuracy
        # The images of a folder come class by class: the first of them tell nothing of the others.
        if self.accuracy is not None and solution is not None and self._with_features >= _COMPLETE:
            count, found = len(solution.ids), self.accuracy
            self._curve[count] = CurvePoint(count, found.value, found.low, found.high)
            self._curve_changed = True
        if solution is None or self.view.solution is None or solution.classes != self.view.solution.classes:
            self._look(solution, vectors, rejected)  # positions of classes are others now
        else:
            self.view = replace(self.view, solution=solution)
        self._told("learning")
        self._look(solution, vectors, rejected)
        self._told("evaluation")

    def _look(self, solution: Solution | None, vectors: Vectors, rejected: set[tuple[int, int]]) -> None:
        labeled, settings, self._rejected = self._labeled, self._settings, rejected
        self.view = look(
            solution,
            vectors,
            self._pool,
            () if labeled is None else labeled.ids.tolist(),
            rejected,
            revision=0 if labeled is None else labeled.revision,
            rule=settings.suggestions,
            spread=settings.spread,
        )
        self.looked += 1

    def _now(self) -> Labeled | None:
        """The labels as they are now, of images that have vectors; None before there are any vectors."""
        revision, labels = self._project.revision, self._project.labels()
        names = {each.id: each.name for each in self._project.classes()}
        vectors = self._pool.vectors()
        ids = np.array(sorted(image for image, label in labels.items() if label in names), np.int64)
        rows = self._pool.rows(ids.tolist())
        here = (rows >= 0) & (rows < len(vectors))
        if not len(vectors):
            return None
        self._with_features = float(here.mean()) if len(ids) else 0.0
        ids, rows = ids[here], rows[here]
        of_images = np.array([labels[image] for image in ids.tolist()], np.int64)
        return Labeled(revision, ids, of_images, vectors.values[rows], names)

    def _solver(self) -> LiveHead:
        if self._head is None:
            backbone, fit = self._network.candidate.extractor.backbone, self._settings.fit
            known = backbone.pretrained_head if fit.pretrained_head else None
            self._head = LiveHead(None if known is None else (known, backbone.classes))
        return self._head

    def _fit_detector(self, labeled: Labeled) -> None:
        """Learn what images of the classes look like, once there are a fifth more of them."""
        count = len(labeled.ids)
        if count < max(_MIN_DETECTOR, self._detector_for * _DETECTOR_GROWTH):
            return
        some = np.random.default_rng(0).permutation(count)[:_DETECTOR_IMAGES]
        held_out = np.arange(len(some)) % 5 == 0
        vectors, targets = np.asarray(labeled.vectors[some], np.float32), labeled.labels[some]
        self.detector = fit_ood_detector(vectors[~held_out], targets[~held_out], vectors[held_out])
        self._detector_for = count

    def _save_curve(self) -> None:
        if not self._curve_changed:
            return
        self._curve_changed = False
        if len(self._curve) > _MAX_CURVE:  # every second one, but the last
            labels = sorted(self._curve)
            for number in labels[-2:0:-2]:
                del self._curve[number]
        points = [(each.labels, each.accuracy, each.low, each.high) for each in self.curve]
        try:
            self._project.set_setting(_CURVE, json.dumps(points))
        except HeadstartError:  # a full disk: the curve is no label
            _log.warning("the learning curve could not be stored", exc_info=True)


def _read_curve(project: Project) -> dict[int, CurvePoint]:
    try:
        points = json.loads(project.settings().get(_CURVE, "[]"))
        return {int(labels): CurvePoint(int(labels), *map(float, rest)) for labels, *rest in points}
    except (ValueError, TypeError):
        return {}


def _same(one: Labeled, other: Labeled) -> bool:
    """Whether the same images have the same labels, of classes with the same names and order."""
    return (
        np.array_equal(one.ids, other.ids)
        and np.array_equal(one.labels, other.labels)
        and [*one.names.items()] == [*other.names.items()]
    )
