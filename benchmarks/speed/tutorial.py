"""The 2020 tutorial, improved step by step: from Keras as it was written to headstart's defaults.

    python -m benchmarks.speed.tutorial [--keras-from benchmarks/results/speed/tutorial.json] [--seeds 3] [--quick]

The figures of two tables, which docs/generate.py writes to docs/tutorial.md:

1. What the tutorial's input costs before any training: its weights on 1,300 labeled images of ImageNet, read as the
   network was trained (RGB in [-1, 1]) and as the tutorial reads them (OpenCV's BGR in [0, 1]).
2. The dogs, each fit from a cold start with the last quarter of the table for validation: Keras as written; the same
   recipe here; with the correct input; headstart's defaults on the tutorial's weights; its defaults on its own network.

The same recipe on the same input can be compared with Keras epoch by epoch. One run says little about a new head's
first epoch (37 to 41 % on validation, by seed), so it runs with several seeds; its row is the run with the median
accuracy.

Keras's ten epochs take about 14 minutes on two cores; --keras-from takes them from an earlier result of this script or
of keras_recipe.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from pathlib import Path

from benchmarks.harness import (
    HEADSTART,
    KERAS_TUTORIAL,
    SHARED,
    WEIGHTS,
    Figures,
    empty_folder,
    keras_python,
    machine,
    read_json,
    run,
    save,
)

CLASSIC = ("--recipe", "classic")
TUTORIAL_INPUT = ("--channels", "BGR", "--range", "0:1")
SAME_SPLIT = ("--test-share", 0, "--split", "last", "--validation-share", 0.25, "--class-order", "appearance")
TUTORIAL_WEIGHTS = ("--model", WEIGHTS)

FITS: dict[str, tuple[object, ...]] = {
    "the same recipe, the same input": (*TUTORIAL_WEIGHTS, *CLASSIC, *TUTORIAL_INPUT),
    "the same recipe, the correct input": (*TUTORIAL_WEIGHTS, *CLASSIC),
    "headstart's defaults on the tutorial's weights": (*TUTORIAL_WEIGHTS, *SAME_SPLIT),
    "headstart's defaults": SAME_SPLIT,
}


def write_labels(path: Path, limit: int | None = None) -> Path:
    """Write the labels (or the first ``limit`` of them) in their order, the last quarter for validation."""
    dogs = SHARED / "dogs120"
    with (dogs / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:limit]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "breed", "split"])
        for number, row in enumerate(rows):
            split = "train" if number < int(0.75 * len(rows)) else "validation"
            writer.writerow([dogs / "train" / f"{row['id']}.jpg", row["breed"], split])
    return path


def run_keras(epochs: int, limit: int | None) -> Figures:
    """The tutorial, run once."""
    completed = run(keras_python(), KERAS_TUTORIAL, SHARED / "dogs120", WEIGHTS, epochs, *([limit] if limit else []))
    lines = [json.loads(line) for line in completed.stdout.splitlines() if line.startswith('{"epoch"')]
    return {
        "seconds": completed.seconds,
        "peak_gb": completed.peak_gb,
        "epoch_ends_s": [line["t"] for line in lines],  # since the end of its imports
        **{name: [line[name] for line in lines] for name in ("accuracy", "val_accuracy", "val_loss")},
    }


def earlier_keras_runs(path: Path, epochs: int) -> list[Figures]:
    """Keras's runs from an earlier result of the same kind of machine.

    :raises SystemExit: the result is of another machine, or has no run of this many epochs.
    """
    result = read_json(path)
    if result["machine"] != machine():
        raise SystemExit(
            f"{path}: measured on {result['machine']}, but this machine is {machine()}; omit --keras-from to run Keras"
        )
    found = result.get("keras", {}).get("runs", [])
    if not found or any(len(each["val_accuracy"]) != epochs for each in found):
        raise SystemExit(f"{path}: has no run of Keras with {epochs} epochs; name another result or omit --keras-from")
    return found  # type: ignore[no-any-return]


def keras_row(runs: list[Figures]) -> Figures:
    """Keras's row: its last epoch, which is the one the tutorial keeps; medians over the runs."""

    def medians(name: str) -> list[float] | None:
        found = [each[name] for each in runs if name in each]
        return [round(statistics.median(epoch), 4) for epoch in zip(*found, strict=True)] if found else None

    accuracy, loss = medians("val_accuracy"), medians("val_loss")
    assert accuracy is not None
    return {
        "command": f"python {KERAS_TUTORIAL.name} dogs120 {WEIGHTS.name} {len(accuracy)}",
        "seconds": statistics.median(each["seconds"] for each in runs),
        "peak_gb": statistics.median(each["peak_gb"] for each in runs),
        "top1": {"value": accuracy[-1]},
        "log_loss": {"value": loss[-1]} if loss else None,  # earlier results do not record it
        "accuracy": medians("accuracy"),
        "val_accuracy": accuracy,
    }


