"""The frozen part of a backbone: what runs it, where its features are kept, and how the trained part reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart import paths
from headstart.config import FitSettings
from headstart.data.inspection_cache import InspectionCache
from headstart.data.manifest import Manifest
from headstart.data.readers import choose_decoder
from headstart.data.spec import InputSpec
from headstart.data.transforms import FLIPPED_VIEW
from headstart.evaluate.out_of_distribution import MAX_FIT_IMAGES
from headstart.events import Events
from headstart.execution.cluster import parse_cluster
from headstart.execution.memory import trim_heap
from headstart.features.extractor import extract_features, find_missing
from headstart.features.joint import JointTables
from headstart.features.key import FeatureSpace
from headstart.features.location import feature_location
from headstart.features.missing import keys_from_hex
from headstart.features.sources import AveragedViews, FeatureSource, InMemoryFeatures
from headstart.features.store import FeatureStore
from headstart.features.table import FeatureTable
from headstart.inference.compiled_cache import cache_path
from headstart.inference.engine import (
    Engine,
    Images,
    Normalized,
    choose_batch_size,
    choose_precision,
    computes_on,
    open_engine,
    runs_on_cpu,
)
from headstart.inference.network import NetworkOutputs, head_inputs, mean_outputs, network_outputs
from headstart.inference.quantization import Calibration
from headstart.models.backbone import Backbone, digest
from headstart.models.cut import Cut, cut
from headstart.models.stage_head import STAGE_HEAD, stage_head
from headstart.train.heads import Head, KernelHead, LinearHead, matched_head
from headstart.train.heads.vectors import Vectors
from headstart.workflow.dataset import Dataset

__all__ = [
    "MAX_IN_MEMORY",
    "FeatureExtractor",
    "extract",
    "open_extractor",
]

MAX_IN_MEMORY = 1 << 30  # bytes of training features; with more, batches are read from the table
MAX_FOR_ONE_PASS = 1 << 26  # bytes of features that are read once and in order, at which the table is quick


@dataclass(frozen=True)
class EngineSource:
    """Opens the engine of a frozen part; it can be pickled."""

    cut: Cut
    spec: InputSpec
    model: str  # names the network in the cache of prepared engines
    settings: FitSettings
    calibration: Calibration | None = None  # for --precision int8

    def __call__(self) -> Callable[[Images], NDArray[np.generic]] | Engine:
        """Open it; for a network that is cut at the image, what passes pixels on.

        :raises SettingsError: the requested device or engine is not on this machine.
        """
        if self.cut.at_image:
            return np.asarray
        settings, spec = self.settings, self.spec
        batch = choose_batch_size(settings.extract_batch_size, settings.device)
        folder = paths.prepared(settings.cache_dir)
        return open_engine(
            self.cut.prefix,
            spec,
            batch_size=batch,
            device=settings.device,
            precision=settings.precision,
            engine=settings.engine,
            compiled_path=lambda: cache_path(folder, f"{self.model} to {self.cut.name}", self.cut.prefix, spec, batch),
            calibration=self.calibration,
        )


@dataclass(frozen=True)
class FeatureExtractor:
    """A backbone that is cut where training starts, and the table with the features of what comes before the cut."""

    train: str
    backbone: Backbone
    cut: Cut
    tail: nn.Module  # features (B, ...) -> logits (B, C)
    table: FeatureTable
    settings: FitSettings
    device: str
    calibration: Calibration | None = None  # with --precision int8

    @cached_property
    def run(self) -> Callable[[Images], NDArray[np.generic]] | Engine:
        """Computes features of images (B, H, W, 3); opened when it is first needed."""
        return self.engine_source()()

    def engine_source(self) -> EngineSource:
        """What opens the engine in another process, with the cache folder of this one."""
        folder = str(paths.root(self.settings.cache_dir).absolute())
        settings = replace(self.settings, cache_dir=folder)
        if self.calibration is None:  # what "auto" means is the table's to say, not that of another processor
            settings = replace(settings, precision=self.table.space.precision)
        return EngineSource(self.cut, self.backbone.spec, self.backbone.name, settings, self.calibration)

    def release(self) -> None:
        """Free what computes the features, some hundred megabytes; it is opened again when it is needed again."""
        self.__dict__.pop("run", None)
        trim_heap()

    @property
    def views(self) -> tuple[int, ...]:
        """The views of an image that are averaged in prediction."""
        return (0, FLIPPED_VIEW) if self.settings.tta_flip else (0,)

    @property
    def is_linear(self) -> bool:
        """Whether the trained part is one linear layer on vectors, which can be solved."""
        head = self.backbone.head
        return isinstance(head, nn.Linear) and head.bias is not None and len(self.cut.feature_shape) == 1

    @property
    def training_precision(self) -> str:
        """Precision of the trained part; 8-bit integers cannot be trained."""
        asked = self.settings.precision
        return choose_precision("auto" if asked == "int8" else asked, self.device)

    def source(self, images: Manifest, view: int = 0, *, max_bytes: int | None = None) -> FeatureSource:
        """The stored features of images, read now if they take at most ``max_bytes``, by default 1 GiB."""
        max_bytes = MAX_IN_MEMORY if max_bytes is None else max_bytes
        rows = self.table.rows(images.table["hash"], view=view)
        return InMemoryFeatures(rows.load(paths.root(self.settings.cache_dir))) if rows.nbytes <= max_bytes else rows

    def vectors(self, images: Manifest) -> Vectors:
        """Features for solving a head, on the device: (N, D), or where there are several views of each (N, V, D).

        What does not fit into memory is read when it is needed, and then averaged over the views.
        """
        views = tuple(self.source(images, view) for view in self.views)
        arrays = [each.values for each in views if isinstance(each, InMemoryFeatures)]
        if len(arrays) < len(views):
            return views[0] if len(views) == 1 else AveragedViews(views)
        return torch.from_numpy(_of_views(arrays)).to(self.device)

    def outputs(self, images: Manifest, *, precision: str = "float32", all_rows: bool = False) -> NetworkOutputs:
        """What the network gives for images now, averaged over the views.

        Of more than 10,000 images, embeddings are kept of every n-th only, unless ``all_rows``.
        """
        sources = [self.source(images, view, max_bytes=MAX_FOR_ONE_PASS) for view in self.views]
        step = 1 if all_rows else -(-len(images) // MAX_FIT_IMAGES) or 1
        head = self.backbone.head
        found = mean_outputs(
            [
                network_outputs(self.tail, head, source, device=self.device, precision=precision, step=step)
                for source in sources
            ]
        )
        del sources
        trim_heap()  # of the features, and of what the network has computed of them
        return found

    @property
    def batch_size(self) -> int:
        """Images per batch in the frozen part."""
        return choose_batch_size(self.settings.extract_batch_size, self.device)

    def missing(self, images: Manifest, view: int = 0) -> int:
        """The number of different images of which the table has no features of this view."""
        keys = keys_from_hex(images.table["hash"])
        return len(find_missing(self.table, keys, np.arange(len(keys)), (view,)))

    def compute(self, images: Manifest, *, events: Events, views: Sequence[int] | None = None) -> list[tuple[int, str]]:
        """Compute the features of inspected images that the table lacks; return (row, reason) of unreadable ones.

        :param views: of each image; by default those that are averaged in prediction.
        """
        cluster = None if self.settings.cluster is None else parse_cluster(self.settings.cluster)
        return extract_features(
            images,
            self.table,
            self.backbone.spec,
            open_engine=(lambda: self.run) if cluster is None else self.engine_source(),
            cluster=cluster,
            device="cpu" if self.cut.at_image or runs_on_cpu(self.cut.prefix) else self.settings.device,
            views=self.views if views is None else views,
            batch_size=self.batch_size,
            max_pixels=self.settings.max_pixels,
            workers=self.settings.workers,
            events=events,
        )

    def compute_with(
        self, other: FeatureExtractor, joint: nn.Module, images: Manifest, *, events: Events
    ) -> list[tuple[int, str]]:
        """Compute the features that the tables of both lack, in one pass; return (row, reason) of unreadable images.

        :param other: an extractor of the same network and settings, cut elsewhere.
        :param joint: what computes both (:func:`headstart.models.joint_prefix.joint_prefix`).
        """
        name = f"{self.cut.name} and {other.cut.name}"
        source = replace(self.engine_source(), cut=Cut(joint, self.tail, name, (), ()))
        return extract_features(
            images,
            JointTables(self.table, other.table),
            self.backbone.spec,
            open_engine=source,
            batch_size=self.batch_size,
            max_pixels=self.settings.max_pixels,
            workers=self.settings.workers,
            events=events,
        )

    def pretrained_prior(self, classes: Sequence[str], features: Vectors, targets: Tensor) -> LinearHead | None:
        """The rows of the pretrained head for the classes that it has by name; None without any, or if turned off."""
        backbone = self.backbone
        if not self.settings.pretrained_head or backbone.pretrained_head is None:
            return None
        return matched_head(backbone.pretrained_head, backbone.classes, classes, features, targets)

    def train_only(self) -> None:
        """Let only the parameters after the cut require gradients."""
        trainable = set(self.cut.trainable)
        for name, parameter in self.backbone.module.named_parameters():
            parameter.requires_grad_(name in trainable)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Sizes of the blocks of features that a head is given: the last ones, then the pooled stages."""
        of_stages = stage_head(self.backbone.module)
        stages = () if of_stages is None else of_stages.stages
        return (self.backbone.head.in_features, *(stage.width for stage in stages))

    def head_state(self, solved: Head) -> dict[str, Tensor]:
        """The parameters and buffers of a head on these blocks, by their names in the network.

        :raises TypeError: a solver has returned something that the network has no place for.
        """
        head, of_stages = self.backbone.head, stage_head(self.backbone.module)
        kernel = {}
        if isinstance(solved, KernelHead) and of_stages is not None:
            kernel = {f"{STAGE_HEAD}.{name}": value for name, value in solved.buffers().items()}
            weight = solved.bias.new_zeros(len(solved.bias), sum(self.blocks))
        elif isinstance(solved, LinearHead):
            weight = solved.padded(sum(self.blocks)).weight
        else:
            raise TypeError(f"the head of this network cannot be a {type(solved).__name__}")
        values = {id(head.weight): weight[:, : self.blocks[0]], id(head.bias): solved.bias}
        if of_stages is not None:
            values[id(of_stages.weight)] = weight[:, self.blocks[0] :]
        named = {name: values[id(each)] for name, each in self.backbone.module.named_parameters() if id(each) in values}
        return {name: value.detach().cpu().clone() for name, value in {**named, **kernel}.items()}

    def head_inputs(self, images: Manifest) -> Tensor:
        """What the head of the network as it is now is given, as :meth:`vectors` returns it: the blocks of (N, D)."""
        heads = [each for each in (self.backbone.head, stage_head(self.backbone.module)) if each is not None]
        views = [
            head_inputs(self.tail, heads, self.source(images, view, max_bytes=MAX_FOR_ONE_PASS), device=self.device)
            for view in self.views
        ]
        return torch.from_numpy(_of_views(views)).to(self.device)


