"""The end of a fit: the chosen trial is calibrated, evaluated on the split farthest from every choice, and packed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from headstart.artifacts.classifier import Classifier, ModelMetadata
from headstart.config import EngineSettings
from headstart.data.manifest import Manifest
from headstart.evaluate import (
    OODDetector,
    apply_temperature,
    calibration_metrics,
    conformal_threshold,
    cross_fitted_probabilities,
    evaluate,
    fit_ood_detector,
    fit_temperature,
    ood_fit_rows,
    ood_metrics,
    prediction_set_metrics,
)
from headstart.evaluate.intervals import wilson
from headstart.evaluate.schema import (
    PRETRAINED_ON,
    Evaluation,
    LeakedImages,
    NearLeaks,
    OutOfDistributionMetrics,
    Summary,
)
from headstart.events import Events
from headstart.execution.memory import trim_heap
from headstart.inference.network import NetworkOutputs
from headstart.inference.pipeline import Decision
from headstart.inference.results import PredictionSetRule
from headstart.models.backbone import Backbone
from headstart.models.class_names import match
from headstart.models.stage_head import drop_unused_stages, kernel_size
from headstart.workflow.dataset import Dataset
from headstart.workflow.extraction import extract
from headstart.workflow.int8 import int8_cost, int8_sample
from headstart.workflow.pretrained_score import pretrained_score
from headstart.workflow.search import Search
from headstart.workflow.trials import Trial

__all__ = ["Assessment", "assess", "calibrate"]

_SPLIT_NAMES = {"train": "cross-validation"}
_NOTES = {
    "validation": "These images were not trained on. What to train, the L2 penalty, the stages and the kernel are "
    "chosen on them, so each image is evaluated with what the other nine tenths choose; only the best epoch of a "
    "fine-tuned network is chosen on all. A solved head is then solved once more with these images, unless --no-refit: "
    "the figures are those of the head before.",
    "test": "These images were neither trained on nor used for any choice.",
    "train": "There are few images: each was predicted by a head that was solved without it (5-fold cross-validation). "
    "The L2 penalty and the stages by which an image is judged were chosen by the images of the other folds.",
}


@dataclass(frozen=True)
class Assessment:
    """The classifier and what it achieves."""

    classifier: Classifier
    dataset: Dataset
    split: str  # that was evaluated
    probabilities: NDArray[np.float32]  # (N, C) of its images
    evaluation: Evaluation

    def with_seconds(self, seconds: dict[str, float]) -> Evaluation:
        """The evaluation with the duration of each stage in its summary."""
        assert self.evaluation.summary is not None
        return replace(self.evaluation, summary=replace(self.evaluation.summary, seconds=dict(seconds)))


def calibrate(trial: Trial) -> Decision:
    """Temperature and threshold of the prediction sets, from the logits on the selection split."""
    temperature = fit_temperature(trial.logits, trial.targets)
    coverage = trial.extractor.settings.coverage
    threshold = conformal_threshold(apply_temperature(trial.logits, temperature), trial.targets, coverage=coverage)
    return Decision(temperature, PredictionSetRule(threshold, coverage), None)


def assess(trial: Trial, decision: Decision, search: Search, *, events: Events) -> Assessment:
    """Evaluate a trial on the test split, or without one on the selection split with cross-fitted calibration."""
    extractor, settings = trial.extractor, trial.extractor.settings
    split = "test" if len(search.dataset.split("test")) else search.dataset.selection_split
    needed = {split} if extractor.cut.at_image else {split, "train", search.dataset.selection_split}
    dataset = extract(extractor, search.dataset, search.dataset.rows(needed), events=events)
    trial, cross_fitted = trial.on(dataset), split == dataset.selection_split
    targets = dataset.targets(split)
    with extractor.backbone.applied(trial.state):
        outputs = trial.outputs if cross_fitted else None
        outputs = outputs or extractor.outputs(dataset.split(split))
        detector = _ood_detector(trial, dataset, split, outputs)
    trim_heap()  # of the embeddings
    logits = search.cross_fitted_logits(dataset) if cross_fitted else outputs.logits
    decision = replace(decision, ood_detector=detector)
    result = decision.decide(outputs)
    probabilities: NDArray[np.floating] = (
        cross_fitted_probabilities(logits, targets) if cross_fitted else result.probabilities
    )
    measured = _measured(logits, probabilities, targets, dataset, split, decision, cross_fitted=cross_fitted)
    evaluation = replace(
        measured,
        near_leaks=_near_leaks(dataset, split, probabilities, targets),
        pretrained=pretrained_score(search.trials[0].extractor, dataset, split, probabilities.argmax(1)),
        leaks=None if dataset.leaked is None else _leaks(trial, dataset.leaked, measured, events=events),
        out_of_distribution=_ood_metrics(detector, result.ood_score, cross_fitted=cross_fitted),
        trials=search.records(),
        notes=tuple(filter(None, [_NOTES[split], *measured.notes, _contamination(dataset, extractor.backbone)])),
    )
    beside = (evaluation.pretrained, evaluation.leaks, evaluation.near_leaks)
    told = [each.note() for each in beside if each is not None]
    for note in told:
        events.notice(note)
    evaluation = replace(evaluation, notes=(*evaluation.notes, *told))
    classifier = _pack(trial, dataset, decision)
    evaluation = replace(evaluation, summary=_summary(trial, dataset, classifier.network))
    if settings.precision == "int8" and not extractor.cut.at_image:
        note = _int8_cost(classifier, dataset, split, outputs.logits, trial, events)
        evaluation = replace(evaluation, notes=(*evaluation.notes, note))
    return Assessment(classifier, dataset, split, probabilities.astype(np.float32), evaluation)


def _leaks(trial: Trial, leaked: Manifest, measured: Evaluation, *, events: Events) -> LeakedImages:
    """What the accuracy would be with the test images that were also trained on."""
    extractor = trial.extractor
    extractor.compute(leaked, events=events)
    with extractor.backbone.applied(trial.state):
        predicted = extractor.outputs(leaked).logits.argmax(1)
    known = {name: number for number, name in enumerate(measured.classes)}
    targets = np.array([known.get(str(label), -1) for label in leaked.labels])
    correct = round(measured.top1.value * measured.images) + int((predicted == targets).sum())
    return LeakedImages(len(leaked), wilson(correct, measured.images + len(leaked)))


def _near_leaks(
    dataset: Dataset, split: str, probabilities: NDArray[np.floating], targets: NDArray[np.int64]
) -> NearLeaks | None:
    """What the accuracy is without the images of which a near-duplicate was trained on; None if there are no others."""
    leaked = np.isin(dataset.rows([split]), list(dataset.near_leaks))
    if not leaked.any() or leaked.all():
        return None
    correct = probabilities.argmax(1) == targets
    return NearLeaks(int(leaked.sum()), wilson(int(correct[~leaked].sum()), int((~leaked).sum())))


def _measured(
    logits: NDArray[np.float32],
    probabilities: NDArray[np.floating],
    targets: NDArray[np.int64],
    dataset: Dataset,
    split: str,
    decision: Decision,
    *,
    cross_fitted: bool,
) -> Evaluation:
    rule = decision.sets
    assert rule is not None
    return replace(
        evaluate(
            targets,
            probabilities,
            dataset.classes,
            split=_SPLIT_NAMES.get(split, split),
            groups=dataset.groups(split),
        ),
        calibration=calibration_metrics(logits, targets, temperature=decision.temperature, cross_fitted=cross_fitted),
        prediction_sets=prediction_set_metrics(
            probabilities,
            targets,
            dataset.classes,
            threshold=rule.threshold,
            cross_fitted=cross_fitted,
            coverage=rule.coverage,
        ),
    )


def _ood_detector(trial: Trial, dataset: Dataset, split: str, outputs: NetworkOutputs) -> OODDetector | None:
    """What images of the classes look like; None where the head is given no vectors, or the whole network is trained.

    :param outputs: of the evaluated split.
    """
    extractor, seed = trial.extractor, trial.extractor.settings.seed
    if extractor.cut.at_image or outputs.embeddings is None:
        return None

    def embeddings(images: Manifest, *, all_rows: bool) -> NDArray[np.float32] | None:
        # In the precision of training: the mean of many images is learned here.
        return extractor.outputs(images, precision=extractor.training_precision, all_rows=all_rows).embeddings

    train: NDArray[np.float32] | None = outputs.embeddings
    targets = dataset.targets("train")
    if split == "train":
        targets = targets[:: outputs.step]
    else:
        rows = ood_fit_rows(targets, seed=seed)
        train, targets = embeddings(dataset.split("train").select(rows), all_rows=True), targets[rows]
    selection: NDArray[np.float32] | None = outputs.embeddings
    if not dataset.cross_validated and split != dataset.selection_split:
        selection = embeddings(dataset.split(dataset.selection_split), all_rows=False)
    if train is None or selection is None:
        return None
    if dataset.cross_validated:
        held_out = np.random.default_rng(seed).permutation(len(train)) % 5 == 0
        train, targets, selection = train[~held_out], targets[~held_out], train[held_out]
    own = train is not outputs.embeddings
    return fit_ood_detector(train, targets, selection, seed=seed, overwrite_features=own)


def _ood_metrics(
    detector: OODDetector | None, scores: NDArray[np.float64] | None, *, cross_fitted: bool
) -> OutOfDistributionMetrics | None:
    if detector is None or scores is None:
        return None
    return ood_metrics(scores, threshold=detector.threshold, cross_fitted=cross_fitted)


def _pack(trial: Trial, dataset: Dataset, decision: Decision) -> Classifier:
    """The classifier that is handed over; the trial's weights stay in the network for good."""
    backbone, settings = trial.extractor.backbone, trial.extractor.settings
    network = backbone.keep(trial.state)
    drop_unused_stages(network)
    return Classifier(
        network,
        dataset.classes,
        backbone.spec,
        backbone.name,
        trial.extractor.train,
        decision.temperature,
        metadata=ModelMetadata(
            backbone.source,
            backbone.licence,
            feature_dtype=settings.feature_dtype,  # type: ignore[arg-type]  # one of the setting's choices
            # 8-bit ranges fit the images of the fit; prediction uses the float32 values that they stand for.
            precision="float32" if settings.precision == "int8" else settings.precision,  # type: ignore[arg-type]
            cut=trial.extractor.cut.name,
        ),
        tta_flip=settings.tta_flip,
        sets=decision.sets,
        ood_detector=decision.ood_detector,
    )


