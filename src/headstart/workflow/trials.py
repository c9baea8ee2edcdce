"""Trials: answers to what should be trained, each a value with its weights and its outputs on the selection split."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.data.manifest import Manifest
from headstart.errors import SettingsError
from headstart.evaluate import fit_temperature
from headstart.evaluate.intervals import proportion
from headstart.evaluate.schema import EpochRecord, TrialRecord
from headstart.events import EpochEnded, Events
from headstart.execution.cluster import parse_cluster
from headstart.execution.memory import trim_heap
from headstart.features.sources import FeatureDataset
from headstart.inference.network import NetworkOutputs
from headstart.models.class_names import match
from headstart.models.stage_head import STAGE_HEAD, stage_head
from headstart.train.class_balance import Balance, class_balance
from headstart.train.finetune import TrainConfig, finetune, trainable_state
from headstart.train.heads import HeadFit, HeadProblem, LabeledVectors, LinearHead, head_solver
from headstart.train.unfreezing import image_log_losses
from headstart.workflow.checkpoints import checkpoint_path
from headstart.workflow.dataset import Dataset
from headstart.workflow.extraction import MAX_FOR_ONE_PASS, FeatureExtractor, extract
from headstart.workflow.head_vectors import head_vectors
from headstart.workflow.training_data import training_data

__all__ = [
    "Trial",
    "fine_tune",
    "head_trials",
    "refit",
    "starting_head",
    "train",
    "train_config",
    "trial_of",
    "with_solved_head",
]


@dataclass(frozen=True)
class Trial:
    """One answer to what should be trained, judged on the selection split."""

    name: str
    extractor: FeatureExtractor
    dataset: Dataset  # without images that vanished before or during the trial
    logits: NDArray[np.float32]  # (V, C) of the selection split
    seconds: float
    state: Mapping[str, Tensor]  # the parameters and buffers that this trial sets, by name
    history: tuple[EpochRecord, ...] = ()
    note: str = ""
    outputs: NetworkOutputs | None = None  # of the selection split, where they are at hand and small
    head_fit: HeadFit | None = None  # of a head that was solved

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Class indices of the selection split, (V,)."""
        return self.dataset.targets(self.dataset.selection_split)

    @cached_property
    def temperature(self) -> float:
        """That suits the trial best on the selection split."""
        return fit_temperature(self.logits, self.targets)

    @cached_property
    def image_log_losses(self) -> NDArray[np.float64]:
        """Log-loss of each image, (V,), at the temperature that suits the trial best."""
        return image_log_losses(self.logits, self.targets)

    def on(self, dataset: Dataset) -> Trial:
        """The trial on what is left of its images, so that it compares with later trials after images vanished."""
        if dataset is self.dataset:
            return self
        left = set(dataset.split(dataset.selection_split).uris)
        remaining = np.array([uri in left for uri in self.dataset.split(self.dataset.selection_split).uris], bool)
        if remaining.all():
            return replace(self, dataset=dataset)
        return replace(self, dataset=dataset, logits=self.logits[remaining], outputs=None)

    def record(self, *, chosen: bool = False, note: str = "") -> TrialRecord:
        """The trial as it is reported; ``note`` is added to its own."""
        correct = self.logits.argmax(1) == self.targets
        return TrialRecord(
            self.name,
            proportion(correct, self.dataset.groups(self.dataset.selection_split)),
            float(self.image_log_losses.mean()),
            round(self.seconds, 2),
            chosen,
            "; ".join(filter(None, [self.note, note])),
        )


def head_trials(extractor: FeatureExtractor, dataset: Dataset, events: Events) -> list[Trial]:
    """The rows of the pretrained head where it has every class by name, and the solved head.

    A head that is not one linear layer is trained instead.
    """
    if not extractor.is_linear:
        return [fine_tune(extractor, dataset, events)]
    splits = _solved_splits(dataset)
    with head_vectors(extractor, dataset, splits, events=events) as vectors:
        return _solved_heads(extractor, dataset, vectors, events)


def _solved_heads(
    extractor: FeatureExtractor, dataset: Dataset, splits: Sequence[LabeledVectors], events: Events
) -> list[Trial]:
    settings, start, trials = extractor.settings, time.monotonic(), []
    train, validation = splits[0], splits[1] if len(splits) > 1 else None
    checks = splits[-1][0]
    pretrained = extractor.pretrained_prior(dataset.classes, *train)
    if pretrained is not None and _knows_all(extractor, dataset):
        logits = pretrained.logits(checks).cpu().numpy()
        state = extractor.head_state(pretrained)
        seconds, start = time.monotonic() - start, time.monotonic()
        note = "rows of the pretrained head, no training"
        trials.append(Trial("pretrained", extractor, dataset, logits, seconds, state, note=note))
    with events.stage("solving the head", total=1, unit="path") as advance:
        problem = _problem(extractor, dataset, pretrained)
        fit = head_solver(settings.head_solver).fit(train, validation, problem)
        advance(1)
    solved = Trial(
        "head",
        extractor,
        dataset,
        fit.validation_logits.cpu().numpy(),
        time.monotonic() - start,
        extractor.head_state(fit.head),
        tuple(replace(record, trial="head") for record in fit.history),
        fit.description,
        head_fit=fit,
    )
    return [*trials, solved]


