"""The inference pipeline: decode, input, network, flip, temperature, prediction sets and out-of-distribution score.

All predictions go through it. Its second half, from the outputs of the network on, is a :class:`Decision`, which the
evaluation of a fit uses as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart import paths
from headstart.config import EngineSettings
from headstart.data.manifest import Manifest
from headstart.data.readers import choose_decoder, view_reader
from headstart.data.spec import InputSpec
from headstart.data.views import Views, read_views
from headstart.errors import SettingsError
from headstart.evaluate import OODDetector
from headstart.events import Events
from headstart.execution import open_executor
from headstart.execution.forks import new_lock
from headstart.features.sources import InMemoryFeatures
from headstart.features.values import to_stored_dtype
from headstart.inference.compiled_cache import cache_path
from headstart.inference.engine import (
    Engine,
    Images,
    check_int8,
    choose_batch_size,
    computes_on,
    open_engine,
    padded,
)
from headstart.inference.forked import adapt_to_fork
from headstart.inference.neighbors import Embedder
from headstart.inference.network import NetworkOutputs, mean_outputs, network_outputs
from headstart.inference.quantization import Calibration, choose_calibration
from headstart.inference.results import InferenceResult, PredictionSetRule, concatenate_results, softmax
from headstart.models.cut import Cut, cut

__all__ = ["Decision", "InferencePipeline", "Job"]

_SMALL_JOB = 256  # images; for fewer, preparing OpenVINO (2 s) takes longer than it saves
_MAX_ENGINES = 2  # some hundred megabytes each; a server needs one for single images and one for many
_PREPARING = new_lock()  # two engines prepared at once would compete for the cores, and one be thrown away

Run: TypeAlias = Callable[[Images], NetworkOutputs]
"""A function from images (B, H, W, 3) to the outputs of the network."""


@dataclass(frozen=True)
class Decision:
    """What is made of the outputs of a network: calibrated probabilities, prediction sets and an OOD score.

    >>> outputs = NetworkOutputs(np.log(np.array([[0.8, 0.2]], np.float32)), None)
    >>> Decision(temperature=1.0).decide(outputs).probabilities.round(2).tolist()
    [[0.800000011920929, 0.20000000298023224]]
    """

    temperature: float = 1.0
    sets: PredictionSetRule | None = None
    ood_detector: OODDetector | None = None

    def decide(self, outputs: NetworkOutputs) -> InferenceResult:
        """Turn the outputs for N images into their result.

        The out-of-distribution score is that of the images that have embeddings: every ``outputs.step``-th.
        """
        probabilities = softmax(outputs.logits / self.temperature)
        members = None if self.sets is None else self.sets.apply(probabilities)
        if self.ood_detector is None or outputs.embeddings is None:
            return InferenceResult(probabilities, members)
        score = self.ood_detector.scores(outputs.embeddings)
        return InferenceResult(probabilities, members, score, score > self.ood_detector.threshold)


@dataclass(frozen=True)
class Job:
    """What is chosen by all images of a job, so that parts of it are predicted as the whole is."""

    images: int
    calibration: Calibration | None = None  # for --precision int8

    @classmethod
    def of(cls, manifest: Manifest, settings: EngineSettings, spec: InputSpec) -> Job:
        """The job of predicting all these images.

        :raises SettingsError: precision int8 is not possible, or there are too few images for it.
        """
        if settings.precision != "int8":
            return cls(len(manifest))
        check_int8(settings.device, settings.engine)
        spec = spec.with_value_range(settings.value_range)
        images = choose_calibration(manifest, spec, max_pixels=settings.max_pixels, workers=settings.workers)
        return cls(len(manifest), images)

    @property
    def is_small(self) -> bool:
        """Whether what takes seconds to prepare does not pay off."""
        return self.images < _SMALL_JOB

    def adapted(self, settings: EngineSettings) -> EngineSettings:
        """The settings, with torch and no batch larger than the job where it is small and no engine was asked for."""
        if not self.is_small or settings.engine != "auto" or settings.precision == "int8":
            return settings
        largest = choose_batch_size(settings.extract_batch_size, settings.device)
        return replace(settings, engine="torch", extract_batch_size=min(largest, max(self.images, 1)))


@dataclass(frozen=True, eq=False)
class InferencePipeline:
    """Runs a network on images: the frozen part in the engine and precision of the fit, the trained part in float32.

    Opened engines are kept, so that small jobs need not prepare one each time. Threads may share a pipeline. Pickling
    drops the engines; they are opened again in the other process.
    """

    network: nn.Module  # in evaluation mode
    classes: int
    spec: InputSpec
    model: str  # names the network in the cache of prepared engines
    train: str  # what was trained, which decides where the network is cut
    decision: Decision
    tta_flip: bool = False  # whether each image is averaged with its mirror image
    precision: str = "float32"  # of the frozen part during the fit
    feature_dtype: str = "float32"  # in which the fit stored the features

    def infer(
        self,
        manifest: Manifest,
        *,
        settings: EngineSettings | None = None,
        job: Job | None = None,
        events: Events | None = None,
    ) -> InferenceResult:
        """Decode the images of a manifest and run the network; unreadable images become problems.

        The result for an image depends on no other one, so that it is the same in any part of a job.

        :param job: that the images are a part of; by default they are all there are.
        :raises SettingsError: a setting is invalid, or the device or engine is not available.
        """
        settings = settings or EngineSettings()
        settings.check()
        adapt_to_fork()
        job = job or Job.of(manifest, settings, self.spec)
        spec = self.spec.with_value_range(settings.value_range)
        settings = job.adapted(settings)
        batch_size = choose_batch_size(settings.extract_batch_size, settings.device)
        run = self._with_flip(self._open_view(settings, job.calibration))
        results: list[InferenceResult] = []
        problems: list[tuple[int, str]] = []
        decoder = "pillow"
        if not job.is_small:  # for few images, opening another decoder takes longer than it saves
            decoder = choose_decoder(computes_on(self.parts.prefix, settings.device))
        batches = view_reader(decoder)(
            manifest,
            range(len(manifest)),
            spec,
            batch_size=batch_size,
            max_pixels=settings.max_pixels,
            workers=settings.workers,
        )
        with closing(batches), (events or Events()).stage("predicting", total=len(manifest)) as advance:
            for batch, result in self._decided(batches, run, batch_size, threads=1 if decoder == "pillow" else 2):
                problems += batch.problems
                if result is not None:
                    results.append(result)
                advance(len(batch.rows) + len(batch.problems))
        # Without a readable image, a result for no image.
        results = results or [self.decision.decide(NetworkOutputs(np.empty((0, self.classes), np.float32), None))]
        return concatenate_results(results, problems)

    def infer_views(self, views: NDArray[np.uint8], *, settings: EngineSettings | None = None) -> InferenceResult:
        """Run the network on evaluation views, (B, H, W, 3), for a server, which decodes images itself.

        :param settings: ``extract_batch_size`` is the size of the batches that the engine runs.
        :raises SettingsError: a setting is invalid, or the device, engine or precision is not available.
        """
        settings = settings or EngineSettings()
        settings.check()
        if settings.precision == "int8":
            raise SettingsError("precision int8 is calibrated on images, and there are none yet: choose another one")
        adapt_to_fork()
        return self.decision.decide(self._with_flip(self._open_view(settings, None))(views))

    def embed(
        self, manifest: Manifest, *, settings: EngineSettings | None = None, events: Events | None = None
    ) -> NDArray[np.float32] | None:
        """Vectors (N, D) of the readable images of a manifest, as the embedder of the nearest images makes them.

        None if the head is not given one vector per image.

        :raises SettingsError: a setting is invalid, or the device or engine is not available.
        """
        settings = settings or EngineSettings()
        settings.check()
        adapt_to_fork()
        if "int8" in (settings.precision, self.precision if settings.precision == "auto" else ""):
            raise SettingsError("precision int8 is not for features that are compared: choose another one")
        spec = self.spec.with_value_range(settings.value_range)
        embedder = Embedder(self.network, self.parts, spec)
        engine = self._engine(self.parts.prefix, settings, precision=self.precision, calibration=None)
        batches = read_views(
            manifest,
            range(len(manifest)),
            spec,
            batch_size=engine.batch_size,
            max_pixels=settings.max_pixels,
            workers=settings.workers,
        )
        found: list[NDArray[np.float32]] = []
        with closing(batches), (events or Events()).stage("computing features", total=len(manifest)) as advance:
            for batch in batches:
                if batch.rows:
                    vectors = embedder.of_rows(to_stored_dtype(engine(batch.stacked()), self.feature_dtype))
                    if vectors is None:
                        return None
                    found.append(vectors)
                advance(len(batch.rows) + len(batch.problems))
        return np.concatenate(found) if found else None

    def _decided(
        self, batches: Iterable[Views], run: Run, batch_size: int, *, threads: int
    ) -> Iterator[tuple[Views, InferenceResult | None]]:
        """The batches, each with its result, in order. All are computed at one size: products round by their shape.

        :param threads: with two, the GPU runs the network on one batch while the host decides on another.
        """

        def decide(batch: Views) -> tuple[Views, InferenceResult | None]:
            count = len(batch.rows)
            return batch, self.decision.decide(run(padded(batch.stacked(), batch_size)))[:count] if count else None

        if threads == 1:
            yield from map(decide, batches)
            return
        with open_executor(threads, workers=threads, kind="threads") as pool:
            yield from pool.map(decide, batches, ahead=threads + 1)

    @cached_property
    def parts(self) -> Cut:
        """The network, cut where training started."""
        return cut(self.network, self.train, input_shape=(3, self.spec.height, self.spec.width))

    def _with_flip(self, run: Run) -> Run:
        if not self.tta_flip:
            return run
        return lambda images: mean_outputs([run(images), run(_flipped(images))])

    def _open_view(self, settings: EngineSettings, calibration: Calibration | None) -> Run:
        parts = self.parts
        if parts.at_image:
            whole = self._engine(parts.tail, settings, precision="float32", calibration=calibration)
            return lambda images: NetworkOutputs(whole(images), None)
        # The default of ``precision`` is for pretrained networks: their published accuracy is that of float32.
        engine = self._engine(parts.prefix, settings, precision=self.precision, calibration=calibration)
        detects = self.decision.ood_detector is not None
        head = self.network.get_classifier() if detects else None  # type: ignore[operator]
        device = str(next(parts.tail.parameters()).device)
        return lambda images: network_outputs(
            parts.tail, head, InMemoryFeatures(to_stored_dtype(engine(images), self.feature_dtype)), device=device
        )

    def _engine(
        self, module: nn.Module, settings: EngineSettings, *, precision: str, calibration: Calibration | None
    ) -> Engine:
        """An engine for the module; the two used last are kept, since preparing one takes longer than a few images.

        :param precision: what "auto" means for this module.
        """
        precision = precision if settings.precision == "auto" else settings.precision
        batch_size = choose_batch_size(settings.extract_batch_size, settings.device)
        key = (os.getpid(), batch_size, settings.device, precision, settings.engine, calibration and calibration.name)
        with _PREPARING:
            engine = self._engines.pop(key, None) or open_engine(
                module,
                self.spec,
                batch_size=batch_size,
                device=settings.device,
                precision=precision,
                engine=settings.engine,
                compiled_path=lambda: cache_path(
                    paths.prepared(), f"{self.model} to {self.parts.name}", module, self.spec, batch_size
                ),
                calibration=calibration,
            )
            self._engines[key] = engine  # as the last one: the least recently used engine is dropped first
            # Those of a process that forked stay: they would wait for their threads before they end.
            own = [each for each in self._engines if each[0] == os.getpid()]
            for each in own[:-_MAX_ENGINES]:
                del self._engines[each]
        return engine

    @cached_property
    def _engines(self) -> dict[tuple[object, ...], Engine]:
        return {}

    def __getstate__(self) -> dict[str, object]:
        """The state for pickle, by which joblib sends it to other processes, without engines and the cut."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def _flipped(images: Images) -> Images:
    return images.flip(2) if isinstance(images, Tensor) else np.ascontiguousarray(images[:, :, ::-1])
