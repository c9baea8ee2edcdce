"""Runs side by side, on the images that all of them were evaluated on: from run folders to one comparison. No torch."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import __version__
from headstart.data.uri import display_name
from headstart.data.value_range import ValueRange
from headstart.documents import encode
from headstart.errors import OutputError, RunError, SettingsError, did_you_mean
from headstart.evaluate.comparison import (
    COMPARISON_FORMAT,
    ChangedImage,
    ComparedPair,
    ComparedRun,
    Comparison,
    DifferingSetting,
)
from headstart.evaluate.paired import Differences, Figures, compare_outcomes
from headstart.files import check_writable, is_stream
from headstart.report.collect import value_ranges
from headstart.report.comparison import is_comparison_page, write_comparison
from headstart.workflow.compared_run import Key, Side, read_sides
from headstart.workflow.comparison_lines import comparison_lines
from headstart.workflow.comparison_notes import notes_of, warnings_of

__all__ = ["CompareResult", "check_page", "compare", "page_path"]

_PLACES = ("cache_dir", "feature_store", "out")  # where files are kept does not change a result
_UNSHARED = (
    "Evaluate both on the same images (`headstart evaluate RUN PHOTOS`) and compare those with --on NAME, or fit them "
    "with the same --seed, so that their splits are the same."
)


@dataclass(frozen=True, eq=False)
class _Shared:
    """The images that are compared, M of them, in the order of the baseline."""

    by: Key
    keys: list[str]
    rows: list[NDArray[np.int64]]  # per run, (M,): the rows of its evaluated images
    label_conflicts: int
    repeated: int  # images with the content of another one of the same run


@dataclass(frozen=True)
class CompareResult:
    """A comparison, and what its page needs to show the images."""

    comparison: Comparison
    value_ranges: tuple[ValueRange, ...] = ()  # black and white of pixels that are not 8-bit

    def lines(self) -> list[str]:
        """Text for a terminal."""
        return comparison_lines(self.comparison)

    def json(self) -> str:
        """The comparison as an indented JSON document."""
        document = encode(self.comparison, version=COMPARISON_FORMAT)
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)

    def write(self, path: Path) -> Path:
        """Write the page and return its path."""
        return write_comparison(self.comparison, path, value_ranges=self.value_ranges)


def compare(
    runs: Sequence[str | Path], *, baseline: str | None = None, on: str | None = None, arguments: Sequence[str] = ()
) -> CompareResult:
    """Compare runs on the images that all of them were evaluated on, each with the baseline.

    Images are the same if their content is; in runs without content hashes, if their paths are. Images whose label is
    not the same in all runs are left out. A run that was fitted to one of the compared images has figures, but no
    differences.

    :param runs: two or more run folders, or folders of evaluations.
    :param baseline: one of ``runs``, by its path or name; by default the first.
    :param on: the name of an evaluation in each run, whose images are compared instead of those of the fits.
    :param arguments: the command line as typed.
    :raises SettingsError: fewer than two runs are given, one is given twice, or the baseline is not among them.
    :raises RunError: a run is missing or damaged, the runs share no image, or no image has the same label in all of
        them, or the baseline was fitted to the images.
    """
    if len(runs) < 2:
        raise SettingsError(f"compare needs at least two runs, got {len(runs)}; name another run folder")
    sides = read_sides([Path(run) for run in runs], on=on)
    base = _baseline(sides, baseline)
    shared = _shared(sides, base)
    fitted = [side.fitted(shared.keys, shared.by) for side in sides]
    fair = [number for number in range(len(sides)) if not fitted[number]]
    if fair and base not in fair:
        raise RunError(
            f"{sides[base].folder}: the baseline was fitted to {fitted[base]:,} of the {len(shared.keys):,} compared "
            f"images, so its figures are no measure for others; name another one with --baseline, for example "
            f"--baseline {sides[fair[0]].name}"
        )
    figures, differences = _compared(sides, base, shared)
    compared = tuple(map(_compared_run, sides, figures, fitted))
    pairs = tuple(
        _pair(sides[number], sides[base], shared.rows[number], shared.rows[base], found)
        for number, found in enumerate(differences)
        if found is not None and compared[number].fair and compared[base].fair
    )
    comparison = Comparison(
        baseline=sides[base].name,
        on=on,
        images=len(shared.keys),
        classes=len({sides[base].labels[row] for row in shared.rows[base].tolist()}),
        matched_by=shared.by,
        label_conflicts=shared.label_conflicts,
        runs=compared,
        pairs=pairs,
        settings=_differing(sides),
        warnings=warnings_of(sides, compared, shared.by, shared.label_conflicts, len(shared.keys)),
        notes=notes_of(sides, compared, shared.by, shared.repeated),
        arguments=tuple(arguments),
        headstart=__version__,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    return CompareResult(comparison, value_ranges(sides[base].info, sides[base].manifest))


def _baseline(sides: Sequence[Side], given: str | None) -> int:
    if given is None:
        return 0
    for number, side in enumerate(sides):
        if given in (side.name, str(side.folder)) or (os.path.exists(given) and Path(given).samefile(side.folder)):  # noqa: PTH110 - Path.exists raises for some names
            return number
    names = [side.name for side in sides]
    raise SettingsError(
        f"--baseline {given}: not one of the runs, which are {', '.join(names)}{did_you_mean(given, names)}"
    )


def _shared(sides: Sequence[Side], base: int) -> _Shared:
    """Find the images that all runs were evaluated on, with the same label.

    :raises RunError: there are none.
    """
    by: Key = "content" if all(side.hashed for side in sides) else "path"
    first_rows: list[dict[str, int]] = []
    torn: set[str] = set()  # that have two labels in one run
    for side in sides:
        rows: dict[str, int] = {}
        for row, key in enumerate(side.keys(by)):
            if side.labels[rows.setdefault(key, row)] != side.labels[row]:
                torn.add(key)
        first_rows.append(rows)
    common = [key for key in first_rows[base] if all(key in rows for rows in first_rows)]
    if not common:
        raise RunError(_no_common_image(sides, first_rows))

    def agreed(key: str) -> bool:
        found = {side.labels[rows[key]] for side, rows in zip(sides, first_rows, strict=True)}
        return len(found) == 1 and key not in torn

    keys = [key for key in common if agreed(key)]
    if not keys:
        raise RunError(_no_common_label(sides, by, common[0], len(common)))
    return _Shared(
        by,
        keys,
        [np.array([rows[key] for key in keys], np.int64) for rows in first_rows],
        label_conflicts=len(common) - len(keys),
        repeated=sum(len(side.uris) - len(rows) for side, rows in zip(sides, first_rows, strict=True)),
    )


def _no_common_image(sides: Sequence[Side], first_rows: Sequence[dict[str, int]]) -> str:
    for one, other in combinations(range(len(sides)), 2):
        if first_rows[one].keys().isdisjoint(first_rows[other]):
            names = f"{sides[one].folder} and {sides[other].folder}"
            counts = f"{len(sides[one].uris):,} and {len(sides[other].uris):,}"
            return f"{names}: no image is among those that both were evaluated on ({counts}). {_UNSHARED}"
    names = ", ".join(str(side.folder) for side in sides)
    return f"{names}: no image is among those that all of them were evaluated on. {_UNSHARED}"


def _no_common_label(sides: Sequence[Side], by: Key, key: str, count: int) -> str:
    """The message names two labels of the first such image, which may be those of one run."""
    found = [
        (side, uri, label)
        for side in sides
        for each, uri, label in zip(side.keys(by), side.uris, side.labels, strict=True)
        if each == key
    ]
    one, uri, label = found[0]
    other, other_label = next((side, its) for side, _, its in found if its != label)
    two = other if other is not one else next(side for side in sides if side is not one)
    return (
        f"{one.folder} and {two.folder}: the labels of all {count:,} shared images disagree, for example "
        f"{display_name(uri)} is {label!r} and {other_label!r}; runs are compared on images of the same label"
    )


def _compared(sides: Sequence[Side], base: int, shared: _Shared) -> tuple[list[Figures], list[Differences | None]]:
    labels = [sides[base].labels[row] for row in shared.rows[base].tolist()]
    _, targets = np.unique(labels, return_inverse=True)
    selected = [side.outcomes.select(rows) for side, rows in zip(sides, shared.rows, strict=True)]
    return compare_outcomes(targets.astype(np.int64), selected, baseline=base)


def _compared_run(side: Side, figures: Figures, fitted: int) -> ComparedRun:
    summary, evaluated = side.summary, side.evaluation.summary
    splits = [] if side.fit is None else side.fit.usable.splits
    return ComparedRun(
        name=side.name,
        folder=str(side.folder),
        split=side.evaluation.split,
        images=len(side.uris),
        classes=len(side.classes),
        use=side.use(fitted),
        fitted_images=fitted,
        figures=figures,
        model=side.info.settings.get("model") if summary is None else summary.model,
        train=None if summary is None else summary.train,
        training_images=splits.count("train") or None,
        parameters=None if summary is None else summary.parameters,
        trainable_parameters=None if summary is None else summary.trainable_parameters,
        classifier_bytes=side.classifier_bytes,
        seconds=side.info.seconds,
        seconds_by_stage={} if summary is None else dict(summary.seconds),
        images_per_second=None if evaluated is None else evaluated.images_per_second,
    )


def _pair(
    side: Side, base: Side, rows: NDArray[np.int64], base_rows: NDArray[np.int64], found: Differences
) -> ComparedPair:
    right, base_right = side.outcomes.correct[rows], base.outcomes.correct[base_rows]

    def changed(which: NDArray[np.bool_], confidence: NDArray[np.float64]) -> tuple[ChangedImage, ...]:
        numbers = np.flatnonzero(which)
        order = np.argsort(-confidence[numbers], kind="stable")
        return tuple(_changed_image(side, base, int(rows[at]), int(base_rows[at])) for at in numbers[order])

    return ComparedPair(
        side.name,
        found,
        gained=changed(right & ~base_right, base.outcomes.confidence[base_rows]),
        lost=changed(~right & base_right, side.outcomes.confidence[rows]),
    )


def _changed_image(side: Side, base: Side, row: int, base_row: int) -> ChangedImage:
    return ChangedImage(
        uri=base.uris[base_row],
        label=base.labels[base_row],
        predicted=side.classes[side.outcomes.predicted[row]],
        confidence=round(float(side.outcomes.confidence[row]), 6),
        baseline_predicted=base.classes[base.outcomes.predicted[base_row]],
        baseline_confidence=round(float(base.outcomes.confidence[base_row]), 6),
    )


def _differing(sides: Sequence[Side]) -> tuple[DifferingSetting, ...]:
    """Settings, places of the images and versions that are not the same in all runs."""
    tables: list[dict[str, object]] = []
    for side in sides:
        settings = {name: value for name, value in side.info.settings.items() if name not in _PLACES}
        images = {} if side.info.data is None else {"images": side.info.data.root}
        versions = {f"version of {name}": version for name, version in side.info.versions.items()}
        tables.append({**settings, **images, **versions, "version of headstart": side.info.headstart})
    names = dict.fromkeys(name for table in tables for name in table)
    rows = (DifferingSetting(name, tuple(table.get(name) for table in tables)) for name in names)
    return tuple(row for row in rows if any(value != row.values[0] for value in row.values[1:]))


def page_path(comparison: Comparison) -> Path:
    """The page of a comparison by default, ``comparisons/BASELINE-and-RUN.html``: the first such name that is free."""
    others = [run.name for run in comparison.runs if run.name != comparison.baseline]
    rest = others[0] if len(others) == 1 else f"{len(others)}-others"
    name = f"{comparison.baseline}-and-{rest}".replace("/", "-")
    path, number = Path("comparisons") / f"{name}.html", 1
    while os.path.lexists(path):
        number += 1
        path = Path("comparisons") / f"{name}-{number}.html"
    return path


def check_page(path: Path) -> None:
    """Check that a page may be written at a path: nothing is there, or a stream, or an earlier comparison.

    :raises OutputError: another file is there, or the place cannot be written.
    """
    check_writable(path, option="--output")
    if path.exists() and not is_stream(path) and not is_comparison_page(path):
        raise OutputError(
            f"{path}: is there, and not a page of headstart compare, so it is not replaced; give another --output"
        )
