"""Where the network looked, for the few images that the report shows as examples."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.artifacts.classifier import Classifier
from headstart.artifacts.run_folder import Predictions
from headstart.artifacts.saliency_file import ExampleSaliency
from headstart.data.decode import decoded
from headstart.data.manifest import Manifest
from headstart.data.sources.base import reference
from headstart.data.spec import InputSpec
from headstart.data.transforms import evaluation_view, min_source_side
from headstart.errors import ImageProblem
from headstart.execution import open_executor
from headstart.execution.memory import trim_heap
from headstart.inference.saliency import SaliencyMapper, highlight
from headstart.report.collect import example_rows
from headstart.workflow.predict import Predictor

__all__ = ["explain_examples"]

_SIDE = 160  # pixels, as the thumbnails of the report


def explain_examples(
    classifier: Predictor, images: Manifest, probabilities: NDArray[np.float32]
) -> tuple[ExampleSaliency, ...]:
    """What speaks for the predicted class in each image that the report shows with its probabilities.

    :param images: the labeled images of the report, N.
    :param probabilities: of these, (N, C).
    :returns: nothing for an exported file, whose network cannot be looked into, or if the network has no map of its
        features; images that cannot be read any more are left out.
    """
    if not isinstance(classifier, Classifier):
        return ()
    targets = images.targets(classifier.classes)
    predictions = Predictions(tuple(images.uris), targets, probabilities, classifier.classes)
    rows = example_rows(predictions)
    uris = [predictions.uris[row] for row in rows]
    with open_executor(max(1, len(uris)), kind="threads") as executor:
        views = list(executor.map(lambda uri: _view(uri, classifier.spec), uris))
    read = [(row, view) for row, view in zip(rows, views, strict=True) if view is not None]
    if not read:
        return ()
    numbers = [int(predictions.predicted[row]) for row, _ in read]
    mapper = SaliencyMapper(classifier.network, classifier.spec)
    trim_heap()  # of tracing the network
    explained = mapper.explain_all(np.stack([view for _, view in read]), numbers)
    trim_heap()
    return tuple(
        ExampleSaliency(
            uri=predictions.uris[row],
            label=predictions.classes[number],
            method=saliency.method,
            image=_data_uri(highlight(view, saliency.contributions)),
        )
        for (row, view), number, saliency in zip(read, numbers, explained, strict=True)
        if saliency is not None
    )


def _view(uri: str, spec: InputSpec) -> NDArray[np.uint8] | None:
    try:
        with decoded(reference(uri), min_side=min_source_side(spec), value_ranges=spec.value_ranges) as image:
            return evaluation_view(image, spec)
    except ImageProblem:
        return None


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.thumbnail((_SIDE, _SIDE))
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
