"""A run folder -> ReportData: everything that the page shows, read, checked and chosen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.manifest import Manifest
from headstart.errors import RunError
from headstart.evaluate import worst
from headstart.report.pictures import Choice, Predictions, Thumbnail, choose, thumbnails

__all__ = ["ReportData", "collect"]

WORST = 6  # classes that are shown with pictures
AGAIN = "Run `headstart evaluate` on it again to write it anew."
FIGURES = ("top1", "top5", "balanced_accuracy", "macro_f1", "log_loss", "brier", "ece")
KEYS: dict[str, type] = {
    "part": str,
    "images": int,
    "classes": list,
    "top1": dict,
    "per_class": list,
    "confusion": list,
    "confused_pairs": list,
    "reliability": list,
    "summary": dict,
    "notes": list,
}
ROWS = {
    "per_class": {"class", "images", "precision", "recall", "f1"},
    "confused_pairs": {"true", "predicted", "images", "share"},
    "reliability": {"low", "high", "images", "confidence", "accuracy"},
}
# What not every evaluation has.
SECTIONS = {
    "calibration": {"temperature", "cross_fitted", "before", "after"},
    "sets": {"coverage", "cross_fitted", "covered", "mean_size", "sizes", "least"},
    "novelty": {"inside", "threshold", "cross_fitted", "strange", "bars"},
    "seeds": {"seeds", "accuracy", "log_loss", "mean", "sd"},
}
LADDER = {"rung", "accuracy", "chosen"}
SECTION_ROWS = (
    ("sets", "sizes", {"size", "images", "covered"}),
    ("novelty", "bars", {"low", "high", "images"}),
)
INTERVALS = (
    ("calibration", "before", "log_loss"),
    ("calibration", "before", "ece"),
    ("calibration", "after", "log_loss"),
    ("calibration", "after", "ece"),
    ("sets", "covered"),
    ("sets", "mean_size"),
    ("sets", "least", "covered"),
    ("novelty", "strange"),
)


@dataclass(frozen=True)
class ReportData:
    """What the page shows. Uris are those of the manifest; ``thumbnails`` has one entry a uri in ``choice``."""

    name: str  # of the run folder
    settings: dict[str, Any]  # settings.json
    evaluation: dict[str, Any]  # evaluation.json
    history: list[dict[str, Any]]  # history.jsonl, a line an epoch; empty where there was no training to record
    images: Manifest
    predictions: Predictions
    choice: Choice
    thumbnails: dict[str, Thumbnail]


def collect(run: Path, *, seed: int = 0) -> ReportData:
    """Read a run folder and choose its pictures; the same seed chooses the same.

    ``history.jsonl`` may be missing. Raises :class:`~headstart.errors.RunError` that names the file if another is
    missing, if one is damaged, or if two do not belong together. Pictures that are gone are no error: their thumbnail
    says so.
    """
    if not run.is_dir():
        raise RunError(f"{run}: no such run folder. Give the folder that `headstart fit` wrote.")
    settings = _json(run / "settings.json")
    for key in ("settings", "versions"):
        if not isinstance(settings.setdefault(key, {}), dict):
            raise RunError(f"{run / 'settings.json'}: damaged: {key!r} must be there, as dict.")
    evaluation = _evaluation(run / "evaluation.json")
    images = _manifest(run / "manifest.parquet")
    predictions = _predictions(run / "predictions.parquet", evaluation)
    choice = choose(images.usable, predictions, evaluation["confused_pairs"], worst(evaluation, most=WORST), seed=seed)
    return ReportData(
        name=run.resolve().name,
        settings=settings,
        evaluation=evaluation,
        history=_history(run / "history.jsonl"),
        images=images,
        predictions=predictions,
        choice=choice,
        thumbnails=thumbnails(choice.uris),
    )


def _json(path: Path) -> dict[str, Any]:
    return _object(_read(path), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error


def _missing(path: Path) -> RunError:
    return RunError(f"{path}: missing. A report needs it; give a folder that `headstart fit` finished.")


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise RunError(f"{where}: damaged, not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise RunError(f"{where}: damaged: it must hold a JSON object, not {type(value).__name__}.")
    return value


def _history(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = enumerate(_read(path).splitlines(), 1)
    rows = [(number, _object(line, f"{path}, line {number}")) for number, line in lines if line.strip()]
    for number, row in rows:
        if row.get("stage") not in ("head", "tail") or "epoch" not in row:
            raise RunError(f'{path}, line {number}: damaged: it must have "stage" (head or tail) and "epoch".')
    return [row for _, row in rows]


def _evaluation(path: Path) -> dict[str, Any]:
    found = {"summary": {}, "notes": [], **_json(path)}
    for key, kind in KEYS.items():
        if not isinstance(found.get(key), kind):
            raise RunError(f"{path}: damaged: {key!r} must be there, as {kind.__name__}. {AGAIN}")
    checks = [(key, found[key], {"value", "low", "high"}) for key in FIGURES if key in found]
    checks += [(key, row, columns) for key, columns in ROWS.items() for row in found[key]]
    for key, row, columns in checks:
        if not isinstance(row, dict) or not columns <= row.keys():
            raise RunError(f"{path}: damaged: {key!r} must have {', '.join(sorted(columns))}. {AGAIN}")
    _check_sections(path, found)
    classes = len(found["classes"])
    if len(found["per_class"]) != classes or [len(row) for row in found["confusion"]] != [classes] * classes:
        raise RunError(f"{path}: damaged: per_class and confusion must have {classes} rows, one a class. {AGAIN}")
    return found


def _check_sections(path: Path, found: dict[str, Any]) -> None:
    """Look at the sections that are there; the others are not missed."""
    ladder = found.get("ladder", [])
    checks = [(key, found[key], columns) for key, columns in SECTIONS.items() if key in found]
    checks += [("ladder", row, LADDER) for row in (ladder if isinstance(ladder, list) else [ladder])]
    for key, section, columns in checks:
        if not isinstance(section, dict) or not columns <= section.keys():
            raise RunError(f"{path}: damaged: {key!r} must have {', '.join(sorted(columns))}. {AGAIN}")
    for key, *rest in INTERVALS:
        figure = found.get(key)
        for name in rest:
            figure = figure.get(name) if isinstance(figure, dict) else None
        if key in found and not (isinstance(figure, dict) and figure.keys() >= {"value", "low", "high"}):
            raise RunError(f"{path}: damaged: {'.'.join([key, *rest])!r} must have high, low, value. {AGAIN}")
    for key, name, columns in SECTION_ROWS:
        rows = found[key][name] if key in found else [dict.fromkeys(columns)]
        fit = isinstance(rows, list) and all(isinstance(row, dict) and columns <= row.keys() for row in rows)
        if not fit or not rows:
            raise RunError(f"{path}: damaged: '{key}.{name}' must have {', '.join(sorted(columns))}. {AGAIN}")


def _manifest(path: Path) -> Manifest:
    if not path.exists():
        raise _missing(path)
    return Manifest.read(path)


def _predictions(path: Path, evaluation: dict[str, Any]) -> Predictions:
    """The labelled rows, checked to be those that ``evaluation`` tells of."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise _missing(path)
    try:
        # A plain file, not a data set: folders named like a=1 above it must not become columns.
        table = pq.ParquetFile(path).read(columns=["uri", "label", "probabilities"])
        classes = json.loads(table.schema.metadata[b"classes"])
        uris, labels = table["uri"].to_pylist(), table["label"].to_pylist()
        shares = table["probabilities"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: damaged: {error}. {AGAIN}") from error
    if shares.shape[1] != len(classes):
        raise RunError(f"{path}: damaged: {len(classes)} classes, but probabilities of shape {shares.shape}. {AGAIN}")
    index = {name: number for number, name in enumerate(classes)}
    rows = [row for row, label in enumerate(labels) if label in index]
    if classes != evaluation["classes"] or len(rows) != evaluation["images"]:
        raise RunError(
            f"{path}: has {len(rows)} labelled images of {len(classes)} classes, but evaluation.json beside it tells "
            f"of {evaluation['images']} of {len(evaluation['classes'])}: not the same evaluation. {AGAIN}"
        )
    return Predictions(
        uris=[uris[row] for row in rows],
        targets=np.array([index[labels[row]] for row in rows], dtype=np.int64),
        probabilities=shares[rows],
        classes=classes,
    )
