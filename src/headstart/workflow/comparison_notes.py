"""What a reader of a comparison must know of the compared images, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headstart.evaluate.comparison import ComparedRun
from headstart.workflow.compared_run import Key, Side

__all__ = ["notes_of", "warnings_of"]

_FEW = 30  # images, below which intervals are rough
_NAMED = 3  # classes that a sentence names


def warnings_of(
    sides: Sequence[Side], runs: Sequence[ComparedRun], by: Key, label_conflicts: int, images: int
) -> tuple[str, ...]:
    """Sentences about what changes the meaning of the figures.

    :param label_conflicts: shared images that are left out.
    :param images: that are compared.
    """
    return (
        *_fitted(runs, images),
        *_trained_elsewhere(sides, by, images),
        *_choices(runs),
        *_unknown(runs),
        *_other_classes(sides),
        *_conflicts(label_conflicts),
        *_changed_content(sides, by),
        *_grouped(sides),
        *_few(images),
    )


def notes_of(sides: Sequence[Side], runs: Sequence[ComparedRun], by: Key, repeated: int) -> tuple[str, ...]:
    """Sentences about how the images were found.

    :param repeated: images with the content of another one of their run.
    """
    used = {run.use for run in runs}
    notes = []
    if used == {"choices"}:
        notes.append(
            "The compared images are validation images of every run: each was predicted by a classifier that was not "
            "trained on it, but what to train, the L2 penalty and the like were chosen on them by all runs alike."
        )
    elif used == {"cross-validation"}:
        notes.append("Each compared image was predicted by a head that was solved without it (cross-validation).")
    elif used == {"none"}:
        notes.append("No run used the compared images for training or for a choice.")
    own = [side.images_text for side in sides]
    notes.append(f"Images that each run was evaluated on: {', '.join(own)}.")
    if by == "path":
        notes.append("A run has no content hashes of its images, so the same path is taken for the same image.")
    if repeated:
        have = (
            "image has the content of another one of its run and is"
            if repeated == 1
            else ("images have the content of another one of their run and are")
        )
        notes.append(f"{repeated:,} {have} counted once.")
    others = len(runs) - 1
    if others > 1:
        notes.append(
            f"With {others} runs beside the baseline, an interval that leaves out zero is less telling than with one: "
            "each misses the true difference once in 20 times."
        )
    return tuple(notes)


def _fitted(runs: Sequence[ComparedRun], images: int) -> Iterator[str]:
    for run in runs:
        if not run.fair:
            every = "every one" if run.fitted_images == images else f"{run.fitted_images:,}"
            yield (
                f"{run.name} was fitted to {every} of the {images:,} compared images, so its figures on them say "
                "nothing about other images. They are shown, but not compared."
            )


def _trained_elsewhere(sides: Sequence[Side], by: Key, images: int) -> Iterator[str]:
    """Why so few images are shared: those that one run is evaluated on are training images of another."""
    keys = [set(side.keys(by)) for side in sides]
    found = []
    for number, side in enumerate(sides):
        others = set().union(*(each for other, each in enumerate(keys) if other != number)) - keys[number]
        trained = len(side.in_fit(("train", "validation"), by) & others)
        if trained:
            found.append(f"{side.name} was fitted to {trained:,}")
    if found:
        yield (
            f"The runs share {images:,} images only: of the others that a run was evaluated on, {_listed(found)}. "
            "Those are left out."
        )


def _choices(runs: Sequence[ComparedRun]) -> Iterator[str]:
    chosen = [run.name for run in runs if run.use == "choices"]
    rest = [run.name for run in runs if run.use in ("none", "cross-validation")]
    if chosen and rest:
        yield (
            f"The compared images are validation images of {_listed(chosen)}, on which choices were made, but not of "
            f"{_listed(rest)}: the comparison may flatter {_listed(chosen)} a little."
        )


def _unknown(runs: Sequence[ComparedRun]) -> Iterator[str]:
    unknown = [run.name for run in runs if run.use == "unknown"]
    if unknown:
        yield (
            f"headstart cannot know whether {_listed(unknown)} used the compared images in training, since the fit is "
            "not beside the evaluation. If so, the figures are too good."
        )


def _other_classes(sides: Sequence[Side]) -> Iterator[str]:
    known = [set(side.classes) for side in sides]
    every = set.intersection(*known)
    for side, own in zip(sides, known, strict=True):
        extra = sorted(own - every)
        if extra:
            more = f" and {len(extra) - _NAMED:,} more" if len(extra) > _NAMED else ""
            yield (
                f"{side.name} knows {len(extra):,} class{'es' * (len(extra) > 1)} that another run lacks "
                f"({', '.join(extra[:_NAMED])}{more}): their images are not compared, and choosing among more classes "
                "is harder."
            )


def _conflicts(count: int) -> Iterator[str]:
    if count:
        yield f"{count:,} shared images are left out, since the runs disagree on their label."


def _changed_content(sides: Sequence[Side], by: Key) -> Iterator[str]:
    if by == "path":
        return
    first = sides[0]
    for side in sides[1:]:
        changed = sum(side.contents.get(uri, content) != content for uri, content in first.contents.items())
        if changed:
            yield (
                f"{changed:,} images of {first.name} have another content in {side.name}: files were changed between "
                "the runs, and these are not the same images."
            )


def _grouped(sides: Sequence[Side]) -> Iterator[str]:
    groups = max((side.evaluation.groups or 0 for side in sides), default=0)
    if groups:
        yield (
            f"The images belong to {groups:,} groups, but the intervals of the differences, and the p-values, take "
            "images as independent: they are too narrow, or too small."
        )


def _few(images: int) -> Iterator[str]:
    if images < _FEW:
        yield f"{images:,} images are few: the intervals are wide, and those of the bootstrap too narrow."


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence has them.

    >>> _listed(["a"]), _listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