def fine_tune(
    extractor: FeatureExtractor,
    dataset: Dataset,
    events: Events,
    *,
    head: Trial | None = None,
    deadline: float | None = None,
) -> Trial:
    """Train what comes after the cut.

    :param head: the head to start from (:func:`starting_head`). Without it, training starts from the network as it is.
    :param deadline: in ``time.monotonic()``: no epoch is begun that would end later.
    """
    start = time.monotonic()
    extractor.train_only()
    with extractor.backbone.applied({} if head is None else head.state):
        initial = trainable_state(extractor.backbone.module)
        dataset = extract(extractor, dataset, dataset.rows([dataset.selection_split]), events=events)
        augmented = tuple(range(1, extractor.settings.augmentations + 1))
        if not extractor.settings.live_augmentation:
            # Where the head is solved once more, it is on the mean over the views of prediction.
            views = sorted({0, *augmented, *(() if head is None else extractor.views)})
            dataset = extract(extractor, dataset, dataset.rows(["train"]), views=views, events=events)
        extractor.release()
        with extractor.backbone.applied(initial):
            config = train_config(extractor)
            images, checked = (dataset.split(split) for split in ("train", dataset.selection_split))
            history = train(extractor, dataset, images, checked, config, events, views=augmented, deadline=deadline)
            trained = trial_of(extractor, dataset, start, history)
            return trained if head is None else with_solved_head(trained, start)


def with_solved_head(trial: Trial, start: float) -> Trial:
    """The trained network with its head solved on its features, if that validates better; else the trial as it is.

    Training has stopped at an epoch, while the head that is best for the features of that epoch can be found.

    :param start: of the trial, in ``time.monotonic()``.
    """
    extractor, dataset = trial.extractor, trial.dataset
    head = extractor.backbone.head
    if not isinstance(head, nn.Linear) or head.bias is None or dataset.cross_validated or extractor.cut.at_image:
        return trial
    with extractor.backbone.applied(trial.state):
        train, selection = (
            (extractor.head_inputs(dataset.split(split)), torch.from_numpy(dataset.targets(split)).to(extractor.device))
            for split in ("train", dataset.selection_split)
        )
    settings = extractor.settings
    fit = head_solver(settings.head_solver).fit(train, selection, _problem(extractor, dataset, None))
    logits = fit.validation_logits.cpu().numpy()
    solved = replace(
        trial,
        logits=logits,
        seconds=time.monotonic() - start,
        state={**trial.state, **extractor.head_state(fit.head)},
        history=(*trial.history, *(_continued(record, trial) for record in fit.history)),
        note=f"head solved once more, {fit.description}",
        outputs=None,
    )
    better = solved.image_log_losses.mean() < trial.image_log_losses.mean()
    return solved if better else replace(trial, seconds=solved.seconds)


def _continued(record: EpochRecord, trial: Trial) -> EpochRecord:
    return replace(record, trial=trial.name, epoch=len(trial.history) + record.epoch, chosen=False)


def refit(trial: Trial) -> Trial:
    """A solved head, solved once more on training and selection images together, with the penalty that was chosen.

    Its logits on the selection split stay those of the head before. Any other trial is returned as it is.
    """
    extractor, dataset, settings = trial.extractor, trial.dataset, trial.extractor.settings
    if trial.head_fit is None or dataset.cross_validated or not settings.refit:
        return trial
    with head_vectors(extractor, dataset, _solved_splits(dataset)) as images:
        problem = _problem(extractor, dataset, None, targets=torch.cat([targets for _, targets in images]))
        head = head_solver(settings.head_solver).refit(trial.head_fit, *images, problem=problem)
    return replace(trial, state=extractor.head_state(head))


def train_config(extractor: FeatureExtractor, **changes: Any) -> TrainConfig:
    """The settings of fine-tuning."""
    names = {each.name for each in fields(TrainConfig)} - {"precision"}
    values = {name: getattr(extractor.settings, name) for name in names}
    return TrainConfig(**{**values, "precision": extractor.training_precision, **changes})


