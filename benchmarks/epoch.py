"""An epoch over the store against an epoch of the 2020 tutorial in Keras: the same network, layers, pictures and split.

    python benchmarks/epoch.py [--epochs 10] [--keras-epochs 2]

MobileNetV2 with 120 classes, trained from the 15th block's depthwise convolution on (1,204,280 of 2,411,704 parameters
as Keras counts), batch 32, plain SGD, a quarter of the pictures for validation. The weights are random here: this
measures time. Keras: ../shared/bench/seed_keras.py, run right before on the same machine.
"""

from __future__ import annotations

import argparse
import json

from harness import HEADSTART, SEED, SHARED, WEIGHTS, emptied, keep, peer, run, spread


def keras(epochs: int) -> dict[str, object]:
    """Seconds of each epoch and peak memory of the peer."""
    python = peer("keras", "tensorflow-cpu==2.21.0", "opencv-python-headless", "pandas")
    ran = run(python, SEED, SHARED / "dogs120", WEIGHTS, epochs)
    ends = [json.loads(line)["t"] for line in ran.out.splitlines() if line.startswith('{"epoch"')]
    loaded = float(next(line for line in ran.out.splitlines() if line.startswith("load s")).split()[2])
    epochs_s = [end - start for start, end in zip([loaded, *ends], ends, strict=False)]
    return {"epoch_s": spread(epochs_s), "total_s": ran.seconds, "peak_gb": ran.peak_gb}


def headstart(epochs: int) -> dict[str, object]:
    """The same of headstart; its first epoch counts like the others."""
    folder = emptied("epoch")
    recipe = ("--train", "from:blocks.5.2.conv_dw", "--epochs", epochs, "--batchnorm", "train", "--optimizer", "sgd")
    recipe += ("--momentum", 0, "--weight-decay", 0, "--schedule", "constant", "--validation", 0.25)
    model = ("--model", "mobilenetv2_100", "--weights", "random", "--store", folder / "store")
    ran = run(HEADSTART, "fit", SHARED / "dogs120", "--out", folder / "run", *model, *recipe)
    lines = [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]
    summary = json.loads((folder / "run" / "evaluation.json").read_text())["summary"]
    assert (summary["images"]["train"], summary["images"]["validation"]) == (7666, 2556), summary["images"]
    return {
        "epoch_s": spread([line["seconds"] for line in lines]),
        "total_s": ran.seconds,
        "peak_gb": ran.peak_gb,
        "stages_s": summary["seconds"],
    }


def main() -> None:
    """One after the other."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--epochs", type=int, default=10)
    arguments.add_argument("--keras-epochs", type=int, default=2)
    given = arguments.parse_args()
    theirs, ours = keras(given.keras_epochs), headstart(given.epochs)
    ratio = round(theirs["epoch_s"]["median"] / ours["epoch_s"]["median"], 1)  # type: ignore[index]
    keep("epoch", {"keras": theirs, "headstart": ours, "epochs_of_headstart_in_one_of_keras": ratio})


if __name__ == "__main__":
    main()
