"""Top-1 of files by headstart, as its Python API is used: a classifier, files in, probabilities out."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from predicting import answer, arguments, latencies, pictures

from headstart.classifier import Classifier, images_as_manifest
from headstart.settings import EngineSettings
from headstart.workflow.predicting import open_classifier, predict


def probabilities(classifier: Classifier, paths: list[str], settings: EngineSettings) -> NDArray[np.float32]:
    """Files in, (N, C) out."""
    return predict(classifier, images_as_manifest([Path(path) for path in paths]), settings).probabilities


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", default="auto", help="of a network as published: float32, unless asked")
    given = parser.parse_args()
    classifier = open_classifier(given.model)
    paths = pictures(given)
    settings = EngineSettings(precision=given.precision)
    one = EngineSettings(precision=given.precision, engine="openvino", extract_batch=1)  # as a server asks
    once = latencies(given, paths, lambda path: probabilities(classifier, [path], one).argmax(1))
    start = time.perf_counter()
    found = probabilities(classifier, paths, settings)
    assert len(found) == len(paths)
    # ImageNet's order is that of the published head, which a pretrained network keeps.
    answer(paths, found.argmax(1), time.perf_counter() - start, once)


if __name__ == "__main__":
    main()
