"""Prediction: from a classifier and images to probabilities."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from headstart.artifacts.classifier import Classifier, load
from headstart.artifacts.run_name import is_elsewhere, local_run
from headstart.config import EngineSettings, InputSettings
from headstart.data.manifest import Manifest
from headstart.errors import ModelError, SettingsError
from headstart.events import Events
from headstart.execution.cluster import parse_cluster
from headstart.execution.memory import retain_heap
from headstart.export.predictor import ExportedClassifier, is_exported, open_exported
from headstart.inference.distributed import infer_on_cluster
from headstart.inference.engine import runs_on_cpu
from headstart.inference.results import InferenceResult, concatenate_results, set_names
from headstart.models.backbone import is_network_file
from headstart.models.catalog import canonical_name
from headstart.models.downloads import is_hub_handle
from headstart.workflow.int8 import int8_cost, int8_sample
from headstart.workflow.prediction_table import PredictionTable

__all__ = ["Predictions", "Predictor", "open_classifier", "open_predictor", "predict", "predict_in_parts"]

_LARGE_JOB = 256  # images

Predictor: TypeAlias = Classifier | ExportedClassifier
"""What predicts: a classifier of headstart, or a file that it was exported to."""


def open_predictor(
    name: str, input_settings: InputSettings | None = None, *, events: Events | None = None
) -> Predictor:
    """Open an exported file, or what :func:`open_classifier` opens.

    :raises RunError: the file or folder is damaged.
    :raises ModelError: there is no such network.
    :raises SettingsError: the input of an exported file, which is computed inside it, is to be changed.
    """
    if is_elsewhere(name) or not is_exported(name):
        return open_classifier(name, input_settings, events=events)
    given = input_settings or InputSettings()
    changed = [*given.input_changes(), *["class_names"] * (given.class_names is not None)]
    if changed:
        raise SettingsError(
            f"{changed[0]} cannot be changed in {name}, an exported file with its input and class names inside; export "
            "it again with this option"
        )
    return open_exported(name)


def open_classifier(
    name: str, input_settings: InputSettings | None = None, *, events: Events | None = None
) -> Classifier:
    """Open a run folder, a saved classifier here or elsewhere, or a pretrained network by its name, file or handle.

    :param input_settings: changes to the input that the network's own configuration states.
    :raises RunError: the folder has no classifier, or it is damaged.
    :raises ModelError: there is no such network.
    :raises SettingsError: class names are given for a run, which has its own.
    """
    name = local_run(name)
    if is_exported(name):
        raise ModelError(f"{name}: is an exported file, which headstart predict and evaluate take; name its run here")
    path = name if Path(name).exists() else canonical_name(name)
    if is_network_file(path) or is_hub_handle(path) or not (Path(path).exists() or "/" in path):
        return Classifier.pretrained(path, input_settings=input_settings, events=events)
    classifier = load(name)
    if input_settings and input_settings.class_names is not None:
        raise SettingsError(f"class_names is for pretrained networks; the classifier {name} has its own")
    changes = input_settings.input_changes() if input_settings else {}
    return replace(classifier, spec=classifier.spec.changed(**changes)) if changes else classifier


@dataclass(frozen=True)
class Predictions:
    """What a classifier predicts for images. The usable images, N of them, are in the order of the manifest."""

    classes: tuple[str, ...]
    manifest: Manifest  # all images; those that could not be read have a problem
    probabilities: NDArray[np.float32]  # (N, C)
    prediction_sets: NDArray[np.bool_] | None = None  # (N, C); None unless the classifier was made by a fit
    coverage: float | None = None  # probability that a prediction set contains the true class
    out_of_distribution: NDArray[np.bool_] | None = None  # (N,), images that look like none of the classes
    ood_score: NDArray[np.float64] | None = None  # (N,), by which these are found

    def top(self, k: int) -> list[list[tuple[str, float]]]:
        """The ``k`` most probable classes of each usable image with their probabilities, most probable first."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return [
            [(self.classes[index], float(row[index])) for index in indices]
            for indices, row in zip(order, self.probabilities, strict=True)
        ]

    def lines(self, k: int) -> list[str]:
        """Text for a terminal: each image with its most probable classes, prediction set and warning."""
        rows = self.rows(k)
        lines = []
        for uri, problem in zip(self.manifest.uris, self.manifest.problems, strict=True):
            lines.append(uri)
            if problem:
                lines.append(f"  problem: {problem}")
                continue
            row = next(rows)
            lines += [f"  {probability:6.1%}  {name}" for name, probability in row.top]
            if row.prediction_set is not None:
                lines.append(f"  {self.coverage:.0%} prediction set: {', '.join(row.prediction_set)}")
            if row.out_of_distribution:
                lines.append("  out of distribution: it looks like none of the classes")
        return lines

    def write_csv(self, path: Path, k: int) -> None:
        """Write a :class:`~headstart.workflow.prediction_table.PredictionTable` with the ``k`` most probable classes.

        :raises OSError: ``path`` cannot be written.
        """
        with PredictionTable(k) as table:
            table.add(self)
            table.write(path)

    def rows(self, k: int) -> Iterator[PredictedRow]:
        """The prediction for each usable image, with its ``k`` most probable classes."""
        count = len(self.probabilities)
        sets: list[list[str] | None] = [None] * count
        if self.prediction_sets is not None:
            sets = [*set_names(self.probabilities, self.prediction_sets, self.classes)]
        flags: list[bool | None] = [None] * count
        if self.out_of_distribution is not None:
            flags = [*self.out_of_distribution.tolist()]
        return map(PredictedRow, self.top(k), sets, flags)


