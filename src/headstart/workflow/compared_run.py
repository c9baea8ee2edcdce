"""One of several runs to compare: its predictions, reduced to what each image contributes, and what it used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

from headstart.artifacts.run_folder import Run, check_files, read_run
from headstart.data.manifest import Manifest
from headstart.errors import RunError, SettingsError, did_you_mean
from headstart.evaluate.comparison import Use
from headstart.evaluate.paired import Outcomes, outcomes
from headstart.evaluate.schema import Evaluation, RunInfo, Summary, read_evaluation, read_run_info

__all__ = ["Key", "Side", "read_sides"]

Key: TypeAlias = Literal["content", "path"]
"""What says that images of two runs are the same."""

_EVALUATIONS = "evaluations"
_USE_OF_SPLIT: dict[str, Use] = {"test": "none", "validation": "choices", "cross-validation": "cross-validation"}


@dataclass(frozen=True, eq=False)
class Side:
    """One of the runs: its N evaluated images, and how the classifier was made."""

    name: str
    folder: Path  # as given
    evaluation: Evaluation
    info: RunInfo  # of the fit; without one, of the evaluation
    summary: Summary | None  # likewise
    manifest: Manifest  # of the evaluated images, among others
    fit: Manifest | None  # the images of the fit; None where it is not known
    own: bool  # these are the images of the fit's own evaluation
    uris: tuple[str, ...]  # N
    labels: tuple[str, ...]  # N
    classes: tuple[str, ...]  # in the order of the outcomes
    outcomes: Outcomes
    classifier_bytes: int | None

    @cached_property
    def hashed(self) -> bool:
        """Whether the content of every image is known."""
        return len(self.contents) == len(set(self.uris))

    @property
    def images_text(self) -> str:
        """How many images of which split."""
        return f"{self.name} {len(self.uris):,} ({self.evaluation.split})"

    def keys(self, by: Key) -> list[str]:
        """What the evaluated images are known by, N."""
        return list(self.uris) if by == "path" else [self.contents[uri] for uri in self.uris]

    @cached_property
    def contents(self) -> dict[str, str]:
        """The content hash of each evaluated image, by its URI."""
        known = dict(zip(self.manifest.uris, self.manifest.hashes, strict=True))
        return {uri: content for uri in self.uris if (content := known.get(uri))}

    def in_fit(self, splits: Iterable[str], by: Key) -> set[str]:
        """The keys of the images in these splits of the fit; none where it is not known."""
        if self.fit is None:
            return set()
        wanted, usable = set(splits), self.fit.usable
        rows = zip(usable.uris if by == "path" else usable.hashes, usable.splits, strict=True)
        return {key for key, split in rows if key and split in wanted}

    def fitted(self, shared: Sequence[str], by: Key) -> int:
        """How many of the shared images the classifier that predicted them was fitted to."""
        if not self.own:
            everything = self.evaluation.split == "train"  # as an evaluation calls it where it knows
            return len(shared) if everything else len(self.in_fit(("train", "validation"), by) & set(shared))
        if self.evaluation.split == "cross-validation":  # each image was predicted by a head solved without it
            return 0
        splits = ("train", "validation") if self.evaluation.split == "test" else ("train",)
        return len(self.in_fit(splits, by) & set(shared))

    def use(self, fitted: int) -> Use:
        """What the run used the shared images for, of which ``fitted`` were fitted to."""
        if fitted:
            return "fitted"
        if self.own:
            return _USE_OF_SPLIT.get(self.evaluation.split, "unknown")
        return "none" if self.fit is not None else "unknown"


def read_sides(folders: Sequence[Path], *, on: str | None) -> list[Side]:
    """Read runs, one after the other: the probabilities of one are in memory at a time.

    :param on: the name of an evaluation in each run, to be read instead of the run's own.
    :raises SettingsError: a run is given twice.
    :raises RunError: a run, or its evaluation, is missing or damaged.
    """
    places = [_place(folder, on) for folder in folders]
    for folder, times in Counter(place.resolve() for place in places).items():
        if times > 1:
            twice = [str(given) for given, place in zip(folders, places, strict=True) if place.resolve() == folder]
            named = " and ".join(dict.fromkeys(twice))
            raise SettingsError(f"{named}: given twice, and a run does not differ from itself; give another run")
    return [
        _read(place, folder, name) for place, folder, name in zip(places, folders, unique_names(places), strict=True)
    ]


def unique_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart; evaluations of one name have the names of their runs.

    >>> unique_names([Path("runs/a"), Path("runs/b/evaluations/new")])
    ['a', 'b/evaluations/new']
    >>> unique_names([Path("old/a/evaluations/new"), Path("now/a/evaluations/new")])
    ['old/a', 'now/a']
    """
    parts = [folder.resolve().parts for folder in folders]
    if len({each[-2:] for each in parts}) == 1 and parts[0][-2:-1] == (_EVALUATIONS,):
        parts = [each[:-2] for each in parts]
    return [_shortest(each, parts) for each in parts]


