"""A run folder: the files that a fit or an evaluation leaves, each written whole. No torch.

===================  ==========================================================================
settings.json        :class:`~headstart.evaluate.schema.RunInfo`: command, settings, versions
evaluation.json      :class:`~headstart.evaluate.schema.Evaluation`
history.jsonl        one :class:`~headstart.evaluate.schema.EpochRecord` per line
manifest.parquet     all images, with their split and problem
problems.csv         the images that could not be used
corrections.csv      the images whose labels were corrected, and those left out; only if there are any
predictions.parquet  the evaluated images: uri, split, label, probabilities
saliency.parquet     where the network looked in the images that the report shows
classes.csv          metrics per class
===================  ==========================================================================

A fit adds ``classifier/``, and ``events.jsonl``: what the last fit into this folder told, also one that was stopped.
``headstart report`` adds ``report.html``, and to a classifier ``README.md``, its model card.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart import __version__
from headstart.artifacts.saliency_file import ExampleSaliency, read_saliency
from headstart.data.corrections import write_changes
from headstart.data.manifest import Manifest
from headstart.data.parquet import read_parquet, write_parquet
from headstart.description import DataDescription
from headstart.documents import file_checksum
from headstart.errors import RunError
from headstart.evaluate import per_class_csv
from headstart.evaluate.metrics import decisions
from headstart.evaluate.schema import (
    EpochRecord,
    Evaluation,
    RunInfo,
    read_evaluation,
    read_history,
    read_run_info,
    write_evaluation,
    write_history,
    write_run_info,
)
from headstart.files import finish_replacing, write_text

__all__ = [
    "CARD",
    "CARD_MARKER",
    "CORRECTIONS",
    "Predictions",
    "Run",
    "check_files",
    "is_own_card",
    "read_predictions",
    "read_run",
    "remove_evaluations",
    "run_info",
    "write_predictions",
    "write_run",
]

# Packages whose version can change a result.
PACKAGES = ("torch", "torchvision", "timm", "openvino", "numpy", "scipy", "scikit-learn", "pillow")
# The files of a run that are read back, other than those that have checksums of their own fields.
FILES = ("classifier/model.json", "history.jsonl", "manifest.parquet", "predictions.parquet", "saliency.parquet")
CORRECTIONS = "corrections.csv"
# Every file of an evaluation, and of a run beside its classifier.
DOCUMENTS = (
    *("settings.json", "evaluation.json", "history.jsonl", "manifest.parquet", "problems.csv", "predictions.parquet"),
    *("saliency.parquet", "classes.csv", "events.jsonl", "report.html", CORRECTIONS),
)
CARD = "README.md"
CARD_MARKER = "<!-- Written by headstart, and anew by headstart report. Remove this line to keep your own changes. -->"
_REMEDY = "Run `headstart evaluate` or `headstart fit` again to write it anew."


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labeled images and their predicted probabilities."""

    uris: tuple[str, ...]  # N
    targets: NDArray[np.int64]  # (N,), indices into classes
    probabilities: NDArray[np.floating[Any]]  # (N, C)
    classes: tuple[str, ...]  # C names, in the order of the columns

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The predicted class of each image, ``(N,)``; a tie counts against the model."""
        return decisions(self.targets, self.probabilities)


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder in memory."""

    folder: Path
    info: RunInfo
    evaluation: Evaluation
    history: tuple[EpochRecord, ...]  # empty if nothing was trained
    manifest: Manifest
    predictions: Predictions  # of the images that `evaluation` is about
    saliency: tuple[ExampleSaliency, ...] = ()  # empty if the network has no map, or none was made

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.resolve().name