def _int8_cost(
    classifier: Classifier,
    dataset: Dataset,
    split: str,
    coarse: NDArray[np.float32],
    trial: Trial,
    events: Events,
) -> str:
    """How predictions in float32, as which the classifier predicts from now on, differ from those with 8-bit integers.

    :param coarse: logits of the split by the network with 8-bit integers, (N, C).
    """
    settings = trial.extractor.settings
    rows = int8_sample(len(coarse), settings.seed)
    exact = classifier.infer(
        dataset.split(split).select(rows),
        settings=EngineSettings(precision="float32", max_pixels=settings.max_pixels),
    )
    read = np.delete(rows, [row for row, _ in exact.problems])
    # No accuracy is stated for images that were trained on.
    targets = None if split == "train" else dataset.targets(split)[read]
    note = int8_cost(coarse[read], exact.probabilities, targets)
    events.notice(note)
    return note


def _contamination(dataset: Dataset, backbone: Backbone) -> str:
    """A warning where the images may be those that the network was pretrained on."""
    shared = len(match(dataset.classes, backbone.classes or ()))
    if not shared:
        return ""
    return (
        f"{shared} of the {len(dataset.classes)} classes have the name of a class {PRETRAINED_ON}. "
        "If the images come from the same source (as the dogs of Stanford and Kaggle come from ImageNet), the network "
        "has seen them, and every figure is optimistic."
    )


def _summary(trial: Trial, dataset: Dataset, network: nn.Module) -> Summary:
    """What was trained on what.

    :param network: as it is handed over, without stages that no weight uses.
    """
    backbone, parts = trial.extractor.backbone, trial.extractor.cut
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    kernel = kernel_size(network)
    return Summary(
        model=backbone.name,
        images=dataset.counts(),
        problems=len(dataset.manifest.unusable),
        seconds={},
        weights=backbone.source,
        train=trial.extractor.train,
        parameters=sum(sizes.values()) + kernel,
        trainable_parameters=sum(sizes.get(name, 0) for name in parts.trainable) + kernel,
        bytes_per_image=parts.bytes_per_image,
    )