def _shortest(own: tuple[str, ...], parts: Sequence[tuple[str, ...]]) -> str:
    least = 3 if own[-2:-1] == (_EVALUATIONS,) else 1
    for length in range(least, len(own)):
        end = own[-length:]
        if sum(each[-length:] == end for each in parts) == 1:
            return "/".join(end)
    return "/".join(own)


def _place(folder: Path, on: str | None) -> Path:
    """The folder whose predictions are compared."""
    if on is None or not folder.is_dir():  # of which reading it tells
        return folder
    found = sorted(path.parent.name for path in (folder / _EVALUATIONS).glob("*/evaluation.json"))
    if on not in found:
        there = f"it has {', '.join(found)}" if found else "it has none"
        raise RunError(
            f"{folder}: no evaluation {on!r}; {there}{did_you_mean(on, found)}. "
            f"Run `headstart evaluate {folder} PHOTOS`, which names it as PHOTOS is named."
        )
    return folder / _EVALUATIONS / on


def _read(place: Path, given: Path, name: str) -> Side:
    run = read_run(place)
    predictions = run.predictions
    info, summary, fit = _fit_of(run)
    return Side(
        name=name,
        folder=given,
        evaluation=run.evaluation,
        info=info,
        summary=summary,
        manifest=run.manifest,
        fit=fit,
        own=run.info.command == "fit",
        uris=predictions.uris,
        labels=tuple(predictions.classes[target] for target in predictions.targets.tolist()),
        classes=predictions.classes,
        outcomes=outcomes(predictions.targets, predictions.probabilities),
        classifier_bytes=_size(place if run.info.command == "fit" else _parent(place)),
    )


def _parent(place: Path) -> Path | None:
    """The run that an evaluation is of; None where it stands elsewhere, so that the run is not known."""
    folder = place.resolve().parent
    return folder.parent if folder.name == _EVALUATIONS else None


def _fit_of(run: Run) -> tuple[RunInfo, Summary | None, Manifest | None]:
    """How the classifier was made, and from which images, as far as it is known."""
    unknown = run.info, run.evaluation.summary, None
    if run.info.command == "fit":
        return run.info, run.evaluation.summary, run.manifest
    parent = _parent(run.folder)
    if parent is None or not ((parent / "classifier").is_dir() and (parent / "manifest.parquet").is_file()):
        return unknown
    info = read_run_info(parent / "settings.json")
    if info.command != "fit":
        return unknown
    check_files(parent, info)
    summary = read_evaluation(parent / "evaluation.json").summary
    return info, summary, Manifest.read(parent / "manifest.parquet")


def _size(folder: Path | None) -> int | None:
    """The bytes of the classifier in a run."""
    if folder is None or not (folder / "classifier").is_dir():
        return None
    return sum(path.stat().st_size for path in (folder / "classifier").rglob("*") if path.is_file())
