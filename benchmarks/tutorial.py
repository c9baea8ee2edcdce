"""The 2020 tutorial's recipe in headstart on the tutorial's own weights, and headstart's defaults on the same.

    python benchmarks/tutorial.py

MobileNetV2 of Keras, the last quarter of the table for validation, the last 20 layers trained with BatchNorm in
training mode, plain SGD at 0.01, batch 32, 10 epochs. The input is the right one, RGB in [-1, 1], which the tutorial's
was not.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from harness import HEADSTART, SHARED, WEIGHTS, emptied, keep, run

CLASSIC = ("--train", "from:blocks.5.2.conv_dw", "--optimizer", "sgd", "--momentum", 0, "--weight-decay", 0)
CLASSIC += ("--schedule", "constant", "--batchnorm", "train", "--epochs", 10)


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


def measured(name: str, *words: object) -> dict[str, object]:
    """One fit from nothing."""
    folder = emptied(name)
    labels = ("--labels", table_with_split(folder / "labels.csv"), "--store", folder / "store")
    ran = run(HEADSTART, "fit", SHARED / "dogs120", *labels, "--model", WEIGHTS, "--out", folder / "run", *words)
    history = [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]
    evaluation = json.loads((folder / "run" / "evaluation.json").read_text())
    return {
        "seconds": ran.seconds,
        "peak_gb": ran.peak_gb,
        "top1": evaluation["top1"],
        "val_accuracy": [round(line["val_accuracy"], 4) for line in history],
    }


def main() -> None:
    """One after the other."""
    keep("tutorial", {"classic": measured("tutorial-classic", *CLASSIC), "defaults": measured("tutorial-defaults")})


if __name__ == "__main__":
    main()
