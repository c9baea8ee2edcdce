"""8-bit integers against float32 and bfloat16: images per second from files, and what int8 costs in accuracy.

    python -m benchmarks.speed.int8 [--times 3] [--quick]

Two pretrained networks over the 1,300 labeled images of ../shared/data/imagenet-val, of which 256 calibrate the ranges
of the 8-bit numbers; and a fit of trash6 with its features in either precision, with the same split (a fifth for
validation, a fifth for test), of the head alone. "prepare_s" is the time of the first call beyond that of the others:
the conversion and, for int8, the calibration; both are cached on disk. bfloat16 is left out where the processor does
not compute with it.
"""

from __future__ import annotations

import argparse
import os
import time

from benchmarks.harness import HEADSTART, SHARED, WEIGHTS, Figures, empty_folder, read_json, run, save, spread

MODELS = {"EfficientNet-Lite0": "tf_efficientnet_lite0", "MobileNetV2": WEIGHTS}


def precisions() -> list[str]:
    """The precisions that this processor computes with."""
    from headstart.inference.engine import choose_precision

    has_bfloat16 = choose_precision("auto", "cpu") == "bfloat16"
    return ["float32", *["bfloat16"] * has_bfloat16, "int8"]


def predict(model: str, precision: str, times: int, pattern: str) -> Figures:
    """A pretrained network over all images, ``times`` times after a first one."""
    import numpy as np

    from headstart.artifacts.classifier import Classifier
    from headstart.config import EngineSettings
    from headstart.data.inputs import images_as_manifest

    paths = sorted((SHARED / "imagenet-val").glob(f"{pattern}/*.[jJ]*"))
    true = np.array([int(path.parent.name) for path in paths])
    classifier, settings = Classifier.pretrained(model), EngineSettings(precision=precision, engine="openvino")
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        found = classifier.predict_proba(images_as_manifest(paths), settings=settings)
        seconds.append(time.perf_counter() - start)
    return {
        "images": len(paths),
        "top1": round(float((found.argmax(1) == true).mean()), 4),
        "per_s": spread([round(len(paths) / each, 1) for each in seconds[1:]]),
        "prepare_s": round(seconds[0] - min(seconds[1:]), 1),
    }


def fit_head(precision: str) -> Figures:
    """A head on features in this precision."""
    folder = empty_folder(f"int8-{precision}")
    options = ("--train", "head", "--precision", precision, "--validation-share", 0.2, "--test-share", 0.2)
    paths = ("--cache-dir", folder / "store", "--out", folder / "run")
    completed = run(HEADSTART, "fit", SHARED / "trash6", *options, *paths)
    evaluation = read_json(folder / "run" / "evaluation.json")
    return {
        **{name: round(evaluation[name]["value"], 4) for name in ("top1", "log_loss")},
        "features_s": evaluation["summary"]["seconds"]["features"],
        "seconds": completed.seconds,
        "notes": [note for note in evaluation["notes"] if note.startswith("int8")],
    }


def main() -> None:
    """The fits first: a child's peak memory starts at this process's, which has not loaded torch yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the images, once, and no fit")
    given = parser.parse_args()
    os.environ["HEADSTART_CACHE"] = str(empty_folder("int8-cache"))  # so that the first call prepares the network
    fits = {} if given.quick else {precision: fit_head(precision) for precision in ("float32", "int8")}
    pattern, times = ("*7", 1) if given.quick else ("*", given.times)
    networks = {
        title: {precision: predict(str(model), precision, times, pattern) for precision in precisions()}
        for title, model in MODELS.items()
    }
    save("speed/int8", {"fit": fits, "pretrained networks": networks}, quick=given.quick)


if __name__ == "__main__":
    main()