def run_info(
    command: Literal["fit", "evaluate"],
    settings: Mapping[str, Any],
    *,
    arguments: Sequence[str] = (),
    seeds: Sequence[int] = (),
    seconds: float | None = None,
    data: DataDescription | None = None,
) -> RunInfo:
    """Describe how a run is made, with the current time and the versions of Python and the packages.

    :param settings: by name, as plain JSON values.
    :param arguments: the command line as typed.
    :param seeds: all seeds that were used.
    :param seconds: duration of the command.
    :param data: how the images and labels were read.

    >>> run_info("fit", {"seed": 0}, arguments=["headstart", "fit", "photos"]).arguments
    ('headstart', 'fit', 'photos')
    """
    return RunInfo(
        command=command,
        settings={name: _unicode(value) if isinstance(value, str) else value for name, value in settings.items()},
        headstart=__version__,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        seconds=seconds,
        arguments=tuple(map(_unicode, arguments)),
        seeds=tuple(seeds),
        versions={"python": platform.python_version()}
        | {name: found for name in PACKAGES if (found := _version(name)) is not None},
        data=data,
    )


def _unicode(text: str) -> str:
    """A text that JSON can hold: the bytes of a path that is not UTF-8 are escaped."""
    return text.encode(errors="backslashreplace").decode()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_run(
    folder: Path,
    *,
    info: RunInfo,
    evaluation: Evaluation,
    history: Sequence[EpochRecord],
    manifest: Manifest,
    split: Manifest,
    probabilities: NDArray[np.floating[Any]],
    classes: Sequence[str],
) -> None:
    """Write all files of a run but the report, and the classifier and ``saliency.parquet``, which are there already.

    :param manifest: all images.
    :param split: the evaluated images, N.
    :param probabilities: of the evaluated images, ``(N, C)``.
    :param classes: the C class names, in the order of the columns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_history(folder / "history.jsonl", tuple(history))
    manifest.write(folder / "manifest.parquet")
    manifest.write_problems(folder / "problems.csv")
    if manifest.corrections:
        write_changes(folder / CORRECTIONS, manifest.corrections)
    write_predictions(folder / "predictions.parquet", split, probabilities, classes)
    write_evaluation(folder / "evaluation.json", evaluation)
    write_text(folder / "classes.csv", per_class_csv(evaluation))
    # Last, since it states the content of the others: files of two runs are not taken for one.
    files = {name: file_checksum(folder / name) for name in FILES if (folder / name).is_file()}
    write_run_info(folder / "settings.json", replace(info, files=files))


def remove_evaluations(folder: Path) -> int:
    """Remove the evaluations in a run, its report and its list of corrections; return how many evaluations there were.

    Files that headstart has not written stay.
    """
    for name in ("report.html", CORRECTIONS):
        (folder / name).unlink(missing_ok=True)
    if is_own_card(folder / CARD):
        (folder / CARD).unlink(missing_ok=True)
    found = [path.parent for path in (folder / "evaluations").glob("*/evaluation.json")]
    for each in found:
        for name in DOCUMENTS:
            (each / name).unlink(missing_ok=True)
    for each in (*found, folder / "evaluations"):
        with suppress(OSError):  # not there, or not empty
            each.rmdir()
    return len(found)


def is_own_card(path: Path) -> bool:
    """Whether a model card may be replaced or removed: there is none, a link, or one with the line that says so."""
    if path.is_symlink() or not path.exists():
        return True
    return path.is_file() and CARD_MARKER in path.read_text(encoding="utf-8", errors="replace")


def read_run(folder: Path) -> Run:
    """Read what :func:`write_run` wrote.

    :raises RunError: the folder or a file is missing or damaged, or two files do not belong together; the message
        names the file.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder. Pass the folder that `headstart fit` wrote.")
    finish_replacing(folder)
    manifest = folder / "manifest.parquet"
    if not manifest.exists():
        raise _missing(manifest)
    evaluation = _checked(read_evaluation(folder / "evaluation.json"), folder / "evaluation.json")
    info = read_run_info(folder / "settings.json")
    run = Run(
        folder=folder,
        info=info,
        evaluation=evaluation,
        history=read_history(folder / "history.jsonl"),
        manifest=Manifest.read(manifest),
        predictions=_matching(read_predictions(folder / "predictions.parquet"), evaluation, folder),
        saliency=_saliency(folder / "saliency.parquet", info),
    )
    check_files(folder, run.info)  # at the end, since the readers tell more precisely what is wrong
    return run


