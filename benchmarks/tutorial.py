"""The 2020 tutorial, step by step better: from Keras as it was written to headstart's defaults.

    python benchmarks/tutorial.py [--keras-from benchmarks/results/tutorial.json] [--seeds 3] [--quick]

Two tables, from which docs/generate.py writes that of docs/tutorial.md:

1. What the tutorial's input costs before any training: its weights on 1,300 labelled pictures of ImageNet, shown as
   they were trained (RGB in [-1, 1]) and as the tutorial showed them (OpenCV's BGR in [0, 1]).
2. The dogs, each fit from nothing, always with the last quarter of the table for validation: Keras as written; the same
   recipe here; with the right input; headstart's defaults on the tutorial's weights; its defaults on its own network.

The same recipe on the same input is there to be compared with Keras epoch by epoch. Of a new head's first epoch one run
says little (validation 37 to 41 % by seed), so that it is run with several; the row is that of the run in the middle.

Keras's ten epochs take about 14 minutes on two cores; --keras-from takes them from an earlier result, of this script
or of seed.py.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from pathlib import Path
from typing import Any

from harness import HEADSTART, SEED, SHARED, WEIGHTS, emptied, keep, machine, peer, run

CLASSIC = ("--recipe", "classic")
WRONG_INPUT = ("--channels", "BGR", "--range", "0:1")
SAME_SPLIT = ("--test", 0, "--split", "last", "--validation", 0.25, "--class-order", "appearance")
ITS_WEIGHTS = ("--model", WEIGHTS)

FITS: dict[str, tuple[object, ...]] = {
    "the same recipe, the same input": (*ITS_WEIGHTS, *CLASSIC, *WRONG_INPUT),
    "the same recipe, the right input": (*ITS_WEIGHTS, *CLASSIC),
    "headstart's defaults on the tutorial's weights": (*ITS_WEIGHTS, *SAME_SPLIT),
    "headstart's defaults": SAME_SPLIT,
}


def table_with_split(path: Path, limit: int | None = None) -> Path:
    """The labels (or the first ``limit`` of them) in their order, the last quarter for validation."""
    dogs = SHARED / "dogs120"
    with (dogs / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:limit]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "breed", "split"])
        for number, row in enumerate(rows):
            part = "train" if number < int(0.75 * len(rows)) else "validation"
            writer.writerow([dogs / "train" / f"{row['id']}.jpg", row["breed"], part])
    return path


def keras(epochs: int, limit: int | None) -> dict[str, Any]:
    """The tutorial, run once."""
    python = peer("keras", "tensorflow-cpu==2.21.0", "opencv-python-headless", "pandas")
    ran = run(python, SEED, SHARED / "dogs120", WEIGHTS, epochs, *([limit] if limit else []))
    lines = [json.loads(line) for line in ran.out.splitlines() if line.startswith('{"epoch"')]
    return {
        "seconds": ran.seconds,
        "peak_gb": ran.peak_gb,
        "epoch_ends_s": [line["t"] for line in lines],  # since its imports were done
        **{name: [line[name] for line in lines] for name in ("accuracy", "val_accuracy", "val_loss")},
    }


def earlier(path: Path, epochs: int) -> list[dict[str, Any]]:
    """Keras's runs out of an earlier result, of this very kind of machine."""
    result = json.loads(path.read_text())
    if result["machine"] != machine():
        raise SystemExit(f"{path}: measured on {result['machine']}, and this is {machine()}; leave --keras-from out")
    found = result.get("keras", {}).get("runs", [])
    if not found or any(len(each["val_accuracy"]) != epochs for each in found):
        raise SystemExit(f"{path}: holds no run of Keras over {epochs} epochs; leave --keras-from out, or name another")
    return found  # type: ignore[no-any-return]


