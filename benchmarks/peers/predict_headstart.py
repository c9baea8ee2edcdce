"""Top-1 of files by headstart, as its Python API is used: a classifier, files in, probabilities out."""

from __future__ import annotations

import time
from pathlib import Path

from predicting import answer, arguments, latencies, pictures

from headstart.classifier import images_as_manifest
from headstart.workflow.predicting import open_classifier, predict


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", required=True)
    given = parser.parse_args()
    classifier = open_classifier(given.model)
    paths = pictures(given)
    once = latencies(given, paths, lambda path: classifier.predict_proba(path).argmax(1))
    start = time.perf_counter()
    found = predict(classifier, images_as_manifest([Path(path) for path in paths]))
    assert len(found.probabilities) == len(paths)
    # ImageNet's order is that of the published head, which a pretrained network keeps.
    answer(paths, found.probabilities.argmax(1), time.perf_counter() - start, once)


if __name__ == "__main__":
    main()
