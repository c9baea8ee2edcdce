"""Exported files beside headstart: the same answers, size, speed and start-up.

    python -m benchmarks.speed.exports [--classifiers pretrained fitted originals] [--quick]

Three classifiers are exported: the default network as published, compared on the 1,300 images of
../shared/data/imagenet-val; one whose head is fitted to 2,000 images of ../shared/data/dogs120, compared on these; and
one that is fitted to the 240 photographs of ../shared/data/kaggle-dogs-240, which are as large as they were taken.
Each file is run one image at a time, as ``headstart predict FILE`` does, and compared with what headstart itself
answers in float32 with its default engine. Start-up is a whole process of examples/run_*.py with one photograph.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
from benchmarks.harness import (
    ROOT,
    SHARED,
    Figures,
    empty_folder,
    machine,
    read_json,
    result_path,
    run,
    save,
    spread,
    times_of,
)

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings, ReadSettings
from headstart.data.manifest import Manifest
from headstart.export.comparison import compare
from headstart.export.predictor import ExportedClassifier
from headstart.export.registry import export_format
from headstart.inference.results import InferenceResult
from headstart.workflow.predict import open_classifier
from headstart.workflow.reading import read

MODEL = "tf_efficientnet_lite0"
CLASSIFIERS = {"pretrained": "imagenet-val", "fitted": "dogs120", "originals": "kaggle-dogs-240"}  # and their images
FORMATS = ("onnx", "openvino", "torch")
IMAGES = 2_000  # of dogs120
LATENCY = 30  # runs of one image
SIZE = 375, 500  # of that image


def spread_over(manifest: Manifest, count: int) -> Manifest:
    """At most so many images, evenly spread, since a manifest may be sorted by class."""
    return manifest.select(np.unique(np.linspace(0, len(manifest) - 1, count).astype(int)))


def fitted(data: str, folder: Path, images: int) -> tuple[str, Manifest]:
    """A run on some images of a data set with labels.csv, through the command line, and these images."""
    table = folder / "labels.csv"
    lines = (SHARED / data / "labels.csv").read_text(encoding="utf-8").splitlines()
    rows = [lines[1:][row] for row in np.unique(np.linspace(0, len(lines) - 2, images).astype(int))]
    table.write_text("\n".join([lines[0], *rows]) + "\n", encoding="utf-8")
    words = ("fit", SHARED / data, "--labels", table, "--train", "head", "--out", folder / "run")
    run(sys.executable, "-m", "headstart.cli", *words, cwd=ROOT)
    return str(folder / "run"), Manifest.read(folder / "run" / "manifest.parquet").usable


def export(classifier: Classifier, to: str, images: Manifest, expected: InferenceResult, folder: Path) -> Figures:
    """Write one file, run it on all images, and compare."""
    made = export_format(to)
    path = folder / f"classifier{made.suffix}"
    start = time.monotonic()
    files = made.write(classifier, path)
    writing = time.monotonic() - start
    opened = made.open(path)
    start = time.monotonic()
    found = ExportedClassifier(opened).infer(images)
    seconds = time.monotonic() - start
    comparison = compare(found.probabilities, expected.probabilities)
    print(f"{to}: {comparison}, {len(images) / seconds:.1f} images/s", file=sys.stderr, flush=True)
    pixels = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    script = ROOT / "examples" / f"run_{to}.py"
    return {
        "runtime": opened.runtime,
        "images": comparison.images,
        "largest_difference": comparison.largest_difference,
        "equal_top1": comparison.equal_top1,
        "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 1),
        "write_s": round(writing, 1),
        "per_s": round(comparison.images / seconds, 1),
        "latency_ms": spread([round(each * 1e3, 1) for each in times_of(lambda: opened.run(pixels), LATENCY)]),
        "startup_s": spread([round(run(sys.executable, script, path, photo()).seconds, 2) for _ in range(3)]),
    }


def photo() -> Path:
    """A photograph for the start-up."""
    return sorted((SHARED / "imagenet-val" / "1").iterdir())[0]


def measure(name: str, data: str, images: Manifest, formats: list[str], folder: Path) -> Figures:
    """Headstart's own answers and speed, then each format's.

    :param data: the name of the images.
    """
    classifier = open_classifier(name)
    classifier.infer(spread_over(images, 300))  # prepares the engine
    start = time.monotonic()
    expected = classifier.infer(images, settings=EngineSettings(precision="float32"))
    own = round(len(expected.probabilities) / (time.monotonic() - start), 1)
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    one = times_of(lambda: classifier.predict_proba(pixels), LATENCY)
    words = ("-m", "headstart.cli", "predict", name, photo())
    return {
        "classifier": name if name == MODEL else data,
        "load_average": round(os.getloadavg()[2], 1),  # of the last quarter of an hour
        "headstart": {
            "per_s": own,
            "latency_ms": spread([round(each * 1e3, 1) for each in one]),
            "startup_s": spread([round(run(sys.executable, *words, cwd=ROOT).seconds, 2) for _ in range(3)]),
        },
        "formats": {to: export(classifier, to, images, expected, folder) for to in formats},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--quick", action="store_true", help="40 images: shows only that the script runs")
    parser.add_argument("--classifiers", nargs="+", choices=list(CLASSIFIERS), default=list(CLASSIFIERS))
    given = parser.parse_args()
    limit = 40 if given.quick else 10**6
    path = result_path("speed/exports", quick=given.quick)
    found = read_json(path)["classifiers"] if path.exists() else {}  # of a classifier that is not measured this time
    for name in given.classifiers:
        folder = empty_folder(f"exports-{name}")
        if name == "pretrained":
            classifier, images = MODEL, read(SHARED / CLASSIFIERS[name], ReadSettings())
        else:
            classifier, images = fitted(CLASSIFIERS[name], folder, 400 if given.quick else IMAGES)
        images = spread_over(images, min(limit, len(images)))
        found[name] = {"machine": machine(), **measure(classifier, CLASSIFIERS[name], images, given.formats, folder)}
        save("speed/exports", {"classifiers": found}, quick=given.quick, show=False)  # should the next one fail


if __name__ == "__main__":
    main()
