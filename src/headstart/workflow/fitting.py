"""From labelled images to a classifier and what it is worth."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart import __version__
from headstart.classifier import Classifier, softmax
from headstart.data.checkup import refuse_if_too_many
from headstart.data.manifest import Manifest
from headstart.data.split import assign_split, last_rows
from headstart.errors import DataError
from headstart.evaluate import evaluate
from headstart.features.extract import extract
from headstart.features.store import Space
from headstart.models.backbone import Backbone, load_backbone
from headstart.models.cut import Cut, cut
from headstart.models.engine import Normalised, choose_device
from headstart.models.names import match
from headstart.models.trainable import glorot
from headstart.progress import Progress
from headstart.settings import FitSettings
from headstart.train.head import Solution, matched_head, solve_head
from headstart.train.part import Inputs, Kept, Part
from headstart.train.tail import Loop, logits, train_tail
from headstart.workflow.checking import inspected
from headstart.workflow.frozen import open_prefix, open_space

__all__ = ["Fitted", "fit"]

_KEEP_IN_MEMORY = 1 << 30  # bytes of features; with more, batches are read from the store


@dataclass
class Fitted:
    """All that a run folder holds."""

    classifier: Classifier
    settings: FitSettings
    manifest: Manifest  # every image, with its part and its problem
    part: str  # which part was evaluated: "test" where there is one, else "validation"
    probabilities: NDArray[np.float32]  # of that part's images, in the manifest's order
    evaluation: dict[str, Any]
    history: list[dict[str, Any]]


def fit(manifest: Manifest, settings: FitSettings, *, progress: Progress | None = None) -> Fitted:
    """Make a classifier.

    :param manifest: images with labels; those without a label are left out.
    :raises SettingsError: a setting is wrong; nothing has been done.
    :raises DataError: the images or labels cannot be used as they are.
    :raises ModelError: the network or its weights cannot be had, or cut as asked.
    """
    settings.check()
    work = _Fitting(settings, progress or Progress())
    with work.timed("loading"):
        work.load()
    with work.timed("reading"):
        data = work.split(manifest)
    with work.timed("cutting"):
        work.cut()
    with work.timed("features"):
        data = work.extract(data)
        work.refuse_what_was_lost(data)
    with work.timed("training"):
        work.train(data)
    return work.finish(data)


@dataclass
class _Fitting:
    """A fit under way. Each step needs what the one before it set."""

    settings: FitSettings
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    backbone: Backbone = field(init=False)
    old_head: Any = field(init=False)  # the pretrained network's
    classes: tuple[str, ...] = field(init=False)
    parts: Cut = field(init=False)
    tail: nn.Module = field(init=False)
    device: str = field(init=False)
    space: Space = field(init=False)

    @contextmanager
    def timed(self, stage: str) -> Any:
        """Note how long a stage takes."""
        start = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - start, 2)

    def split(self, manifest: Manifest) -> Manifest:
        """Inspect, and say who trains and who examines."""
        unlabelled = sum(label is None for label in manifest.labels)
        if unlabelled == len(manifest):
            raise DataError("no image has a label: give a folder a class, or a table of labels (--labels TABLE)")
        if unlabelled:
            self.progress.say(f"{unlabelled:,} images have no label and are left out")
            manifest = manifest.select(np.array([label is not None for label in manifest.labels]))
        seen = inspected(manifest, self.settings, progress=self.progress)
        shares = {"validation": self.settings.validation, "test": self.settings.test}
        by_chance = self.settings.split == "drawn"
        data = assign_split(seen, **shares, seed=self.settings.seed) if by_chance else last_rows(seen, **shares)
        self.classes = data.usable.part("train").classes
        if self.settings.class_order == "appearance":
            known = set(self.classes)
            self.classes = tuple(label for label in dict.fromkeys(data.labels) if label in known)
        _refuse_what_cannot_be_learned(data.usable, self.classes)
        return data

    def load(self) -> None:
        """Load the network: first, since a wrong name or device shall not be told after minutes of reading."""
        settings = self.settings
        self.device = choose_device(settings.device)
        backbone = load_backbone(
            settings.model, weights_file=settings.weights, seed=settings.seed, progress=self.progress
        )
        backbone = replace(backbone, spec=backbone.spec.changed(**settings.input_changes()))
        self.backbone, self.old_head = backbone, backbone.module.get_classifier()  # type: ignore[operator]

    def cut(self) -> None:
        """Give the network a new head and cut it where training starts."""
        settings, network, spec = self.settings, self.backbone.module, self.backbone.spec
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network.reset_classifier(len(self.classes))  # type: ignore[operator]
            if settings.head_init == "glorot":
                glorot(network)
        self.parts = cut(network, settings.train, input_shape=(3, spec.height, spec.width))
        trainable = set(self.parts.trainable)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in trainable)
        self.tail = Normalised(network, spec) if self.parts.at_image else self.parts.tail
        self.space = open_space(self.backbone, self.parts, settings, device=self.device)

    def extract(self, data: Manifest) -> Manifest:
        """Compute what the store does not have."""
        settings = self.settings

        def open_run() -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
            if self.parts.at_image:
                return lambda images: images
            return open_prefix(self.backbone, self.parts, settings)

        usable = np.flatnonzero([problem is None for problem in data.problems])
        seen = extract(
            data.select(usable),
            self.space,
            self.backbone.spec,
            open_run=open_run,
            batch=settings.extract_batch,
            max_pixels=settings.max_pixels,
            workers=settings.workers,
            progress=self.progress,
        )
        problems = data.problems
        for row, problem in zip(usable, seen.problems, strict=True):
            problems[row] = problem
        return data.with_column("problem", problems)

    def refuse_what_was_lost(self, data: Manifest) -> None:
        """Images may vanish between being inspected and being computed with: it must still be the same task.

        :raises DataError: too many are lost, or all of a class.
        """
        refuse_if_too_many(data, most=self.settings.max_problems)
        left = data.usable.part("train").classes
        lost = [name for name in self.classes if name not in left]
        if lost:
            raise DataError(
                f"while they were read, all images of {lost[0]} to train on vanished or changed; start again"
            )
        _refuse_what_cannot_be_learned(data.usable, left)

    def part(self, data: Manifest, split: str) -> Part:
        """One part's features and targets."""
        rows = data.usable.part(split)
        features = self.space.rows([str(each) for each in rows.hashes])
        fits = features.nbytes <= _KEEP_IN_MEMORY
        inputs: Inputs = Kept(features.take(np.arange(len(rows)))) if fits else features
        return Part(inputs, rows.targets(self.classes))

    def train(self, data: Manifest) -> None:
        """Solve the head, or train the tail."""
        train, validation = self.part(data, "train"), self.part(data, "validation")
        head = self.backbone.module.get_classifier()  # type: ignore[operator]
        plain = isinstance(head, nn.Linear) and head.bias is not None and len(self.parts.feature_shape) == 1
        if self.settings.train == "head" and plain:
            self._solve(head, train, validation)
        else:
            self._loop(train, validation)

    def _solve(self, head: nn.Linear, train: Part, validation: Part) -> None:
        (x, y), checks = (self._tensors(part) for part in (train, validation))
        with self.progress.stage("solving the head", total=1, unit="path") as advance:
            found = solve_head(
                (x, y), checks, classes=len(self.classes), l2=self.settings.l2, pretrained=self._pretrained(x, y)
            )
            advance(1)
        with torch.no_grad():
            head.weight.copy_(found.solution.weight)
            head.bias.copy_(found.solution.bias)
        self.history += found.history

    def _pretrained(self, features: torch.Tensor, targets: torch.Tensor) -> Solution | None:
        if self.settings.pretrained_head == "off":
            return None
        return matched_head(self.old_head, self.backbone.classes, self.classes, features, targets)

    def _tensors(self, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
        values = part.inputs.take(np.arange(len(part)))
        return torch.from_numpy(values).float().to(self.device), torch.from_numpy(part.targets).to(self.device)

    def _loop(self, train: Part, validation: Part) -> None:
        settings = self.settings
        loop = Loop(**{each.name: getattr(settings, each.name) for each in fields(Loop)})
        with self.progress.stage("training", total=settings.epochs, unit="epoch") as advance:

            def on_epoch(line: dict[str, Any]) -> None:
                advance(1)
                self.progress.say(
                    "epoch {epoch}: loss {loss:.3f}, accuracy {accuracy:.1%}; validation {val_loss:.3f}, "
                    "{val_accuracy:.1%}".format(**line)
                )

            self.history += train_tail(self.tail, train, validation, loop, device=self.device, on_epoch=on_epoch)

    def finish(self, data: Manifest) -> Fitted:
        """Examine the classifier on the part that is farthest from the choices."""
        part = "test" if len(data.usable.part("test")) else "validation"
        with self.timed("evaluating"):
            examined = self.part(data, part)
            probabilities = softmax(logits(self.tail, examined.inputs, device=self.device))
            evaluation = evaluate(examined.targets, probabilities, self.classes, part=part)
        evaluation |= {"note": _NOTES[part], "notes": self._warnings(), "summary": self._summary(data)}
        self.backbone.module.to("cpu")
        classifier = Classifier(
            self.backbone.module,
            self.classes,
            self.backbone.spec,
            self.backbone.name,
            self.settings.train,
            facts={
                "source": self.backbone.source,
                "licence": self.backbone.licence,
                "store_as": self.settings.store_as,
                "precision": self.settings.precision,
                "cut": self.parts.name,
            },
        )
        return Fitted(classifier, self.settings, data, part, probabilities, evaluation, self.history)

    def _warnings(self) -> list[str]:
        """What makes every figure of this network on these images doubtful."""
        shared = len(match(self.classes, self.backbone.classes or ()))
        if not shared:
            return []
        return [
            f"{shared} of the {len(self.classes)} classes have the name of a class that the network was pretrained on. "
            "If the pictures come from there too (as Stanford's and Kaggle's dogs do from ImageNet), it has seen them, "
            "and every figure flatters it."
        ]

    def _summary(self, data: Manifest) -> dict[str, Any]:
        network = self.backbone.module
        sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
        return {
            "headstart": __version__,
            "model": self.backbone.name,
            "weights": self.backbone.source,
            "train": self.settings.train,
            "parameters": sum(sizes.values()),
            "trainable": sum(sizes[name] for name in self.parts.trainable),
            "bytes_per_image": self.parts.bytes_per_image,
            "images": {part: len(data.usable.part(part)) for part in ("train", "validation", "test")},
            "problems": len(data.unusable),
            "seconds": self.seconds,
        }


_NOTES = {
    "validation": "These images were not trained on, but the strength of the L2 penalty or the best epoch was chosen "
    "on them, so that the figures are a little too good.",
    "test": "These images were neither trained on nor used for any choice.",
}


def _refuse_what_cannot_be_learned(usable: Manifest, classes: tuple[str, ...]) -> None:
    if len(classes) < 2:
        raise DataError(f"a classifier needs images of at least 2 classes to train on, got {_listed(classes)}")
    if not len(usable.part("validation")):
        raise DataError(
            "no image is left to validate on: give at least two images of a class, or a larger --validation"
        )
    for part in ("validation", "test"):
        strange = sorted(set(usable.part(part).classes) - set(classes))
        if strange:
            raise DataError(
                f"{part} has classes that train has not: {', '.join(strange[:3])}; train needs images of each"
            )


def _listed(classes: tuple[str, ...]) -> str:
    return f"1 class, {classes[0]!r}" if classes else "none"