def _of_views(arrays: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """One view (N, D) as it is, several as (N, V, D)."""
    return arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)


def open_extractor(
    backbone: Backbone, train: str, settings: FitSettings, *, device: str, calibration: Calibration | None = None
) -> FeatureExtractor:
    """Cut a backbone where ``train`` says that training starts, and open the table of its features.

    :raises CutError: it cannot be cut there.
    :raises StoreError: the feature store cannot be used.
    """
    # An earlier trial may have been trained on a GPU, and left its layers there.
    network = backbone.module.to("cpu")
    parts = cut(network, train, input_shape=backbone.input_shape)
    tail = Normalized(parts.tail, backbone.spec) if parts.at_image else parts.tail
    table = _open_table(backbone, parts, settings, device=device, calibration=calibration)
    return FeatureExtractor(train, backbone, parts, tail, table, settings, device, calibration)


def extract(
    extractor: FeatureExtractor,
    dataset: Dataset,
    rows: NDArray[np.int64],
    *,
    events: Events,
    views: Sequence[int] | None = None,
) -> Dataset:
    """Compute the features that the table lacks of some images.

    :param rows: of the manifest, as :meth:`headstart.workflow.dataset.Dataset.rows` finds them.
    :param views: of each image; by default those that are averaged in prediction.
    :returns: the data set without images that could not be read any more.
    :raises DataError: too many images vanished or changed, or all of a class.
    """
    settings = extractor.settings
    images = dataset.manifest.select(rows)
    problems = extractor.compute(images, views=views, events=events)
    if not problems:
        return dataset
    events.warn(f"{len(problems):,} images vanished or changed after they were inspected, and are left out")
    # Should the cache be wrong about them, the next fit does not repeat it.
    InspectionCache(paths.inspections(settings.cache_dir)).forget([images.uris[row] for row, _ in problems])
    return dataset.without(((int(rows[row]), reason) for row, reason in problems), max_problems=settings.max_problems)


def _open_table(
    backbone: Backbone, parts: Cut, settings: FitSettings, *, device: str, calibration: Calibration | None = None
) -> FeatureTable:
    """The table for the features of a frozen part; for a network that is cut at the image, for its pixels.

    :param calibration: for ``--precision int8``.
    :raises StoreError: the feature store cannot be used.
    """
    spec, at_image = backbone.spec, parts.at_image
    precision = choose_precision(settings.precision, device) if calibration is None else calibration.name
    space = FeatureSpace(
        model=backbone.name,
        weights=digest(parts.prefix),
        cut=parts.name,
        spec=spec,
        precision="float32" if at_image else precision,
        dtype="uint8" if at_image else settings.feature_dtype,
        shape=(spec.height, spec.width, 3) if at_image else parts.row_shape,
        decoder="pillow" if at_image else choose_decoder(computes_on(parts.prefix, device)),
    )
    return FeatureStore(feature_location(settings.cache_dir, settings.feature_store).absolute()).table(space)
