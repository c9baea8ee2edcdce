"""Evaluation of a classifier on labeled images, and its run folder."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.artifacts.run_folder import CORRECTIONS, run_info, write_run
from headstart.artifacts.saliency_file import write_saliency
from headstart.config import EngineSettings
from headstart.data.groups import grouped
from headstart.data.manifest import Manifest
from headstart.errors import OutputError, RunError
from headstart.evaluate import evaluate as compute_metrics
from headstart.evaluate import worst_classes
from headstart.evaluate.schema import Evaluation, LeakedImages, Summary
from headstart.events import Events
from headstart.files import replace_together
from headstart.models.class_names import align
from headstart.workflow.predict import Predictions, Predictor, predict
from headstart.workflow.reading import inspect_images, require_labels
from headstart.workflow.saliency import explain_examples
from headstart.workflow.value_ranges import warn_of_other_ranges

__all__ = [
    "check_folder",
    "evaluate",
    "evaluation_folder",
    "evaluation_lines",
    "images_of_run",
    "save_evaluation",
    "select_labeled",
]

_UNKNOWN = "headstart cannot know whether these images were used in training; if they were, the figures are too good."
_UNSEEN = (
    "None of these images was used to fit the classifier: their content was compared with that of the run's images."
)
_SEEN = "The classifier was fitted to every one of these images, so the figures say nothing about other images."


def evaluate(
    classifier: Predictor,
    manifest: Manifest,
    settings: EngineSettings | None = None,
    *,
    cluster: str | None = None,
    fitted_to: Collection[str] | None = None,
    events: Events | None = None,
) -> tuple[Predictions, Evaluation]:
    """Evaluate a classifier on labeled images.

    Images that it was fitted to are left out of the metrics, unless there are no others.

    :param cluster: whose workers predict, as in :class:`headstart.config.ClusterSettings`; None: this process.
    :param fitted_to: content hashes of the images that the classifier was fitted to, as :func:`images_of_run` gives
        them; None: unknown.
    :raises DataError: no image has a label, or a label is none of the classifier's classes.
    :raises SettingsError: a setting is invalid, or the device or engine is not available.
    """
    settings, events = settings or EngineSettings(), events or Events()
    settings.check()
    labeled = select_labeled(manifest, classifier.classes)
    inspected = inspect_images(labeled, settings, events=events).with_column("split", ["test"] * len(labeled))
    warn_of_other_ranges(inspected, classifier.spec, settings, events=events)
    usable = inspected.usable
    start = time.monotonic()
    targets = usable.targets(classifier.classes)
    predictions = predict(classifier, usable, settings, cluster=cluster, events=events, targets=targets)
    seconds = time.monotonic() - start
    problems = iter(predictions.manifest.problems)
    inspected = inspected.with_column("problem", [problem or next(problems) for problem in inspected.problems])
    usable = inspected.usable
    predictions = replace(predictions, manifest=inspected)
    seen = np.array([content in (fitted_to or ()) for content in inspected.usable.hashes], bool)
    leaks, notes = None, [_UNKNOWN if fitted_to is None else _SEEN if seen.all() else _UNSEEN]
    if seen.any() and not seen.all():
        leaks = LeakedImages(int(seen.sum()), _metrics(predictions, classifier).top1)
        notes = [leaks.note(), *notes]
        predictions = _without(predictions, seen)
        events.warn(notes[0])
    evaluation = _metrics(predictions, classifier, split="train" if seen.all() else "test")
    summary = Summary(
        model=classifier.model,
        images={evaluation.split: evaluation.images},
        problems=len(inspected.unusable),
        seconds={"predicting": round(seconds, 2)},
        images_per_second=round(len(seen) / max(seconds, 1e-9), 1),
    )
    notes = [*notes, *evaluation.notes]
    return predictions, replace(evaluation, leaks=leaks, summary=summary, notes=tuple(notes))


def images_of_run(classifier: str | Path) -> frozenset[str] | None:
    """The content hashes of the images to which a run's classifier was fitted; None where there is no run.

    :raises RunError: the manifest of the run is damaged.
    """
    manifest = Path(classifier) / "manifest.parquet"
    if not (Path(classifier) / "classifier").is_dir() or not manifest.is_file():
        return None
    usable = Manifest.read(manifest).usable
    rows = zip(usable.hashes, usable.splits, strict=True)
    return frozenset(content for content, split in rows if content and split in ("train", "validation"))


def _metrics(predictions: Predictions, classifier: Predictor, split: str = "test") -> Evaluation:
    usable = predictions.manifest.usable
    targets, groups = usable.targets(classifier.classes), grouped(usable)
    return compute_metrics(targets, predictions.probabilities, classifier.classes, split=split, groups=groups)


def _without(predictions: Predictions, seen: NDArray[np.bool_]) -> Predictions:
    """The predictions without some of the usable images."""
    usable = np.flatnonzero([problem is None for problem in predictions.manifest.problems])
    kept = np.ones(len(predictions.manifest), bool)
    kept[usable[seen]] = False
    sets, unknown = predictions.prediction_sets, predictions.out_of_distribution
    return replace(
        predictions,
        manifest=predictions.manifest.select(kept),
        probabilities=predictions.probabilities[~seen],
        prediction_sets=None if sets is None else sets[~seen],
        out_of_distribution=None if unknown is None else unknown[~seen],
    )


def select_labeled(manifest: Manifest, classes: Sequence[str]) -> Manifest:
    """Select the images with a label, and replace each label by the class that it means.

    :raises DataError: no image has a label, or a label is none of the classes.
    """
    labeled = require_labels(manifest)
    aligned = align(labeled.classes, classes)
    return labeled.with_column("label", [aligned[str(label)] for label in labeled.labels])


def save_evaluation(
    predictions: Predictions,
    evaluation: Evaluation,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    arguments: Sequence[str] = (),
    classifier: Predictor | None = None,
) -> Path:
    """Write what a report needs: a run folder without a classifier.

    The files of an earlier evaluation in the folder are replaced together, and its report is removed.

    :param settings: by name, as plain JSON values.
    :param arguments: the command line as typed.
    :param classifier: the one that was evaluated; by it, the report shows where the network looked.
    :raises RunError: the folder holds a fit.
    """
    check_folder(folder)
    evaluated, probabilities = predictions.manifest.usable, predictions.probabilities
    saliency = () if classifier is None else explain_examples(classifier, evaluated, probabilities)

    def remove_outdated() -> None:
        for name in ("report.html", CORRECTIONS):
            (folder / name).unlink(missing_ok=True)

    with replace_together(folder, remove_outdated=remove_outdated) as new:
        write_saliency(new / "saliency.parquet", saliency)
        write_run(
            new,
            info=run_info("evaluate", settings, arguments=arguments, data=predictions.manifest.description),
            evaluation=evaluation,
            history=(),
            manifest=predictions.manifest,
            split=evaluated,
            probabilities=probabilities,
            classes=predictions.classes,
        )
    return folder


def check_folder(folder: Path) -> None:
    """Check that an evaluation may be written into a folder.

    :raises RunError: it holds a fit, whose classifier would then stand beside the evaluation of another one.
    """
    if (folder / "classifier").exists() or (folder / "model.json").exists():
        raise RunError(
            f"{folder}: holds a classifier, and an evaluation would replace the documents of its fit; give "
            "another folder as --out"
        )


def evaluation_folder(classifier: str, photos: str) -> Path:
    """The default folder of an evaluation: in the run, or in ``runs/NAME`` for a pretrained network.

    :raises OutputError: a link in the run leads elsewhere; whoever made the run must not choose what is written where.
    """
    root, name = Path(classifier), Path(photos).resolve().name
    if not ((root / "classifier").exists() or (root / "model.json").exists()):
        return Path("runs") / root.name / "evaluations" / name
    folder = root / "evaluations" / name
    if not folder.resolve().is_relative_to(root.resolve()):
        raise OutputError(f"{folder}: a link leads out of the run, to {folder.resolve()}; choose a folder with --out")
    return folder


def evaluation_lines(evaluation: Evaluation) -> list[str]:
    """Text for a terminal, to follow the headline: top-5 accuracy, speed, and the worst classes."""
    lines = []
    if evaluation.top5 is not None:
        lines.append(f"top-5 accuracy {evaluation.top5:.1%}")
    if evaluation.summary is not None and evaluation.summary.images_per_second is not None:
        speed = evaluation.summary.images_per_second
        lines.append(f"{speed:,.0f} images per second, including decoding and the preparation of the network")
    rows = worst_classes(evaluation)
    if rows:
        width = max(len("worst classes"), *(len(row.name) for row in rows))
        lines.append(f"{'worst classes':{width}}  images  recall (95 % interval)     predicted as")
    for row in rows:
        others = ", ".join(f"{name} ({images})" for name, images in row.confused_with)
        lines.append(f"{row.name:{width}}  {row.images:6,}  {f'{row.recall:.1%}':25}  {others}")
    return lines
