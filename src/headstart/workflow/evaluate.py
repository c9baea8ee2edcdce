"""Evaluation of a classifier on labeled images, and its run folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.artifacts.classifier import Classifier
from headstart.artifacts.run_folder import run_info, write_run
from headstart.config import EngineSettings
from headstart.data.manifest import Manifest
from headstart.evaluate import evaluate as compute_metrics
from headstart.evaluate import worst_classes
from headstart.evaluate.schema import Evaluation, Summary
from headstart.events import Events
from headstart.models.class_names import align
from headstart.workflow.check import inspect_images, require_labels
from headstart.workflow.predict import Predictions, predict

__all__ = ["evaluate", "evaluation_folder", "evaluation_lines", "save_evaluation", "select_labeled"]

_NOTE = "headstart cannot know whether these images were used in training; if they were, the figures are too good."


def evaluate(
    classifier: Classifier,
    manifest: Manifest,
    settings: EngineSettings | None = None,
    *,
    events: Events | None = None,
) -> tuple[Predictions, Evaluation]:
    """Evaluate a classifier on labeled images that it has not been trained on.

    :raises DataError: no image has a label, or a label is none of the classifier's classes.
    :raises SettingsError: a setting is invalid, or the device or engine is not available.
    """
    settings, events = settings or EngineSettings(), events or Events()
    settings.check()
    labeled = select_labeled(manifest, classifier.classes)
    inspected = inspect_images(labeled, settings, events=events).with_column("split", ["test"] * len(labeled))
    usable = inspected.usable
    start = time.monotonic()
    predictions = predict(classifier, usable, settings, events=events, targets=usable.targets(classifier.classes))
    seconds = time.monotonic() - start
    problems = iter(predictions.manifest.problems)
    inspected = inspected.with_column("problem", [problem or next(problems) for problem in inspected.problems])
    usable = inspected.usable
    evaluation = compute_metrics(
        usable.targets(classifier.classes), predictions.probabilities, classifier.classes, split="test"
    )
    summary = Summary(
        model=classifier.model,
        images={"test": len(usable)},
        problems=len(labeled) - len(usable),
        seconds={"predicting": round(seconds, 2)},
        images_per_second=round(len(usable) / max(seconds, 1e-9), 1),
    )
    return replace(predictions, manifest=inspected), replace(evaluation, summary=summary, notes=(_NOTE,))


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
) -> Path:
    """Write what a report needs: a run folder without a classifier.

    :param settings: by name, as plain JSON values.
    :param arguments: the command line as typed.
    """
    write_run(
        folder,
        info=run_info("evaluate", settings, arguments=arguments),
        evaluation=evaluation,
        history=(),
        manifest=predictions.manifest,
        split=predictions.manifest.usable,
        probabilities=predictions.probabilities,
        classes=predictions.classes,
    )
    return folder


def evaluation_folder(classifier: str, photos: str) -> Path:
    """The default folder of an evaluation: in the run, or in ``runs/NAME`` for a pretrained network."""
    root = Path(classifier)
    is_run = (root / "classifier").exists() or (root / "model.json").exists()
    return (root if is_run else Path("runs") / root.name) / "evaluations" / Path(photos).resolve().name


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
