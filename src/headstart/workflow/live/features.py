"""The features of a project's images: those of the feature store first, the others as they are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headstart.config import FitSettings
from headstart.data.manifest import Manifest
from headstart.data.projects import ProjectImage
from headstart.errors import SettingsError
from headstart.events import Events
from headstart.workflow.candidates import Candidate, open_candidate
from headstart.workflow.value_ranges import given_ranges

__all__ = ["Computed", "LiveNetwork", "manifest_of"]

_STORED = 4096  # images that are read from the store at a time


@dataclass(frozen=True)
class Computed:
    """The vectors of some images, and what could not be read of others."""

    ids: tuple[int, ...]
    vectors: NDArray[np.floating]  # (N, D)
    problems: tuple[tuple[int, str], ...] = ()  # (image id, reason)


def manifest_of(images: Sequence[ProjectImage], names: dict[int, str] | None = None) -> Manifest:
    """The images of a project as a manifest.

    :param names: of the classes by id, to give the images their labels.
    """
    labels = None
    if names is not None:
        labels = [None if each.class_id is None else names[each.class_id] for each in images]
    manifest = Manifest.from_rows([each.uri for each in images], labels=labels)
    for column in ("width", "height", "hash", "problem"):
        manifest = manifest.with_column(column, [getattr(each, column) for each in images])
    return manifest


class LiveNetwork:
    """A pretrained network as ``fit`` opens it, with its table of features: a later fit finds what is computed here."""

    def __init__(self, settings: FitSettings) -> None:
        """Nothing is loaded yet.

        :raises SettingsError: the settings name no single network, or int8.
        """
        settings.check()
        if settings.model == "auto":
            raise SettingsError("model auto chooses by the images, which come in one by one here: name a network")
        self.settings = settings

    @cached_property
    def candidate(self) -> Candidate:
        """The network, cut before its head.

        :raises ModelError: there is no such network, or its head cannot be solved.
        :raises WeightsNotFound: its weights are not available.
        """
        return open_candidate(
            self.settings.model,
            self.settings,
            classes=2,
            value_ranges=given_ranges(self.settings),
            events=Events(),
        )

    @property
    def width(self) -> int:
        """The number of features that the head is given here: the last ones, without the pooled stages."""
        return self.candidate.extractor.blocks[0]

    @cached_property
    def single(self) -> Candidate:
        """The same for single images, which a batch of them would make wait."""
        extractor = self.candidate.extractor
        return Candidate(replace(extractor, settings=replace(self.settings, extract_batch_size=1)))

    def stored(self, images: Sequence[ProjectImage]) -> Iterator[Computed]:
        """Yield the vectors of images whose features the store has, some thousands at a time.

        :raises StoreError: the store cannot be read.
        """
        missing = set(self.candidate.extractor.table.missing([str(each.hash) for each in images]))
        here = [each for each in images if each.hash not in missing]
        for start in range(0, len(here), _STORED):
            yield self._read(here[start : start + _STORED])

    def compute(self, images: Sequence[ProjectImage]) -> Computed:
        """Compute the features of images, and keep them in the store.

        :raises StoreError: the store cannot be read or written.
        """
        problems = self.candidate.extractor.compute(manifest_of(images), views=(0,), events=Events())
        reasons = {images[row].id: reason for row, reason in problems}
        found = self._read([each for each in images if each.id not in reasons])
        return replace(found, problems=tuple(sorted(reasons.items())))

    def _read(self, images: Sequence[ProjectImage]) -> Computed:
        if not images:
            return Computed((), np.zeros((0, self.width), np.float16))
        rows = self.candidate.extractor.table.rows([str(each.hash) for each in images])
        return Computed(tuple(each.id for each in images), rows.take(np.arange(len(rows)))[:, : self.width])