def check_files(folder: Path, info: RunInfo) -> None:
    """Check that the files of a run are those that were written with its ``settings.json``.

    :raises RunError: a file is missing, was changed, or is of another run.
    """
    for name, expected in info.files.items():
        path = folder / name
        try:
            found = file_checksum(path)
        except FileNotFoundError:
            raise _missing(path) from None
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error}. {_REMEDY}") from error
        if found != expected:
            raise RunError(f"{path}: was changed after the settings.json beside it was written. {_REMEDY}")


def write_predictions(
    path: Path, manifest: Manifest, probabilities: NDArray[np.floating[Any]], classes: Sequence[str]
) -> None:
    """Write the probabilities ``(N, C)`` of N images as Parquet; the class names are in the metadata of the schema."""
    import pyarrow as pa

    values = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.ravel()), len(classes))
    table = manifest.table.select(["uri", "split", "label"]).append_column("probabilities", values)
    write_parquet(path, table.replace_schema_metadata({"classes": json.dumps(list(classes), ensure_ascii=False)}))


def read_predictions(path: Path) -> Predictions:
    """Read the labeled images of a file that :func:`write_predictions` wrote.

    :raises RunError: the file is missing or damaged.
    """
    import pyarrow as pa

    try:
        table = read_parquet(path)
        classes: list[str] = json.loads(table.schema.metadata[b"classes"])
        uris, labels = table["uri"].to_pylist(), table["label"].to_pylist()
        probabilities = table["probabilities"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    except FileNotFoundError:
        raise _missing(path) from None
    except RunError as error:
        raise RunError(f"{error}. {_REMEDY}") from error
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: damaged: {error}. {_REMEDY}") from error
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise RunError(f"{path}: damaged: classes must be a list of names, got {classes!r}. {_REMEDY}")
    if probabilities.shape[1] != len(classes):
        shape = probabilities.shape
        raise RunError(f"{path}: damaged: {len(classes)} classes, but probabilities of shape {shape}. {_REMEDY}")
    if None in uris or not np.isfinite(probabilities).all():
        raise RunError(f"{path}: damaged: a uri is missing, or a probability is not finite. {_REMEDY}")
    index = {name: number for number, name in enumerate(classes)}
    rows = [row for row, label in enumerate(labels) if label in index]
    return Predictions(
        uris=tuple(uris[row] for row in rows),
        targets=np.array([index[labels[row]] for row in rows], dtype=np.int64),
        probabilities=probabilities[rows],
        classes=tuple(classes),
    )


def _missing(path: Path) -> RunError:
    return RunError(f"{path}: missing. {_REMEDY}")


def _checked(evaluation: Evaluation, path: Path) -> Evaluation:
    """Check what the types do not state: one row per class."""
    classes = len(evaluation.classes)
    rows = [len(row) for row in evaluation.confusion_matrix]
    if len(evaluation.per_class) != classes or rows != [classes] * classes:
        raise RunError(
            f"{path}: damaged: per_class and confusion_matrix must have {classes} rows, one per class. {_REMEDY}"
        )
    return evaluation


def _saliency(path: Path, info: RunInfo) -> tuple[ExampleSaliency, ...]:
    if path.name not in info.files:  # written by an earlier version
        return ()
    try:
        return read_saliency(path)
    except RunError as error:
        raise RunError(f"{error}. {_REMEDY}") from error


def _matching(predictions: Predictions, evaluation: Evaluation, folder: Path) -> Predictions:
    if predictions.classes != evaluation.classes or len(predictions.uris) != evaluation.images:
        raise RunError(
            f"{folder / 'predictions.parquet'}: has {len(predictions.uris)} labeled images of "
            f"{len(predictions.classes)} classes, but evaluation.json has {evaluation.images} images of "
            f"{len(evaluation.classes)} classes: they are not from the same evaluation. {_REMEDY}"
        )
    return predictions
