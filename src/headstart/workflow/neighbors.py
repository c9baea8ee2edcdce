"""The images of a fitted classifier by their features, from the store: nothing is computed for them anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.artifacts.classifier import Classifier
from headstart.data.manifest import Manifest
from headstart.errors import RunError
from headstart.evaluate.schema import read_run_info
from headstart.features.location import feature_location
from headstart.features.store import FeatureStore
from headstart.features.table import FeatureTable
from headstart.inference.neighbors import Embedder, NearestImages
from headstart.models.backbone import digest

__all__ = ["Neighbor", "StoredImages", "TrainingImages", "open_training_images", "read_stored_images"]

_MAX_BYTES = 1 << 29  # of stored rows, which are in memory while their vectors are taken from them


@dataclass(frozen=True)
class Neighbor:
    """A training image near an image."""

    uri: str
    label: str
    cosine: float  # of the angle between their features: 1 if these are the same


@dataclass(frozen=True)
class TrainingImages:
    """The training images of a run whose features are stored."""

    total: int  # of the run; the features of some may not be stored

    embedder: Embedder
    dtype: str  # of the stored rows
    index: NearestImages
    uris: tuple[str, ...]
    labels: tuple[str, ...]

    def nearest(self, view: NDArray[np.uint8], k: int) -> list[Neighbor]:
        """The ``k`` nearest training images, nearest first.

        :param view: the evaluation view of an image, (H, W, 3).
        """
        vector = self.embedder.of_view(view, self.dtype)
        if vector is None:
            return []
        return [Neighbor(self.uris[row], self.labels[row], cosine) for row, cosine in self.index.nearest(vector, k)]


@dataclass(frozen=True)
class StoredImages:
    """Images of a run whose features are stored, with a vector of each."""

    total: int  # images of these splits; the features of some may not be stored
    embedder: Embedder
    dtype: str  # of the stored rows
    vectors: NDArray[np.float32]  # (N, D)
    uris: tuple[str, ...]
    labels: tuple[str, ...]


def open_training_images(run: Path, classifier: Classifier) -> TrainingImages:
    """Read the features of a run's training images from the store that its fit used.

    :raises RunError: the folder is no run, its features are not stored any more, or they take more than 512 MB.
    """
    found = read_stored_images(run, classifier, ("train",))
    index = NearestImages(found.vectors)
    return TrainingImages(found.total, found.embedder, found.dtype, index, found.uris, found.labels)


def read_stored_images(run: Path, classifier: Classifier, splits: Sequence[str]) -> StoredImages:
    """Read the features of a run's images in some splits from the store that its fit used.

    :raises RunError: the folder is no run, its features are not stored any more, or they take more than 512 MB.
    """
    info = read_run_info(run / "settings.json")
    manifest = Manifest.read(run / "manifest.parquet").usable
    embedder = Embedder(classifier.network, classifier.pipeline.parts, classifier.spec)
    if embedder.parts.at_image:
        raise RunError(f"{run}: all layers were trained, so that no features of its images are stored")
    folder = feature_location(info.settings.get("cache_dir"), info.settings.get("feature_store"))
    model = classifier.model
    gone = (
        f"{run}: the features of its images are not in {folder}: name the cache that its fit used with "
        "HEADSTART_CACHE, or fit it again to compute them"
    )
    if isinstance(folder, Path) and not folder.is_dir():
        raise RunError(gone)
    hashes, labels = manifest.hashes, manifest.labels
    asked = [
        row
        for row, split in enumerate(manifest.splits)
        if split in splits and labels[row] is not None and hashes[row] is not None
    ]
    wanted = [str(hashes[row]) for row in asked]
    tables = [each for each in FeatureStore(folder).tables() if each.space.model == model and _suits(each, embedder)]
    best = min(tables, key=lambda table: len(table.missing(wanted)), default=None)
    if best is None:
        raise RunError(gone)
    missing = set(best.missing(wanted))
    kept = [row for row in asked if hashes[row] not in missing]
    if not kept:
        raise RunError(gone)
    rows = best.rows([str(hashes[row]) for row in kept])
    if rows.nbytes > _MAX_BYTES:
        raise RunError(
            f"{run}: the features of {len(kept):,} of its images take {rows.nbytes / 1e9:.1f} GB, more than are "
            "read into memory (0.5 GB)"
        )
    vectors = embedder.of_rows(rows.take(np.arange(len(kept))))
    if vectors is None:
        raise RunError(f"{run}: the head of {model} is not given one vector per image, by which images are compared")
    uris = manifest.uris
    return StoredImages(
        len(asked),
        embedder,
        best.space.dtype,
        vectors,
        tuple(uris[row] for row in kept),
        tuple(str(labels[row]) for row in kept),
    )


def _suits(table: FeatureTable, embedder: Embedder) -> bool:
    """Whether the rows of a table are those of the classifier's own frozen part."""
    space, parts = table.space, embedder.parts
    if space.spec != embedder.spec or space.weights != digest(parts.prefix):
        return False
    if embedder.stores_vectors:  # what the classifier does not use of the pooled stages is stored all the same
        return _base(space.cut) == _base(parts.name) and space.shape[0] >= parts.feature_shape[0]
    return space.cut == parts.name and space.shape == parts.row_shape


def _base(cut: str) -> str:
    """The name of a cut without the pooled stages that are stored beside it."""
    return cut.partition("+")[0]
