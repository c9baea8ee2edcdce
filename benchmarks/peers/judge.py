"""What a peer's probabilities are worth, by headstart's evaluator: python judge.py split.csv test.npy."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np

from headstart.evaluate import evaluate

with open(sys.argv[1], newline="") as file:  # noqa: PTH123
    rows = list(csv.DictReader(file))
classes = sorted({row["label"] for row in rows})
targets = np.array([classes.index(row["label"]) for row in rows if row["split"] == "test"])
found = evaluate(targets, np.load(sys.argv[2]), classes, part="test")
print(json.dumps({name: found[name] for name in ("top1", "log_loss", "ece", "images")}))
