"""A pretrained network that may be chosen: what it gives for images, from the store that ``fit`` reads too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.data.manifest import Manifest
from headstart.data.views import read_views
from headstart.errors import DataError, ModelError, SettingsError
from headstart.features.extract import extract
from headstart.features.store import Space
from headstart.models import catalog, weights
from headstart.models.backbone import Backbone, load_backbone
from headstart.models.cut import Cut, cut
from headstart.models.engine import Engine, choose_batch, choose_device
from headstart.progress import Progress
from headstart.settings import FitSettings
from headstart.train.origins import Solution, matched_head
from headstart.workflow.frozen import open_prefix, open_space

__all__ = ["Candidate", "named", "open_candidate"]

EMBEDDED = "embedded"
_RUNS = 3  # of a batch, for the time


def named(asked: Sequence[str]) -> list[str]:
    """Names of models, each once: as they stand; of a pattern and of "embedded", those whose weights are at hand.

    :raises ModelError: a pattern fits no model, or none whose weights are on this machine.

    >>> named(["embedded", "resnet18"])[0], named(["embedded", "resnet18"])[-1]
    ('tf_efficientnet_lite0', 'resnet18')
    """
    return list(dict.fromkeys(name for each in asked for name in _named(each)))


def _named(asked: str) -> Iterator[str]:
    if asked == EMBEDDED:
        yield from (name for name in weights.EMBEDDED if weights.at_hand(name))
        return
    if not any(sign in asked for sign in "*?["):
        yield asked
        return
    fitting = [info.name for info in catalog.list_models(asked)]
    # A pattern must not download a hundred networks that nobody has named.
    found = [name for name in fitting if weights.at_hand(name)]
    if not found:
        raise ModelError(
            f"{asked}: no weights of such a model are on this machine (by name it is {len(fitting):,}); "
            "name those to be fetched, one by one"
            if fitting
            else f"no model's name fits {asked}; patterns are those of a shell, such as mobilenet*"
        )
    yield from found


@dataclass
class Candidate:
    """A network cut before its head."""

    backbone: Backbone
    parts: Cut
    space: Space
    old_head: nn.Module  # the pretrained network's own
    settings: FitSettings
    device: str
    seconds_an_image: float = 0.0  # of extraction, decoding included, as last seen
    timed: list[float] = field(default_factory=list)  # seconds of a full batch in the engine alone

    @property
    def parameters(self) -> int:
        """Of the whole network, its new head included."""
        return sum(each.numel() for each in self.backbone.module.parameters())

    @property
    def batch(self) -> int:
        """Images that go through at a time."""
        return choose_batch(self.settings.extract_batch, self.device)

    @cached_property
    def engine(self) -> Engine:
        """What runs it, opened when it is first needed."""
        return open_prefix(self.backbone, self.parts, self.settings)

    def missing(self, images: Manifest) -> int:
        """How many of these images the store has no features of."""
        return len(self.space.missing([str(each) for each in images.hashes]))

    def features(self, images: Manifest, *, progress: Progress) -> NDArray[Any]:
        """Features (N, D) of inspected, usable images; what is missing is computed and kept.

        :raises DataError: an image changed after it was inspected.
        """
        settings, new, start = self.settings, self.missing(images), time.monotonic()
        seen = extract(
            images,
            self.space,
            self.backbone.spec,
            open_run=lambda: self.engine,
            batch=self.batch,
            max_pixels=settings.max_pixels,
            workers=settings.workers,
            progress=progress,
        )
        if len(seen.unusable):
            raise DataError(
                f"{seen.unusable.uris[0]}: {seen.unusable.problems[0]}; images must stay as they are while "
                "models are ranked: start again"
            )
        if new:
            self.seconds_an_image = (time.monotonic() - start) / new
        return self.space.rows([str(each) for each in images.hashes]).take(np.arange(len(images)))

    def milliseconds(self, images: Manifest) -> float:
        """Milliseconds an image in the engine alone, by the batch: the median of some runs, decoding not counted.

        Measured apart from extraction, so that it is the same whether features were in the store or not, and whatever
        the threads that decode leave of the processor.
        """
        if not self.timed:
            batch = self._batch(images)
            self.engine(batch)  # the first run is slower
            for _ in range(_RUNS):
                start = time.monotonic()
                self.engine(batch)
                self.timed.append((time.monotonic() - start) / self.batch)
        return 1000 * statistics.median(self.timed)

    def _batch(self, images: Manifest) -> NDArray[np.uint8]:
        settings = self.settings
        rows = range(min(len(images), self.batch))
        (views,) = read_views(
            images, rows, self.backbone.spec, batch=len(rows), max_pixels=settings.max_pixels, workers=settings.workers
        )
        return np.stack(views.images)

    def pretrained(self, classes: Sequence[str], features: Tensor, targets: Tensor) -> Solution | None:
        """The rows of the pretrained head whose classes have the names of ours, as ``fit`` starts from; else None."""
        if self.settings.pretrained_head == "off":
            return None
        return matched_head(self.old_head, self.backbone.classes, classes, features, targets)


def open_candidate(name: str, settings: FitSettings, *, classes: int, progress: Progress | None = None) -> Candidate:
    """Load a network, give it a new head as ``fit`` does, and open its place in the store.

    :raises ModelError: there is no such network, its weights cannot be had, or its head is not one linear layer.
    """
    backbone = load_backbone(name, weights_file=settings.weights, seed=settings.seed, progress=progress)
    backbone = replace(backbone, spec=backbone.spec.changed(**settings.input_changes()))
    network, spec = backbone.module, backbone.spec
    old_head = network.get_classifier()  # type: ignore[operator]
    network.reset_classifier(classes)  # type: ignore[operator]
    parts = cut(network, "head", input_shape=(3, spec.height, spec.width))
    if len(parts.feature_shape) != 1 or not isinstance(network.get_classifier(), nn.Linear):  # type: ignore[operator]
        raise ModelError(f"{name}: its head is not one linear layer, so that it cannot be solved for")
    if settings.precision == "int8":
        raise SettingsError("--precision int8 is for a fit or a prediction; networks are ranked in another")
    device = choose_device(settings.device)
    space = open_space(backbone, parts, settings, device=device)
    return Candidate(backbone, parts, space, old_head, settings, device)