@dataclass(frozen=True)
class PredictedRow:
    """The prediction for one usable image."""

    top: list[tuple[str, float]]
    prediction_set: list[str] | None
    out_of_distribution: bool | None

    def cells(self) -> list[str]:
        """The cells of a table."""
        cells = [cell for name, probability in self.top for cell in (name, f"{probability:.6f}")]
        if self.prediction_set is not None:
            cells.append("; ".join(self.prediction_set))
        if self.out_of_distribution is not None:
            cells.append("yes" if self.out_of_distribution else "no")
        return cells


def predict(
    classifier: Predictor,
    manifest: Manifest,
    settings: EngineSettings | None = None,
    *,
    cluster: str | None = None,
    events: Events | None = None,
    targets: NDArray[np.int64] | None = None,
) -> Predictions:
    """Predict the classes of all images that can be read; the others have a problem in the returned manifest.

    :param cluster: whose workers compute, as in :class:`headstart.config.ClusterSettings`; None: this process.
    :param targets: class indices (N,), if they are known, for the cost of ``--precision int8``.
    :raises SettingsError: a setting is invalid, or the device or engine is not available.
    :raises ClusterError: the cluster cannot be reached, or failed.
    """
    settings, events = settings or EngineSettings(), events or Events()
    if cluster is not None and len(manifest):
        parts = [result for _, result in _parts(classifier, manifest, settings, cluster, events=events)]
        starts = np.cumsum([0, *(len(result.probabilities) + len(result.problems) for result in parts)]).tolist()
        problems = [
            (start + row, why) for start, part in zip(starts, parts, strict=False) for row, why in part.problems
        ]
        result = concatenate_results(parts, problems)
    else:
        # For a few images, as a server is given them, memory returned to the system would soon be requested again.
        with retain_heap() if len(manifest) >= _LARGE_JOB else nullcontext():
            result = classifier.infer(manifest, settings=settings, events=events)
    predictions = _predictions(classifier, manifest, result)
    if settings.precision == "int8":
        events.notice(_int8_cost(classifier, predictions.manifest, settings, result, targets))
    return predictions


def predict_in_parts(
    classifier: Predictor,
    manifest: Manifest,
    settings: EngineSettings | None = None,
    *,
    cluster: str | None = None,
    events: Events | None = None,
) -> Iterator[Predictions]:
    """Yield what :func:`predict` returns in parts, in order: without a cluster, one.

    With a cluster, no more than one part is in the memory of this process. That does not hold for ``--precision int8``,
    whose cost is told of all images.

    :raises HeadstartError: as of :func:`predict`.
    """
    settings, events = settings or EngineSettings(), events or Events()
    if cluster is None or not len(manifest) or settings.precision == "int8":
        yield predict(classifier, manifest, settings, cluster=cluster, events=events)
        return
    with closing(_parts(classifier, manifest, settings, cluster, events=events)) as parts:
        for part, result in parts:
            yield _predictions(classifier, part, result)


def _parts(
    classifier: Predictor, manifest: Manifest, settings: EngineSettings, cluster: str, *, events: Events
) -> Generator[tuple[Manifest, InferenceResult], None, None]:
    """Parts of the manifest with what the workers of a cluster return of them."""
    settings.check()
    infer = classifier.for_parts(manifest, settings)
    on_cpu = not isinstance(classifier, Classifier) or runs_on_cpu(classifier.pipeline.parts.prefix)
    device = "cpu" if on_cpu else settings.device
    with (
        closing(infer_on_cluster(infer, manifest, parse_cluster(cluster), device=device)) as parts,
        events.stage("predicting", total=len(manifest)) as advance,
    ):
        for part, result in parts:
            yield part, result
            advance(len(part))


def _predictions(classifier: Predictor, manifest: Manifest, result: InferenceResult) -> Predictions:
    problems: list[str | None] = [None] * len(manifest)
    for row, reason in result.problems:
        problems[row] = reason
    return Predictions(
        classifier.classes,
        manifest.with_column("problem", problems),
        result.probabilities,
        prediction_sets=result.prediction_sets,
        coverage=None if classifier.sets is None else classifier.sets.coverage,
        out_of_distribution=result.out_of_distribution,
        ood_score=result.ood_score,
    )


def _int8_cost(
    classifier: Predictor,
    manifest: Manifest,
    settings: EngineSettings,
    result: InferenceResult,
    targets: NDArray[np.int64] | None,
) -> str:
    readable = np.flatnonzero([problem is None for problem in manifest.problems])
    sample = int8_sample(len(readable), seed=0)
    exact = classifier.infer(manifest.select(readable[sample]), settings=replace(settings, precision="float32"))
    true = None if targets is None else targets[readable[sample]]
    return int8_cost(result.probabilities[sample], exact.probabilities, true)
