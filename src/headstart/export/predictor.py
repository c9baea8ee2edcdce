"""An exported file as a classifier: images are decoded here, and everything else happens inside the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.config import EngineSettings
from headstart.data.decode import decoded
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.views import ViewItem, read_item
from headstart.errors import ImageProblem, RunError, SettingsError
from headstart.events import Events
from headstart.execution import open_executor
from headstart.export.base import OpenedExport
from headstart.export.registry import format_of_file
from headstart.inference.results import InferenceResult, PredictionSetRule

__all__ = ["ExportedClassifier", "is_exported", "open_exported"]

_CHUNK = 4  # images per task


@dataclass(frozen=True, eq=False)
class ExportedClassifier:
    """An exported file that predicts the class of an image, as :class:`headstart.artifacts.classifier.Classifier`."""

    opened: OpenedExport
    path: Path | None = None  # of the file, which another process opens anew; None: only this one can

    def __reduce__(self) -> tuple[Callable[[Path], ExportedClassifier], tuple[Path]]:
        if self.path is None:
            raise TypeError("an exported file without a path cannot be pickled")
        return open_exported, (self.path,)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities."""
        return self.opened.metadata.classes

    @property
    def spec(self) -> InputSpec:
        """The input of the network, which the file itself prepares."""
        return self.opened.metadata.input.spec()

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.opened.metadata.model

    @property
    def sets(self) -> PredictionSetRule | None:
        """The rule of prediction sets, if the classifier was made by a fit."""
        return self.opened.metadata.prediction_sets

    def infer(
        self, manifest: Manifest, *, settings: EngineSettings | None = None, events: Events | None = None
    ) -> InferenceResult:
        """Decode the images of a manifest and run the file, one image at a time; unreadable ones become problems.

        :raises SettingsError: a setting asks for another engine, device or precision than that of the file.
        """
        settings = settings or EngineSettings()
        settings.check()
        _check_settings(settings)
        probabilities: list[NDArray[np.float32]] = []
        scores: list[NDArray[np.float32]] = []
        problems: list[tuple[int, str]] = []
        read = partial(
            _read,
            max_pixels=settings.max_pixels,
            spec=self.spec.with_value_range(settings.value_range),
            min_side=self.opened.metadata.min_side,
        )
        with (
            open_executor(len(manifest), workers=settings.workers, kind="threads") as executor,
            (events or Events()).stage("predicting", total=len(manifest)) as advance,
        ):
            for batch in executor.map(read, _tasks(manifest), ahead=executor.workers + 1):
                for row, pixels, problem in batch:
                    if pixels is None:
                        problems.append((row, problem))
                    else:
                        values, score = self.opened.run(pixels[None])
                        probabilities.append(values)
                        scores += [] if score is None else [score]
                    advance(1)
        return self._result(probabilities, scores, problems)

    def for_parts(
        self,
        manifest: Manifest,  # noqa: ARG002 - images are predicted one at a time
        settings: EngineSettings,
    ) -> Callable[[Manifest], InferenceResult]:
        """What predicts parts of a manifest as :meth:`infer` predicts the whole; it can be pickled."""
        return partial(self.infer, settings=settings)

    def _result(
        self,
        probabilities: Sequence[NDArray[np.float32]],
        scores: Sequence[NDArray[np.float32]],
        problems: Sequence[tuple[int, str]],
    ) -> InferenceResult:
        values = np.concatenate([np.empty((0, len(self.classes)), np.float32), *probabilities])
        members = None if self.sets is None else self.sets.apply(values)
        threshold = self.opened.metadata.ood_threshold
        if threshold is None:
            return InferenceResult(values, members, problems=tuple(problems))
        score = np.concatenate([np.empty(0), *scores]).astype(np.float64)
        return InferenceResult(values, members, score, score > threshold, tuple(problems))


class _Decoded(NamedTuple):
    row: int
    pixels: NDArray[np.uint8] | None  # (H, W, 3); None if it cannot be read
    problem: str = ""


def _tasks(manifest: Manifest) -> list[list[ViewItem]]:
    hashes = manifest.hashes
    items = [ViewItem(row, manifest.source(row), (0,), hashes[row]) for row in range(len(manifest))]
    return [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]


def _read(items: Sequence[ViewItem], *, max_pixels: int, spec: InputSpec, min_side: int) -> list[_Decoded]:
    return [_decode(item, max_pixels, spec, min_side) for item in items]


def _decode(item: ViewItem, max_pixels: int, spec: InputSpec, min_side: int) -> _Decoded:
    try:
        content, _ = read_item(item)
        with decoded(content, max_pixels=max_pixels, min_side=min_side, value_ranges=spec.value_ranges) as image:
            return _Decoded(item.row, np.array(image))
    except ImageProblem as problem:
        return _Decoded(item.row, None, problem.reason)


def _check_settings(settings: EngineSettings) -> None:
    """Refuse what the runtime of the file does not do, instead of ignoring it."""
    given = {
        "--engine": (settings.engine, ("auto",)),
        "--device": (settings.device, ("auto", "cpu")),
        "--precision": (settings.precision, ("auto", "float32")),
    }
    wrong = [
        f"{flag} {value}: an exported file is run by its own runtime, on the CPU in float32; omit {flag}"
        for flag, (value, allowed) in given.items()
        if value not in allowed
    ]
    if wrong:
        raise SettingsError(wrong)


def is_exported(path: str | Path) -> bool:
    """Whether a file was written by ``headstart export``."""
    return format_of_file(Path(path)) is not None


def open_exported(path: str | Path) -> ExportedClassifier:
    """Open a file that ``headstart export`` wrote.

    :raises SettingsError: its runtime is not installed.
    :raises RunError: it is damaged, or no such file.
    """
    found = format_of_file(Path(path))
    if found is None:
        raise RunError(f"{path}: was not written by headstart export")
    return ExportedClassifier(found.open(Path(path)), Path(path).absolute())
