"""Predictions as a CSV file, written part by part, so that few of them are in memory."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.data.uri import display_name
from headstart.documents import csv_cell
from headstart.errors import OutputError
from headstart.files import atomic_write, reason_of

if TYPE_CHECKING:
    from headstart.workflow.predict import Predictions

__all__ = ["PredictionTable"]

_IN_MEMORY = 1 << 24  # bytes; a longer table is kept in a temporary file until it is complete


class PredictionTable:
    """One row per image: path, the most probable classes with their probabilities, and the problem if any.

    If the classifier was made by a fit, also the prediction set (separated by "; "), and whether the image is out of
    distribution.

    A context manager: at its end, the temporary file is removed.
    """

    def __init__(self, k: int) -> None:
        self.images = 0
        self.readable = 0
        self._k = k
        self._rows = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> PredictionTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def add(self, predictions: Predictions) -> None:
        """Add the rows of further images, by the same classifier as all others.

        :raises OutputError: the folder for temporary files is full.
        """
        with _temporary_file_errors():
            self._rows.write(self._text(predictions).encode(errors="surrogateescape"))  # names that are not UTF-8
        self.images += len(predictions.manifest)
        self.readable += len(predictions.probabilities)

    def write(self, path: Path) -> None:
        """Write all rows so far, atomically.

        :raises OSError: ``path`` cannot be written.
        """
        self._rows.seek(0)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(self._rows, file)

    def _text(self, predictions: Predictions) -> str:
        k = min(self._k, len(predictions.classes))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        top = [f"{what}_{rank}" for rank in range(1, k + 1) for what in ("class", "probability")]
        extra = ["prediction_set"] * (predictions.prediction_sets is not None)
        extra += ["out_of_distribution"] * (predictions.out_of_distribution is not None)
        if not self.images:
            writer.writerow(["path", *top, *extra, "problem"])
        rows = predictions.rows(k)
        for uri, problem in zip(predictions.manifest.uris, predictions.manifest.problems, strict=True):
            cells = [""] * (len(top) + len(extra)) if problem else next(rows).cells()
            writer.writerow(map(csv_cell, [display_name(uri), *cells, problem or ""]))
        return text.getvalue()


@contextmanager
def _temporary_file_errors() -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise OutputError(
            f"{tempfile.gettempdir()}: cannot be written ({reason_of(failure)}); name another folder for temporary "
            "files by TMPDIR"
        ) from failure