def as_written(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Keras's row: its last epoch, which is what the tutorial keeps; of several runs the medians."""

    def middle(name: str) -> list[float] | None:
        there = [each[name] for each in runs if name in each]
        return [round(statistics.median(epoch), 4) for epoch in zip(*there, strict=True)] if there else None

    accuracy, loss = middle("val_accuracy"), middle("val_loss")
    assert accuracy is not None
    return {
        "command": f"python {SEED.name} dogs120 {WEIGHTS.name} {len(accuracy)}",
        "seconds": statistics.median(each["seconds"] for each in runs),
        "peak_gb": statistics.median(each["peak_gb"] for each in runs),
        "top1": {"value": accuracy[-1]},
        "log_loss": {"value": loss[-1]} if loss else None,  # earlier results do not hold it
        "accuracy": middle("accuracy"),
        "val_accuracy": accuracy,
    }


def told(*words: object) -> str:
    """A command as one would type it beside the files."""
    return " ".join(["headstart", *(word.name if isinstance(word, Path) else str(word) for word in words)])


def over_seeds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The run whose accuracy is in the middle, with the lowest, middle and highest of every epoch."""
    middle = sorted(rows, key=lambda row: float(row["top1"]["value"]))[(len(rows) - 1) // 2]
    epochs = {
        name: [
            [min(each), statistics.median(each), max(each)] for each in zip(*(row[name] for row in rows), strict=True)
        ]
        for name in ("accuracy", "val_accuracy")
    }
    return {**middle, "seeds": len(rows), "over_seeds": epochs}


def fitted(words: tuple[object, ...], epochs: int, limit: int | None) -> dict[str, Any]:
    """One fit from nothing."""
    folder = emptied("tutorial")
    photos = SHARED / "dogs120"
    labels = ("--labels", table_with_split(folder / "labels.csv", limit)) if limit else ()
    shorter = ("--epochs", epochs) if CLASSIC[1] in words and epochs != 10 else ()
    places = ("--store", folder / "store", "--out", folder / "run")
    ran = run(HEADSTART, "fit", photos, *words, *shorter, *labels, *places)
    evaluation = json.loads((folder / "run" / "evaluation.json").read_text())
    history = [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]
    row = {
        "command": told("fit", photos, *words, *shorter),
        "seconds": ran.seconds,
        "peak_gb": ran.peak_gb,
        "top1": evaluation["top1"],
        "log_loss": evaluation["log_loss"],
        "trainable": evaluation["summary"]["trainable"],
    }
    if CLASSIC[1] in words:
        row |= {name: [round(line[name], 4) for line in history] for name in ("accuracy", "val_accuracy")}
    return row


def shown(words: tuple[object, ...]) -> dict[str, Any]:
    """The tutorial's weights, untrained, on ImageNet's own pictures."""
    out = emptied("tutorial-input")
    given = ("evaluate", WEIGHTS, SHARED / "imagenet-val", *words)
    ran = run(HEADSTART, *given, "--out", out)
    evaluation = json.loads((out / "evaluation.json").read_text())
    return {
        "command": told(*given),
        "seconds": ran.seconds,
        "peak_gb": ran.peak_gb,
        "top1": evaluation["top1"],
        "top5": evaluation["top5"],
        "images": evaluation["images"],
    }


def main() -> None:
    """One after the other."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--keras-from", type=Path, help="an earlier result, whose runs of Keras are taken")
    arguments.add_argument("--seeds", type=int, default=3, help="of the same recipe on the same input")
    arguments.add_argument("--quick", action="store_true", help="2,000 pictures and one epoch: only whether it runs")
    given = arguments.parse_args()
    epochs, limit = (1, 2000) if given.quick else (10, None)
    seeds = range(1 if given.quick else given.seeds)
    runs = earlier(given.keras_from, epochs) if given.keras_from else [keras(epochs, limit)]
    same, *others = FITS
    fits = {
        "Keras, as written": as_written(runs),
        same: over_seeds([fitted((*FITS[same], *(("--seed", seed) if seed else ())), epochs, limit) for seed in seeds]),
        **{name: fitted(FITS[name], epochs, limit) for name in others},
    }
    figures = {
        "images": limit or 10222,
        "epochs": epochs,
        "input": {"as it was trained": shown(()), "as the tutorial showed them": shown(WRONG_INPUT)},
        "fits": fits,
    }
    keep("tutorial", {**figures, "keras": {"runs": runs}}, quick=given.quick)


if __name__ == "__main__":
    main()