def as_typed(*words: object) -> str:
    """A command as one would type it in the folder of the files."""
    return " ".join(["headstart", *(word.name if isinstance(word, Path) else str(word) for word in words)])


def over_seeds(rows: list[Figures]) -> Figures:
    """The run with the median accuracy, with the minimum, median and maximum of each epoch."""
    median = sorted(rows, key=lambda row: float(row["top1"]["value"]))[(len(rows) - 1) // 2]
    epochs = {
        name: [
            [min(each), statistics.median(each), max(each)] for each in zip(*(row[name] for row in rows), strict=True)
        ]
        for name in ("accuracy", "val_accuracy")
    }
    return {**median, "seeds": len(rows), "over_seeds": epochs}


def fit(options: tuple[object, ...], epochs: int, limit: int | None) -> Figures:
    """One fit from a cold start."""
    folder = empty_folder("tutorial")
    images = SHARED / "dogs120"
    labels = ("--labels", write_labels(folder / "labels.csv", limit)) if limit else ()
    fewer = ("--epochs", epochs) if CLASSIC[1] in options and epochs != 10 else ()
    paths = ("--cache-dir", folder / "store", "--out", folder / "run")
    completed = run(HEADSTART, "fit", images, *options, *fewer, *labels, *paths)
    evaluation = read_json(folder / "run" / "evaluation.json")
    row = {
        "command": as_typed("fit", images, *options, *fewer),
        "seconds": completed.seconds,
        "peak_gb": completed.peak_gb,
        "top1": evaluation["top1"],
        "log_loss": evaluation["log_loss"],
        "trainable": evaluation["summary"]["trainable_parameters"],
    }
    if CLASSIC[1] in options:
        history = [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]
        row |= {name: [round(line[name], 4) for line in history] for name in ("accuracy", "val_accuracy")}
    return row


def evaluate(options: tuple[object, ...]) -> Figures:
    """The tutorial's weights, without training, on images of ImageNet."""
    out = empty_folder("tutorial-input")
    words = ("evaluate", WEIGHTS, SHARED / "imagenet-val", *options)
    completed = run(HEADSTART, *words, "--out", out)
    evaluation = read_json(out / "evaluation.json")
    return {
        "command": as_typed(*words),
        "seconds": completed.seconds,
        "peak_gb": completed.peak_gb,
        "top1": evaluation["top1"],
        "top5": evaluation["top5"],
        "images": evaluation["images"],
    }


def main() -> None:
    """One fit after the other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--keras-from", type=Path, help="take Keras's runs from this earlier result")
    parser.add_argument("--seeds", type=int, default=3, help="of the same recipe on the same input")
    parser.add_argument("--quick", action="store_true", help="2,000 images, one epoch: shows only that the script runs")
    given = parser.parse_args()
    epochs, limit = (1, 2000) if given.quick else (10, None)
    seeds = range(1 if given.quick else given.seeds)
    runs = earlier_keras_runs(given.keras_from, epochs) if given.keras_from else [run_keras(epochs, limit)]
    same, *others = FITS
    seeded = [(*FITS[same], *(("--seed", seed) if seed else ())) for seed in seeds]
    fits = {
        "Keras, as written": keras_row(runs),
        same: over_seeds([fit(options, epochs, limit) for options in seeded]),
        **{name: fit(FITS[name], epochs, limit) for name in others},
    }
    figures = {
        "images": limit or 10222,
        "epochs": epochs,
        "input": {"as the network was trained": evaluate(()), "as the tutorial reads them": evaluate(TUTORIAL_INPUT)},
        "fits": fits,
    }
    save("speed/tutorial", {**figures, "keras": {"runs": runs}}, quick=given.quick)


if __name__ == "__main__":
    main()
