"""The classifier of a run of the project, for trying it: the one that was asked last stays open."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.config import EngineSettings, ServeSettings, StudioSettings

if TYPE_CHECKING:
    from headstart.serve.service import Service

__all__ = ["Classifiers"]


class Classifiers:
    """Opens the classifiers of runs as ``headstart serve`` does."""

    def __init__(self, settings: StudioSettings) -> None:
        self._settings = ServeSettings(
            max_megabytes=min(settings.max_megabytes, 4096),
            max_pixels=settings.max_pixels,
            timeout=settings.timeout,
            batch_wait=0.0,
        )
        self._lock = threading.Lock()
        self._open: tuple[Path, Service] | None = None

    def service(self, run: Path) -> Service:
        """The classifier of a run, ready to predict. The first call takes seconds.

        :raises HeadstartError: it cannot be opened.
        """
        with self._lock:
            if self._open is None or self._open[0] != run:
                from headstart.serve.service import Service
                from headstart.workflow.predict import open_classifier

                self._close()
                service = Service(open_classifier(str(run)), self._settings, EngineSettings())
                service.warm_up()
                self._open = run, service
            return self._open[1]

    def close(self) -> None:
        """Finish what has begun."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None