def train(  # noqa: PLR0913 - independent values, four of them keyword-only
    extractor: FeatureExtractor,
    dataset: Dataset,
    images: Manifest,
    checked: Manifest,
    config: TrainConfig,
    events: Events,
    *,
    views: tuple[int, ...] = (),
    deadline: float | None = None,
    is_hopeless: Callable[[NDArray[np.float32]], bool] | None = None,
    alone: bool = False,
) -> tuple[EpochRecord, ...]:
    """Train on images of the data set and these augmented views of them, and keep the epoch that is best on others.

    :param checked: the images on which epochs are compared.
    :param alone: without the workers of a cluster: it would be over before they have started.
    """
    name, settings = extractor.train, extractor.settings
    cluster = None if alone or settings.cluster is None else parse_cluster(settings.cluster)
    # What the workers of a cluster read is not read here.
    inputs = training_data(extractor, images, images.targets(dataset.classes), views, in_memory=cluster is None)
    validation = FeatureDataset(extractor.source(checked), checked.targets(dataset.classes))
    checkpoint = checkpoint_path(extractor, config, (images, checked), (inputs, validation))
    if checkpoint.is_file():
        events.notice(f"training {name} goes on from its checkpoint {checkpoint}")
    with events.stage(f"training {name}", total=config.epochs, unit="epoch") as advance:

        def on_epoch(record: EpochRecord) -> None:
            advance(1)
            figures = (record.loss, record.accuracy, record.val_loss, record.val_accuracy, record.seconds)
            events.emit(EpochEnded(name, record.epoch, config.epochs, *figures))

        history = finetune(
            extractor.tail,
            inputs,
            validation,
            config,
            device=extractor.device,
            balance=_balance(extractor, dataset),
            deadline=deadline,
            on_epoch=on_epoch,
            is_hopeless=is_hopeless,
            cluster=cluster,
            checkpoint=checkpoint,
        )
    return tuple(replace(record, trial=name) for record in history)


def trial_of(extractor: FeatureExtractor, dataset: Dataset, start: float, history: tuple[EpochRecord, ...]) -> Trial:
    """The trial of the network as it is now."""
    trim_heap()  # of training
    outputs = extractor.outputs(dataset.split(dataset.selection_split))
    module = extractor.backbone.module
    state = trainable_state(module)
    if (of_stages := stage_head(module)) is not None:  # as it was solved
        state[f"{STAGE_HEAD}.weight"] = of_stages.weight.detach().cpu().clone()
    small = outputs.embeddings is not None and outputs.embeddings.nbytes <= MAX_FOR_ONE_PASS
    return Trial(
        extractor.train,
        extractor,
        dataset,
        outputs.logits,
        time.monotonic() - start,
        state,
        history,
        outputs=outputs if small else None,
    )


def starting_head(head: Trial, dataset: Dataset) -> Trial:
    """The head that deeper training starts from, as a trial to compare with.

    A discriminant analysis relies on features that vary little within classes, and so would the gradients of the layers
    before it: a head with another prior is the better start, though the worse end. A kernel relies on the distances
    between the features as they are.
    """
    extractor = head.extractor
    fit = head.head_fit
    if fit is None or (fit.kernel is None and not (fit.prior or "").endswith("discriminant")):
        return head
    with head_vectors(extractor, dataset, ("train", dataset.selection_split)) as (train, validation):
        problem = _problem(extractor, dataset, extractor.pretrained_prior(dataset.classes, *train))
        solver = head_solver(extractor.settings.head_solver)
        fit = solver.fit(train, validation, replace(problem, discriminant=False, kernel="none"))
    state = extractor.head_state(fit.head)
    return replace(head, dataset=dataset, logits=fit.validation_logits.cpu().numpy(), state=state)


def _solved_splits(dataset: Dataset) -> tuple[str, ...]:
    """What a head is solved on, and where there is no cross-validation, what it is chosen on."""
    return ("train",) if dataset.cross_validated else ("train", dataset.selection_split)


def _problem(
    extractor: FeatureExtractor, dataset: Dataset, pretrained: LinearHead | None, *, targets: Tensor | None = None
) -> HeadProblem:
    settings = extractor.settings
    return HeadProblem(
        classes=len(dataset.classes),
        l2=settings.l2,
        blocks=extractor.blocks,
        stages=settings.stages,
        kernel=_kernel(extractor),
        pretrained=pretrained,
        balance=_balance(extractor, dataset, targets),
        precision=extractor.training_precision,
        seed=settings.seed,
        groups=dataset.fold_groups(dataset.selection_split),
    )


def _kernel(extractor: FeatureExtractor) -> str:
    """What ``--kernel`` says, where the network has a place for a kernel.

    :raises SettingsError: a kernel is asked for, and it has none.
    """
    asked = extractor.settings.kernel
    if stage_head(extractor.backbone.module) is not None:
        return asked
    if asked not in ("auto", "none"):
        raise SettingsError(
            f"--kernel {asked}: {extractor.backbone.name} is used without its stages, on which a kernel is computed: "
            "leave out --kernel and --stages none, or use a network of timm"
        )
    return "none"


def _balance(extractor: FeatureExtractor, dataset: Dataset, targets: Tensor | None = None) -> Balance:
    """The correction for imbalanced classes, by the training images or by these targets, (N,)."""
    counted = torch.from_numpy(dataset.targets("train")) if targets is None else targets
    return class_balance(counted, len(dataset.classes), extractor.settings.class_balance)


def _knows_all(extractor: FeatureExtractor, dataset: Dataset) -> bool:
    return len(match(dataset.classes, extractor.backbone.classes or ())) == len(dataset.classes)
