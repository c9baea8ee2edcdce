"""Trackio: a run of the project "headstart", in the folder ``TRACKIO_DIR``, or where Trackio keeps its runs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart.artifacts.run_folder import CARD
from headstart.extras import require_extra

__all__ = ["TrackioTracker"]

_PROJECT = "headstart"
_REPORT = "report.html"


class TrackioTracker:
    """Logs with Trackio's client. Nothing leaves this machine."""

    name = "trackio"

    def check(self) -> None:
        """Check that the package is installed.

        :raises SettingsError: it is not; the message has the command that installs it.
        """
        require_extra("trackio", ["trackio"], what="--track trackio")

    def open(self, folder: Path, settings: Mapping[str, object]) -> TrackioRun:
        """Begin a run that is named as the folder."""
        return TrackioRun(folder.resolve().name, settings)


class TrackioRun:
    """A run of the project."""

    def __init__(self, name: str, settings: Mapping[str, object]) -> None:
        import trackio

        self._markdown: Any = trackio.Markdown
        self._finish: Any = trackio.finish  # of the run that init has begun; at exit it would be ended once more
        with _silenced():
            self._run: Any = trackio.init(
                _PROJECT, name=name, config=dict(settings), auto_log_gpu=False, auto_log_cpu=False, embed=False
            )
        self.where = f"project {_PROJECT}, run {self._run.name}, in {trackio.TRACKIO_DIR}"

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Write the values of a step."""
        self._run.log(dict(metrics), step=step)

    def log_documents(self, run: Path) -> None:
        """Write the model card as a text, and the report as an artifact."""
        self._run.log(
            {"model card": self._markdown((run / CARD).read_text(encoding="utf-8", errors="replace"))}, step=0
        )
        if (run / _REPORT).is_file():
            with _silenced():
                self._run.log_artifact(str(run / _REPORT), name=f"{run.resolve().name}-report", type="report")

    def close(self) -> None:
        """Write what is not written yet."""
        with _silenced():
            self._finish()


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Standard output is that of headstart, which others may read; Trackio writes advice to it."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
