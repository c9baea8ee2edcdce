"""The thread that brings the vectors of a project's images into memory: labeled ones first, bit by bit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from headstart.data.projects import ImageQuery, Project, ProjectImage
from headstart.errors import HeadstartError
from headstart.workflow.live.features import Computed, LiveNetwork
from headstart.workflow.live.vectors import VectorPool

__all__ = ["FeatureThread"]

_log = logging.getLogger(__name__)

_FEWEST = 32  # images that are computed at a time: a batch
_SECONDS = 2.0  # that a part of the images should take
_RETRY = 30.0  # seconds after a failure that may go away, as a full disk


class FeatureThread:
    """Fills a pool with the vectors of the images that can be used, and says so after each part.

    :param told: called after each part, and after a failure; in this thread.
    """

    def __init__(self, project: Project, network: LiveNetwork, pool: VectorPool, told: Callable[[], None]) -> None:
        self._project, self._network, self._pool, self._told = project, network, pool, told
        self._wake, self._closing = threading.Event(), threading.Event()
        self._seen = 0  # images of the project, in the order in which they were added
        self._pending: dict[int, ProjectImage] = {}
        self.opened = threading.Event()  # the network is loaded
        self.problems: dict[int, str] = {}  # of images that could not be read any more, by id
        self.left_out = 0  # images for which there is no room
        self.failure = ""
        self._thread = threading.Thread(target=self._run, name="headstart-features", daemon=True)

    @property
    def busy(self) -> bool:
        """Whether there are images whose vectors are still to come."""
        return bool(self._pending)

    def start(self) -> None:
        """Begin."""
        self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """Say that images may have been added. Returns at once."""
        self._wake.set()

    def close(self) -> None:
        """End after the part that is being computed."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(_RETRY if self.failure else None)
            self._wake.clear()
            try:
                if not self.opened.is_set():
                    _ = self._network.candidate
                    self.opened.set()
                    self._told()
                self._work()
                self.failure = ""
            except HeadstartError as error:
                self.failure = str(error)
            except Exception as error:
                _log.exception("the features of images cannot be computed")
                self.failure = f"the features of images cannot be computed ({type(error).__name__}: {error})"
            if self.failure and not self._closing.is_set():
                self._told()

    def _work(self) -> None:
        size = _FEWEST
        while not self._closing.is_set():
            self._find_new()
            if not self._pending:
                return
            part = self._next(size)
            began = time.monotonic()
            self._add(self._network.compute(part), part)
            # The first part starts the engine, which takes as long as hundreds of images: sizes at most double.
            size = round(len(part) * _SECONDS / max(time.monotonic() - began, 1e-3))
            size = min(max(size, _FEWEST), 2 * max(len(part), _FEWEST))

    def _find_new(self) -> None:
        """Note the images that were added since, and read the vectors that are stored."""
        found = self._project.images(ImageQuery(order="added", offset=self._seen, limit=None)).images
        if not found:
            return
        self._seen += len(found)
        new = [each for each in found if each.problem is None and each.hash is not None]
        self._pending.update((each.id, each) for each in new)
        for computed in self._network.stored(new):
            self._add(computed, [self._pending[image] for image in computed.ids])
            if self._closing.is_set():
                return

    def _next(self, size: int) -> list[ProjectImage]:
        """The images to compute now: those that have a label first."""
        labels = self._project.labels()
        first = [each for each in self._pending.values() if each.id in labels]
        if len(first) < size:
            first += [each for each in self._pending.values() if each.id not in labels]
        return first[:size]

    def _add(self, computed: Computed, part: list[ProjectImage]) -> None:
        added = self._pool.add(computed.ids, computed.vectors)
        self.left_out += len(computed.ids) - added
        self.problems.update(computed.problems)
        for each in part:
            self._pending.pop(each.id, None)
        self._told()
