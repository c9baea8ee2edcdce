"""Pretrained networks to choose from: their names, and the features that each computes or has in the feature store."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.config import FitSettings
from headstart.data.manifest import Manifest
from headstart.data.value_range import ValueRange
from headstart.data.views import read_views
from headstart.errors import DataError, ModelError, SettingsError
from headstart.events import Events
from headstart.inference.engine import Engine, choose_device
from headstart.models import catalog, weights
from headstart.models.backbone import load_backbone
from headstart.models.stage_head import stage_head
from headstart.workflow.extraction import FeatureExtractor, open_extractor

__all__ = ["Candidate", "expand_models", "open_candidate"]

EMBEDDED = "embedded"
_TIMED_BATCHES = 3


def expand_models(requested: Sequence[str]) -> list[str]:
    """Resolve names, patterns and "embedded" to the names of models, each once.

    A name is returned as it is; a pattern and "embedded" yield only models whose weights are on this machine.

    :raises ModelError: a pattern matches no model, or only models whose weights are not on this machine.

    >>> expand_models(["embedded", "resnet18"])[0], expand_models(["embedded", "resnet18"])[-1]
    ('tf_efficientnet_lite0', 'resnet18')
    """
    return list(dict.fromkeys(name for each in requested for name in _expand(each)))


def _expand(requested: str) -> Iterator[str]:
    if requested == EMBEDDED:
        yield from (name for name in weights.EMBEDDED if weights.is_available(name))
        return
    if not any(sign in requested for sign in "*?["):
        yield requested
        return
    matching = [info.name for info in catalog.list_models(requested)]
    # A pattern must not download a hundred networks that nobody has named.
    available = [name for name in matching if weights.is_available(name)]
    if not available:
        raise ModelError(
            f"{requested}: this machine has no weights of the {len(matching):,} models that match; "
            "give the names of those to download"
            if matching
            else f"no model matches {requested}; patterns are those of a shell, for example mobilenet*"
        )
    yield from available


@dataclass(frozen=True)
class Candidate:
    """A network that is cut before its head."""

    extractor: FeatureExtractor

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.extractor.backbone.name

    @property
    def parameters(self) -> int:
        """The number of parameters of the whole network, with its new head for the last features."""
        module = self.extractor.backbone.module
        of_stages = stage_head(module)
        return sum(each.numel() for each in module.parameters() if of_stages is None or each is not of_stages.weight)

    @property
    def engine(self) -> Engine:
        """The frozen part, opened when it is first needed."""
        engine = self.extractor.run
        assert isinstance(engine, Engine)  # a network cut before its head is never cut at the image
        return engine

    def features(self, images: Manifest, *, events: Events) -> NDArray[np.floating]:
        """The last features (N, D) of inspected, usable images; those that the store lacks are computed and stored.

        The pooled stages are stored beside them, for a fit.

        :raises DataError: an image changed after it was inspected.
        """
        if problems := self.extractor.compute(images, views=(0,), events=events):
            row, reason = problems[0]
            raise DataError(
                f"{images.uris[row]}: {reason}; images must not change while models are ranked: start again"
            )
        rows = self.extractor.table.rows(images.table["hash"]).take(np.arange(len(images)))
        return rows[:, : self.extractor.blocks[0]]

    def ms_per_image(self, images: Manifest) -> float:
        """Milliseconds per image in the engine alone: the median over some full batches, without decoding.

        It is measured apart from extraction, so that it depends neither on whether features were in the store nor on
        the threads that decode images.
        """
        settings, size = self.extractor.settings, self.extractor.batch_size
        rows = range(min(len(images), size))
        (views,) = read_views(
            images,
            rows,
            self.extractor.backbone.spec,
            batch_size=len(rows),
            max_pixels=settings.max_pixels,
            workers=settings.workers,
        )
        batch, seconds = np.stack(views.images), []
        self.engine(batch)  # the first run is slower
        for _ in range(_TIMED_BATCHES):
            start = time.monotonic()
            self.engine(batch)
            seconds.append((time.monotonic() - start) / size)
        return 1000 * statistics.median(seconds)


def open_candidate(
    name: str,
    settings: FitSettings,
    *,
    classes: int,
    value_ranges: tuple[ValueRange, ...] = (),
    events: Events | None = None,
) -> Candidate:
    """Load a network, give it a new head as a fit does, and open the table of its features.

    :param value_ranges: of the data set, for its pixels that are not 8-bit.
    :raises ModelError: there is no such network, its weights are not available, or its head is not one linear layer.
    :raises SettingsError: the precision is int8.
    """
    if settings.precision == "int8":
        raise SettingsError("precision int8 is for fit and predict; choose another one for ranking")
    backbone = load_backbone(
        name, weights_file=settings.weights, class_names=settings.class_names, seed=settings.seed, events=events
    )
    backbone = backbone.with_input(**settings.input_changes(), value_ranges=value_ranges)
    for line in backbone.reading():
        (events or Events()).notice(line)
    backbone = backbone.with_new_head(classes, seed=settings.seed, stages=settings.stages != "none")
    extractor = open_extractor(backbone, "head", settings, device=choose_device(settings.device))
    if not extractor.is_linear:
        raise ModelError(f"{name}: its head is not one linear layer, so that it cannot be solved")
    return Candidate(extractor)
