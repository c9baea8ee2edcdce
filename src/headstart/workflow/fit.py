"""From labeled images to a classifier and its evaluation: the recipe of a fit, top to bottom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from headstart.artifacts.classifier import Classifier
from headstart.config import FitSettings
from headstart.data.manifest import Manifest
from headstart.evaluate.schema import EpochRecord, Evaluation, SeedSpread
from headstart.events import Events
from headstart.execution.memory import retain_heap, trim_heap
from headstart.inference.engine import check_int8, choose_device
from headstart.inference.quantization import choose_calibration
from headstart.inference.warm_up import warm_up
from headstart.models.backbone import Backbone, load_backbone
from headstart.models.cut import cut
from headstart.train.heads import head_solver
from headstart.workflow.assess import assess, calibrate
from headstart.workflow.dataset import SPLITS, Dataset, prepare_dataset
from headstart.workflow.extraction import FeatureExtractor, extract, open_extractor
from headstart.workflow.glimpse import extract_with_glimpse
from headstart.workflow.model_choice import choose_model
from headstart.workflow.near_duplicates import group_near_duplicates
from headstart.workflow.search import search_trials
from headstart.workflow.stopwatch import Stopwatch
from headstart.workflow.strict import DataWarnings
from headstart.workflow.trials import refit

__all__ = ["FitResult", "fit", "prepare"]


@dataclass(frozen=True)
class FitResult:
    """Everything that a run folder holds."""

    classifier: Classifier
    settings: FitSettings
    manifest: Manifest  # every image, with its split and its problem
    split: str  # that was evaluated: "test" if there is one, else "validation", or "train" by cross-validation
    probabilities: NDArray[np.float32]  # (N, C) of the usable images of that split, in the manifest's order
    evaluation: Evaluation
    history: tuple[EpochRecord, ...]
    seconds: float = 0.0


def fit(
    manifest: Manifest,
    settings: FitSettings,
    *,
    class_order: Sequence[str] | None = None,
    events: Events | None = None,
) -> FitResult:
    """Fit a classifier to labeled images.

    :param manifest: images with labels; those without a label are left out.
    :param class_order: all labels, in the order that the classes shall have; by default that of the settings.
    :raises SettingsError: a setting is invalid; nothing has been done.
    :raises DataError: the images or labels cannot be used as they are.
    :raises ModelError: the network or its weights are not available, or it cannot be cut as requested.
    """
    settings.check()
    events, watch = events or Events(), Stopwatch()
    warned = DataWarnings()
    if settings.strict:
        events = Events(events.emit, warned)
    settings = choose_model(settings, len(manifest), events=events)
    with retain_heap():
        dataset, extractor = prepare(manifest, settings, events, watch, class_order=class_order)
        trim_heap()  # of tracing the network
        with watch.stage("features"):
            splits = [each for each in SPLITS if each != "train" or not settings.live_augmentation]
            extract_with_glimpse(extractor, dataset, events=events)
            dataset = extract(extractor, dataset, dataset.rows(splits), events=events)
            # Found by their features, and so after these; what the split was is of no matter to them.
            dataset = group_near_duplicates(extractor, dataset, events=events)
            if settings.strict:
                warned.stop(dataset)
            extractor.release()
        with watch.stage("training"):
            search = search_trials(extractor, dataset, start=watch.start, events=events)
            trim_heap()
        with watch.stage("evaluating"):
            trial = refit(search.chosen)
            trim_heap()
            found = assess(trial, calibrate(trial), search, events=events)
    result = FitResult(
        found.classifier,
        settings,
        found.dataset.manifest,
        found.split,
        found.probabilities,
        found.with_seconds(watch.seconds),
        search.history(),
        time.monotonic() - watch.start,
    )
    return result if settings.seeds == 1 else _with_seed_spread(result, manifest, class_order, events)


def prepare(
    manifest: Manifest,
    settings: FitSettings,
    events: Events,
    watch: Stopwatch,
    *,
    class_order: Sequence[str] | None = None,
) -> tuple[Dataset, FeatureExtractor]:
    """Load the backbone, inspect and split the images, and cut the backbone where the first trial starts to train.

    The backbone comes first: a wrong name, device or cut is reported before minutes of reading.
    """
    with watch.stage("loading"):
        device, backbone = _load(settings, events)
    warming = warm_up(device)
    with watch.stage("reading"):
        solvable = isinstance(backbone.head, nn.Linear)
        dataset = prepare_dataset(manifest, settings, solvable=solvable, class_order=class_order, events=events)
    with watch.stage("cutting"):
        backbone = backbone.with_input(value_ranges=dataset.value_ranges)
        stages = settings.train in ("auto", "head") and settings.stages != "none"
        backbone = backbone.with_new_head(
            len(dataset.classes), seed=settings.seed, initialization=settings.head_init, stages=stages
        )
        ranges = None
        if settings.precision == "int8":
            ranges = choose_calibration(
                dataset.manifest, backbone.spec, max_pixels=settings.max_pixels, workers=settings.workers
            )
        train = "head" if settings.train == "auto" else settings.train
        if warming is not None:
            warming.join()
        return dataset, open_extractor(backbone, train, settings, device=device, calibration=ranges)


def _load(settings: FitSettings, events: Events) -> tuple[str, Backbone]:
    device = choose_device(settings.device)
    head_solver(settings.head_solver)  # exists
    if settings.precision == "int8":
        check_int8(settings.device, settings.engine)
    backbone = load_backbone(
        settings.model,
        weights_file=settings.weights,
        class_names=settings.class_names,
        seed=settings.seed,
        events=events,
    )
    backbone = backbone.with_input(**settings.input_changes())
    for line in backbone.reading():
        events.notice(line)
    if settings.train not in ("auto", "head"):  # which every network has
        cut(backbone.module, settings.train, input_shape=backbone.input_shape)
    return device, backbone


def _with_seed_spread(
    first: FitResult, manifest: Manifest, class_order: Sequence[str] | None, events: Events
) -> FitResult:
    """The first fit with the figures of all seeds: split, new head and order of training differ, features do not."""
    settings, accuracy, log_loss = first.settings, [], []
    seeds = tuple(range(settings.seed, settings.seed + settings.seeds))
    for seed in seeds:
        result = first
        if seed != settings.seed:
            one = replace(settings, seed=seed, seeds=1)
            result = fit(manifest, one, class_order=class_order, events=events)
        accuracy.append(result.evaluation.top1.value)
        log_loss.append(result.evaluation.log_loss.value)
        events.notice(f"seed {seed}: accuracy {accuracy[-1]:.1%}, log-loss {log_loss[-1]:.3f}")
    mean, sd = float(np.mean(accuracy)), float(np.std(accuracy, ddof=1))
    spread = SeedSpread(seeds, tuple(accuracy), tuple(log_loss), mean, sd)
    return replace(first, evaluation=replace(first.evaluation, seeds=spread))
