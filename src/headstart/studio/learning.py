"""The live classifier and the jobs of a project, which import torch: they are made in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from headstart.config import FitSettings
from headstart.data.projects import Project
from headstart.errors import HeadstartError
from headstart.serve.problems import Refusal

if TYPE_CHECKING:
    from headstart.workflow.live import LearningState, LiveClassifier
    from headstart.workflow.live.jobs import Jobs

__all__ = ["Learning", "settings_of"]

_MODEL, _VALUE_RANGE = "model", "value_range"  # settings of a project

Tell = Callable[[str, Mapping[str, object]], None]


class Learning:
    """Opens the live classifier in a thread; until then its state says so.

    :param settings: of the network, and of fits.
    :param tell: is called with events in background threads.
    """

    def __init__(self, project: Project, settings: FitSettings, tell: Tell) -> None:
        self.settings = settings
        self._project, self._tell = project, tell
        self._live: LiveClassifier | None = None
        self._jobs: Jobs | None = None
        self._failure = ""
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._order: tuple[tuple[object, ...], list[int]] | None = None

    def start(self, *, learn: bool = True) -> None:
        """Begin to load the network, unless learning is off."""
        if not learn:
            self._failure = "learning is off: start headstart studio without --no-learn"
            return
        self._thread = threading.Thread(target=self._open, name="headstart-learning", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop learning and all jobs."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        if self._jobs is not None:
            self._jobs.close()
        if self._live is not None:
            self._live.close()

    @property
    def live(self) -> LiveClassifier:
        """The live classifier.

        :raises Refusal: it is being loaded, or cannot be.
        """
        if self._live is None:
            raise self._refusal()
        return self._live

    @property
    def jobs(self) -> Jobs:
        """The jobs.

        :raises Refusal: what they need is being loaded.
        """
        if self._jobs is None:
            raise self._refusal()
        return self._jobs

    def state(self) -> LearningState | None:
        """How far learning is; None while it is being loaded."""
        return None if self._live is None else self._live.state()

    @property
    def message(self) -> str:
        """Why there is no state."""
        return self._failure or "the network is being loaded"

    @property
    def failed(self) -> bool:
        """Whether there will be none."""
        return bool(self._failure)

    def predictions(self, ids: Sequence[int]) -> Mapping[int, tuple[int, float]]:
        """The class and probability of those images that have them; empty as long as nothing was learned."""
        return {} if self._live is None else self._live.predictions(ids)

    def order(self, ids: Callable[[], list[int]], by: str, key: tuple[object, ...]) -> list[int]:
        """Images, those to look at first in the first place; as they come while nothing was learned.

        :param key: what the ids depend on: of the same ones, and of the same head, the order is computed once.
        """
        if self._live is None:
            return ids()
        whole = (by, *key, self._live.view_id)
        if self._order is None or self._order[0] != whole:
            self._order = whole, self._live.order(ids(), "suggested" if by == "suggested" else "uncertainty")
        return self._order[1]

    def _open(self) -> None:
        try:
            from headstart.workflow.live import LiveClassifier, LiveSettings
            from headstart.workflow.live.jobs import Jobs

            if self._closed.is_set():
                return
            self._jobs = Jobs(self._project, self.settings, self._tell)
            live = LiveClassifier(self._project, LiveSettings(fit=self.settings), self._tell)
            live.start()
            self._live = live
        except (HeadstartError, OSError, ImportError) as failure:
            self._failure = str(failure)
            self._tell("learning", {"phase": "failed", "message": self._failure})

    def _refusal(self) -> Refusal:
        again = "" if self._failure else ": try again in a few seconds"
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{self.message}{again}")


def settings_of(project: Project, settings: FitSettings, *, keep_model: bool) -> FitSettings:
    """The settings with the network and the value range of the project, which are noted in it.

    :param keep_model: whether it stays the one that it was before. A value range stays where no other one is given.
    """
    before = project.settings()
    if keep_model and _MODEL in before:
        settings = replace(settings, model=before[_MODEL])
    if settings.value_range is None and _VALUE_RANGE in before:
        settings = replace(settings, value_range=before[_VALUE_RANGE])
    for key, value in ((_MODEL, settings.model), (_VALUE_RANGE, settings.value_range)):
        if value is not None and before.get(key) != value:
            project.set_setting(key, value)
    return settings
