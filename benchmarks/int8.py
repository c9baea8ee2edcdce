"""8-bit whole numbers against float32 and bfloat16: pictures a second from files, and what they cost in accuracy.

    python benchmarks/int8.py [--times 3] [--quick]

Two networks as published over the 1,300 labelled pictures of ../shared/data/imagenet-val, of which 256 set the ranges
of the 8-bit numbers; and a fit of trash6 with its features in either, the same split for both (a fifth to validate, a
fifth to test), of the head alone. "prepare_s" is the first call's time beyond that of the others: the conversion and,
for int8, the ranges; both are kept on disk. A processor that does not compute with bfloat16 leaves it out.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

from harness import HEADSTART, SHARED, WEIGHTS, emptied, keep, run, spread

MODELS = {"EfficientNet-Lite0": "tf_efficientnet_lite0", "MobileNetV2": WEIGHTS}


def precisions() -> list[str]:
    """What this processor computes with."""
    from headstart.models.engine import choose_precision

    fast = choose_precision("auto", "cpu") == "bfloat16"
    return ["float32", *["bfloat16"] * fast, "int8"]


def predicted(model: str, precision: str, times: int, pattern: str) -> dict[str, Any]:
    """A network as published, over all pictures so often after a first time."""
    import numpy as np

    from headstart.classifier import Classifier, images_as_manifest
    from headstart.settings import EngineSettings

    paths = sorted((SHARED / "imagenet-val").glob(f"{pattern}/*.[jJ]*"))
    true = np.array([int(path.parent.name) for path in paths])
    classifier, settings = Classifier.pretrained(model), EngineSettings(precision=precision, engine="openvino")
    taken = []
    for _ in range(times + 1):
        start = time.perf_counter()
        found = classifier.predict_proba(images_as_manifest(paths), settings=settings)
        taken.append(time.perf_counter() - start)
    return {
        "images": len(paths),
        "top1": round(float((found.argmax(1) == true).mean()), 4),
        "per_s": spread([round(len(paths) / seconds, 1) for seconds in taken[1:]]),
        "prepare_s": round(taken[0] - min(taken[1:]), 1),
    }


def fitted(precision: str) -> dict[str, Any]:
    """The head, on features in this precision."""
    folder = emptied(f"int8-{precision}")
    words = ("--train", "head", "--precision", precision, "--validation", 0.2, "--test", 0.2)
    ran = run(HEADSTART, "fit", SHARED / "trash6", *words, "--store", folder / "store", "--out", folder / "run")
    found = json.loads((folder / "run" / "evaluation.json").read_text())
    told = {name: round(found[name]["value"], 4) for name in ("top1", "log_loss")}
    notes = [note for note in found["notes"] if note.startswith("int8")]
    return {**told, "features_s": found["summary"]["seconds"]["features"], "seconds": ran.seconds, "told": notes}


def main() -> None:
    """The fits first: a child begins with the memory of this process, which has not loaded torch yet."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--times", type=int, default=3)
    arguments.add_argument("--quick", action="store_true", help="a tenth of the pictures, once, and no fit")
    given = arguments.parse_args()
    os.environ["HEADSTART_CACHE"] = str(emptied("int8-cache"))  # so that the first call prepares the network
    fits = {} if given.quick else {precision: fitted(precision) for precision in ("float32", "int8")}
    pattern, times = ("*7", 1) if given.quick else ("*", given.times)
    figures: dict[str, Any] = {"fit of trash6, head": fits, "networks as published": {}}
    for title, model in MODELS.items():
        figures["networks as published"][title] = {
            precision: predicted(str(model), precision, times, pattern) for precision in precisions()
        }
    keep("int8", figures, quick=given.quick)


if __name__ == "__main__":
    main()
