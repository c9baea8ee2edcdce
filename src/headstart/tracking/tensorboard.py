"""TensorBoard: event files in the run folder, ``tensorboard/TIME``, which ``tensorboard --logdir`` shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from headstart.artifacts.run_folder import CARD
from headstart.extras import require_extra

__all__ = ["TensorBoardTracker"]


class TensorBoardTracker:
    """Writes with the writer of torch, which needs the package tensorboard."""

    name = "tensorboard"

    def check(self) -> None:
        """Check that the package is installed.

        :raises SettingsError: it is not; the message has the command that installs it.
        """
        require_extra("tensorboard", ["tensorboard"], what="--track tensorboard")

    def open(self, folder: Path, settings: Mapping[str, object]) -> TensorBoardRun:
        """Begin a folder of its own, so that two fits into one run folder are two curves."""
        place = folder / "tensorboard" / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        return TensorBoardRun(place, settings)


class TensorBoardRun:
    """The event files of one fit."""

    def __init__(self, place: Path, settings: Mapping[str, object]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.where = str(place)
        self._writer: Any = SummaryWriter(str(place))
        cells = [(name, str(value).replace("|", "\\|").replace("\n", " ")) for name, value in settings.items()]
        rows = ["| setting | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in cells)]
        self._writer.add_text("settings", "\n".join(rows))

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Write a scalar per metric."""
        for name, value in metrics.items():
            self._writer.add_scalar(name.replace(":", "-"), value, step)
        self._writer.flush()

    def log_documents(self, run: Path) -> None:
        """Write the model card as a text: TensorBoard keeps no files."""
        self._writer.add_text("model card", (run / CARD).read_text(encoding="utf-8", errors="replace"))

    def close(self) -> None:
        """Write what is not written yet."""
        self._writer.close()
