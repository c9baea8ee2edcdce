"""Prediction from files: pictures a second in bulk, milliseconds for one when warm, seconds for the first from nothing.

    python benchmarks/predict.py [--times 3] [--only headstart-float32 torch-float32] [--quick]

The 1,300 labelled ImageNet pictures of ../shared/data/imagenet-val; each tells its top-1, so that a fast wrong answer
shows. EfficientNet-Lite0 for all but Keras, which has MobileNetV2, and headstart with the same file beside it. As
published a network runs in float32 here; bfloat16, which a fitted one has by itself, is asked for. Bulk is told from
the files on, with the network loaded; of headstart the first run converts the network, which is kept for the others
("first_run_per_s"). The command line's time, imports included, stands beside it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from harness import HEADSTART, HERE, ROOT, SHARED, WEIGHTS, emptied, keep, peer, ratio, run, spread, times_of, told

VAL = SHARED / "imagenet-val"
MODEL = "tf_efficientnet_lite0"
BARE = ("--precision", "bfloat16", "--channels-last")


def here() -> Path:
    """The Python that headstart is in."""
    return HEADSTART.with_name("python")


def few_classes() -> Path:
    """Two classes of trash6 by links, since a whole data set need not be fitted to predict."""
    folder = emptied("vyntri")
    for label in ("glass", "paper"):
        (folder / label).mkdir()
        for picture in sorted((SHARED / "trash6" / label).iterdir())[:15]:
            (folder / label / picture.name).symlink_to(picture)
    return folder


def command(name: str) -> list[object]:
    """The peer's command, without the folder."""
    scripts = HERE / "peers"
    if name.startswith("headstart"):
        model = WEIGHTS if "mobilenetv2" in name else MODEL
        precision = "bfloat16" if "bfloat16" in name else "float32"
        return [here(), scripts / "predict_headstart.py", "--model", model, "--precision", precision]
    if name == "keras-mobilenetv2":
        python = peer("keras", "tensorflow-cpu==2.21.0", "opencv-python-headless", "pandas")
        return [python, scripts / "predict_keras.py", "--weights", WEIGHTS]
    if name == "onnxruntime":
        python = peer("onnx", "onnxruntime", "onnx", "onnxscript", beside=True)
        return [python, scripts / "predict_onnx.py", "--onnx", ROOT / "build" / "lite0.onnx"]
    if name == "vyntri-random-weights":
        return [peer("vyntri", "vyntri", beside=True), scripts / "predict_vyntri.py", "--fit", few_classes()]
    return [here(), scripts / "predict_timm.py", *(BARE if name == "torch-bfloat16" else ())]


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


def in_bulk(names: list[str], times: int, limit: tuple[object, ...]) -> dict[str, dict[str, Any]]:
    """Each peer in turn, so often."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(times):
        for name in names:
            ran = run(*command(name), VAL, *limit)
            runs[name].append(told(ran) | {"process_s": ran.seconds, "peak_gb": ran.peak_gb})
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


def from_nothing(times: int) -> dict[str, Any]:
    """Seconds of whole processes until the first picture is told, and until help is."""
    one = next(iter(sorted(VAL.glob("*/*.[jJ]*"))))
    bare = (here(), HERE / "peers" / "predict_timm.py", VAL, "--first", one)
    return {
        "headstart_help_s": spread([round(each, 3) for each in times_of(lambda: run(HEADSTART, "--help"), times)]),
        "headstart_predict_s": spread(
            [round(each, 3) for each in times_of(lambda: run(HEADSTART, "predict", MODEL, one), times)]
        ),
        "torch_and_timm_alone_s": spread([round(each, 3) for each in times_of(lambda: run(*bare), times)]),
    }


def command_line(times: int, quick: bool) -> dict[str, Any]:
    """headstart predict over the folder, a table written: the whole process."""
    table = emptied("predict") / "table.csv"
    folder = VAL / "1" if quick else VAL
    runs = [run(HEADSTART, "predict", MODEL, folder, "--csv", table) for _ in range(times)]
    return {"process_s": spread([each.seconds for each in runs]), "peak_gb": max(each.peak_gb for each in runs)}


def compared(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How many times faster headstart is in bulk, and with one picture, in each of its precisions."""
    ratios: dict[str, Any] = {}
    for our in (name for name in found if name.startswith("headstart")):
        for name in (name for name in found if not name.startswith("headstart")):
            if ("mobilenetv2" in name) == ("mobilenetv2" in our):
                bulk, one = (list(found[each]["per_s"].values()) for each in (our, name))
                warm = [list(found[each]["latency_ms"].values()) for each in (name, our)]
                ratios.setdefault(our, {})[name] = {"in_bulk": ratio(bulk, one), "one_when_warm": ratio(*warm)}
    return ratios


def main() -> None:
    """All of it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--times", type=int, default=3)
    arguments.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    arguments.add_argument("--quick", action="store_true", help="64 pictures: only whether it runs")
    given = arguments.parse_args()
    limit: tuple[object, ...] = ()
    if given.quick:
        given.times, limit = 1, ("--limit", 64, "--latency", 5)
    os.environ["HEADSTART_CACHE"] = str(emptied("predict-cache"))  # so that the first run converts the network
    bulk = in_bulk(given.only, given.times, limit)
    cold = from_nothing(given.times)
    line = command_line(given.times, given.quick)
    figures = {"from_nothing": cold, "headstart_predict_of_all": line, "peers": bulk}
    keep("predict", {**figures, "headstart_times_faster": compared(bulk)}, quick=given.quick)


if __name__ == "__main__":
    main()
