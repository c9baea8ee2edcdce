"""The classifier as a service: decode in threads, run in batches, explain; with a bound on what waits."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings, ServeSettings
from headstart.errors import HeadstartError
from headstart.inference.results import InferenceResult, set_names
from headstart.inference.saliency import SaliencyMapper, highlight
from headstart.inference.view_runner import ViewRunner
from headstart.report.thumbnails import Thumbnails
from headstart.serve.batching import MicroBatcher
from headstart.serve.decoding import DecodedView, Decoder, LargeImage, Share
from headstart.serve.metrics import Metrics
from headstart.serve.problems import Refusal
from headstart.serve.schemas import ClassProbability, Explanation, ImagePrediction, NearImage
from headstart.workflow.neighbors import TrainingImages, open_training_images

__all__ = ["Service", "Upload"]

_NEIGHBORS = 6


@dataclass(frozen=True)
class Upload:
    """An image of a request: its file, or the reason why there is none."""

    name: str
    content: bytes = b""
    problem: str | None = None


class Service:
    """A classifier that answers concurrent requests. Close it to finish what has begun."""

    def __init__(
        self,
        classifier: Classifier,
        settings: ServeSettings,
        engine: EngineSettings,
        *,
        run: Path | None = None,
    ) -> None:
        """Start the threads; nothing is computed yet.

        :param run: the run folder, whose training images are searched if the settings say so.
        """
        self.classifier, self.settings, self.metrics = classifier, settings, Metrics()
        self.spec = classifier.spec.with_value_range(engine.value_range)
        self.ready = threading.Event()
        self._run_folder = run if settings.neighbors else None
        self._runner = ViewRunner(classifier.pipeline, engine)
        self._decoder = Decoder(self.spec, max_pixels=settings.max_pixels)
        self._batcher = MicroBatcher(
            self._infer,
            batch_size=self._runner.batch_size,
            wait=settings.batch_wait / 1000,
            observe=self.metrics.batches.observe,
        )
        self._waiting = 0  # images; of the event loop alone

    def warm_up(self) -> None:
        """Make a prediction for one image and for many, and prepare what explains them; then the service is ready."""
        height, width = self.spec.height, self.spec.width
        for count in (1, self._runner.batch_size):
            views = np.zeros((count, height, width, 3), np.uint8)
            self._batcher.call(lambda views=views: self._infer(views)).result()  # type: ignore[misc]
        self._batcher.call(lambda: (self._mapper, self._training_images)).result()
        self.ready.set()

    def close(self) -> None:
        """Finish what is queued, and end the threads."""
        self._decoder.close()
        self._batcher.close()

    async def predict(
        self, uploads: Sequence[Upload], *, top: int, explain: bool
    ) -> tuple[list[ImagePrediction], bool]:
        """Predict, within the time that the settings allow.

        :returns: one answer per image, and whether all of them have too many pixels.
        :raises Refusal: too many images wait already, or the answer takes too long.
        """
        if not self.ready.is_set():
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the classifier is being loaded: try again in a few seconds")
        with self._admitted(len(uploads)):
            try:
                answers = await asyncio.wait_for(
                    self._predict_all(uploads, top=top, explain=explain), self.settings.timeout
                )
            except (asyncio.TimeoutError, TimeoutError):
                raise Refusal(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"the answer took more than {self.settings.timeout:g} seconds: try again, with fewer images",
                ) from None
        for answer, _ in answers:
            self.metrics.images.labels("unreadable" if answer.problem else "predicted").inc()
        return [answer for answer, _ in answers], all(large for _, large in answers)

    @contextmanager
    def _admitted(self, count: int) -> Iterator[None]:
        # A request alone is answered whatever the limit is: it would never be admitted otherwise.
        if self._waiting and self._waiting + count > self.settings.max_queue:
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{self._waiting} images are waiting, and at most {self.settings.max_queue} may: try again later",
            )
        self._waiting += count
        self.metrics.queue.inc(count)
        try:
            yield
        finally:
            self._waiting -= count
            self.metrics.queue.dec(count)

    async def _predict_all(
        self, uploads: Sequence[Upload], *, top: int, explain: bool
    ) -> list[tuple[ImagePrediction, bool]]:
        share = Share()
        tasks = [asyncio.create_task(self._predict_one(each, share, top=top, explain=explain)) for each in uploads]
        try:
            return await asyncio.gather(*tasks)
        finally:  # where one is refused, nobody waits for the others
            for task in tasks:
                task.cancel()

    async def _predict_one(
        self, upload: Upload, share: Share, *, top: int, explain: bool
    ) -> tuple[ImagePrediction, bool]:
        """The answer for one image, and whether it has too many pixels."""
        if upload.problem is not None:
            return ImagePrediction(name=upload.name, problem=upload.problem), False
        self._batcher.expect(1)
        try:
            found = await self._decoder.decode(upload.content)
            computing = self._submit(found)
        finally:
            self._batcher.expect(-1)
        if isinstance(found, LargeImage):  # no batch waits for it
            found = await self._decoder.decode_large(found, share)
            computing = self._submit(found)
        if found.view is None or computing is None:
            return ImagePrediction(name=upload.name, problem=found.problem), found.too_large
        result = await asyncio.wrap_future(computing)
        answer = self._answer(upload.name, result, top)
        if explain:
            view, best = found.view, int(result.probabilities[0].argmax())
            answer.explanation = await asyncio.wrap_future(self._batcher.call(lambda: self._explain(view, best)))
        return answer, False

    def _submit(self, found: DecodedView | LargeImage) -> Future[InferenceResult] | None:
        """Queue an image for the network, if it is decoded."""
        if isinstance(found, LargeImage) or found.view is None:
            return None
        return self._batcher.submit(found.view)

    def _infer(self, views: NDArray[np.uint8]) -> list[InferenceResult]:
        result = self._runner(views)
        return [_row(result, row) for row in range(len(views))]

    def _answer(self, name: str, result: InferenceResult, top: int) -> ImagePrediction:
        probabilities, classes = result.probabilities[0], self.classifier.classes
        order = np.argsort(-probabilities, kind="stable")[:top]
        members, flags = result.prediction_sets, result.out_of_distribution
        return ImagePrediction(
            name=name,
            top=[ClassProbability(name=classes[index], probability=float(probabilities[index])) for index in order],
            prediction_set=None if members is None else set_names(result.probabilities, members, classes)[0],
            out_of_distribution=None if flags is None else bool(flags[0]),
        )

    def _explain(self, view: NDArray[np.uint8], target: int) -> Explanation:
        found = self._mapper.explain(view, target)
        return Explanation(
            saliency=None if found is None else _data_uri(highlight(view, found.contributions)),
            method=None if found is None else found.method,
            neighbors=self._near(view),
        )

    @cached_property
    def _mapper(self) -> SaliencyMapper:
        return SaliencyMapper(self.classifier.network, self.spec)

    @cached_property
    def _training_images(self) -> TrainingImages | None:
        if self._run_folder is None:
            return None
        try:
            return open_training_images(self._run_folder, self.classifier)
        except (HeadstartError, OSError):  # the page does without
            return None

    def _near(self, view: NDArray[np.uint8]) -> list[NearImage] | None:
        if self._training_images is None:
            return None
        near = self._training_images.nearest(view, _NEIGHBORS)
        thumbnails = Thumbnails(self.spec.value_ranges)
        thumbnails.load(each.uri for each in near)
        return [NearImage(label=each.label, cosine=each.cosine, thumbnail=thumbnails[each.uri].data) for each in near]


def _row(result: InferenceResult, row: int) -> InferenceResult:
    """The result for one of the images."""
    part = slice(row, row + 1)
    return InferenceResult(
        result.probabilities[part],
        None if result.prediction_sets is None else result.prediction_sets[part],
        None if result.ood_score is None else result.ood_score[part],
        None if result.out_of_distribution is None else result.out_of_distribution[part],
    )


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
