"""Top-1 of files with headstart's Python API: a classifier, files in, probabilities out."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from predicting import arguments, image_paths, latencies, print_figures

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings
from headstart.data.inputs import images_as_manifest
from headstart.workflow.predict import open_classifier, predict


def probabilities(classifier: Classifier, paths: list[str], settings: EngineSettings) -> NDArray[np.float32]:
    """Files in, (N, C) out."""
    return predict(classifier, images_as_manifest([Path(path) for path in paths]), settings).probabilities


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", default="auto", help="a pretrained network runs in float32 by default")
    given = parser.parse_args()
    classifier = open_classifier(given.model)
    paths = image_paths(given)
    settings = EngineSettings(precision=given.precision)
    single = EngineSettings(precision=given.precision, engine="openvino", extract_batch_size=1)  # as a server would
    one_by_one = latencies(given, paths, lambda path: probabilities(classifier, [path], single).argmax(1))
    start = time.perf_counter()
    found = probabilities(classifier, paths, settings)
    assert len(found) == len(paths)
    # The order of the classes is that of the published head, which a pretrained network keeps: ImageNet's.
    print_figures(paths, found.argmax(1), time.perf_counter() - start, one_by_one)


if __name__ == "__main__":
    main()
