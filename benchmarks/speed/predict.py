"""Prediction from files: images per second in bulk, milliseconds for one when warm, seconds from a cold start.

    python -m benchmarks.speed.predict [--times 3] [--only headstart-float32 torch-float32] [--quick]

The 1,300 labeled ImageNet images of ../shared/data/imagenet-val; each peer's top-1 accuracy is recorded, so that fast
wrong answers would show. All run EfficientNet-Lite0, except Keras, which runs MobileNetV2; headstart also runs with
Keras's file. A pretrained network runs in float32 by default; bfloat16, the default of a fitted classifier, is
requested here. Bulk is measured from the files on, with the network loaded. headstart's first run converts the network,
which is cached for the others ("first_run_per_s"). The time of the command line, imports included, is measured
separately.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.harness import (
    BUILD,
    HEADSTART,
    HERE,
    SHARED,
    WEIGHTS,
    Figures,
    empty_folder,
    keras_python,
    own_python,
    peer_python,
    ratio,
    run,
    save,
    spread,
    times_of,
)

IMAGES = SHARED / "imagenet-val"
MODEL = "tf_efficientnet_lite0"
SCRIPTS = HERE / "peers"
PEERS = (
    "headstart-float32",
    "headstart-bfloat16",
    "torch-float32",
    "torch-bfloat16",
    "onnxruntime",
    "headstart-mobilenetv2-float32",
    "headstart-mobilenetv2-bfloat16",
    "keras-mobilenetv2",
    "vyntri-random-weights",
)


def two_classes() -> Path:
    """Two classes of trash6 as links: vyntri must be fitted before it can predict."""
    folder = empty_folder("vyntri")
    for label in ("glass", "paper"):
        (folder / label).mkdir()
        for image in sorted((SHARED / "trash6" / label).iterdir())[:15]:
            (folder / label / image.name).symlink_to(image)
    return folder


def command(name: str) -> list[object]:
    """The peer's command, without the folder of images."""
    if name.startswith("headstart"):
        model = WEIGHTS if "mobilenetv2" in name else MODEL
        precision = "bfloat16" if "bfloat16" in name else "float32"
        return [own_python(), SCRIPTS / "predict_headstart.py", "--model", model, "--precision", precision]
    if name == "keras-mobilenetv2":
        return [keras_python(), SCRIPTS / "predict_keras.py", "--weights", WEIGHTS]
    if name == "onnxruntime":
        python = peer_python("onnx", "onnxruntime", "onnx", "onnxscript", shared=True)
        return [python, SCRIPTS / "predict_onnx.py", "--onnx", BUILD / "lite0.onnx"]
    if name == "vyntri-random-weights":
        return [peer_python("vyntri", "vyntri", shared=True), SCRIPTS / "predict_vyntri.py", "--fit", two_classes()]
    options = ("--precision", "bfloat16", "--channels-last") if name == "torch-bfloat16" else ()
    return [own_python(), SCRIPTS / "predict_timm.py", *options]


def in_bulk(names: list[str], times: int, limit: tuple[object, ...]) -> dict[str, Figures]:
    """Each peer in turn, ``times`` times."""
    runs: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(times):
        for name in names:
            completed = run(*command(name), IMAGES, *limit)
            runs[name].append(completed.report() | {"process_s": completed.seconds, "peak_gb": completed.peak_gb})
    return {
        name: {
            "images": found[0]["images"],
            "top1": found[0]["top1"] if "random" not in name else None,
            "per_s": spread([round(each["images"] / each["seconds"], 1) for each in found]),
            "first_run_per_s": round(found[0]["images"] / found[0]["seconds"], 1),
            "latency_ms": spread([each["latency_ms"]["median"] for each in found]),
            "peak_gb": max(each["peak_gb"] for each in found),
        }
        for name, found in runs.items()
    }


def from_nothing(times: int) -> Figures:
    """Seconds of whole processes until the first image is classified, and until the help is printed."""
    image = next(iter(sorted(IMAGES.glob("*/*.[jJ]*"))))
    commands = {
        "headstart_help_s": (HEADSTART, "--help"),
        "headstart_predict_s": (HEADSTART, "predict", MODEL, image),
        "torch_and_timm_alone_s": (own_python(), SCRIPTS / "predict_timm.py", IMAGES, "--first", image),
    }
    return {
        name: spread([round(each, 3) for each in times_of(lambda words=words: run(*words), times)])  # type: ignore[misc]
        for name, words in commands.items()
    }


def command_line(times: int, quick: bool) -> Figures:
    """``headstart predict`` over the folder, with a CSV table written: the whole process."""
    table = empty_folder("predict") / "table.csv"
    folder = IMAGES / "1" if quick else IMAGES
    runs = [run(HEADSTART, "predict", MODEL, folder, "--csv", table) for _ in range(times)]
    return {"process_s": spread([each.seconds for each in runs]), "peak_gb": max(each.peak_gb for each in runs)}


def compare(found: dict[str, Figures]) -> Figures:
    """How many times faster headstart is than each peer, in bulk and for one image, in each of its precisions."""
    ratios: Figures = {}
    for ours in (name for name in found if name.startswith("headstart")):
        for peer in (name for name in found if not name.startswith("headstart")):
            if ("mobilenetv2" in peer) == ("mobilenetv2" in ours):
                bulk, one = (list(found[each]["per_s"].values()) for each in (ours, peer))
                warm = [list(found[each]["latency_ms"].values()) for each in (peer, ours)]
                ratios.setdefault(ours, {})[peer] = {"in_bulk": ratio(bulk, one), "one_when_warm": ratio(*warm)}
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--quick", action="store_true", help="64 images: shows only that the script runs")
    given = parser.parse_args()
    limit: tuple[object, ...] = ()
    if given.quick:
        given.times, limit = 1, ("--limit", 64, "--latency", 5)
    os.environ["HEADSTART_CACHE"] = str(empty_folder("predict-cache"))  # so that the first run converts the network
    bulk = in_bulk(given.only, given.times, limit)
    cold = from_nothing(given.times)
    whole = command_line(given.times, given.quick)
    figures = {"from_nothing": cold, "headstart_predict_all": whole, "peers": bulk}
    save("speed/predict", {**figures, "headstart_times_faster": compare(bulk)}, quick=given.quick)


if __name__ == "__main__":
    main()
