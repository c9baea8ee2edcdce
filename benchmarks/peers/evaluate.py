"""Evaluate a peer's probabilities with headstart's evaluator: python evaluate.py split.csv test.npy."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict

import numpy as np

from headstart.evaluate import evaluate

with open(sys.argv[1], newline="") as file:  # noqa: PTH123
    rows = list(csv.DictReader(file))
classes = sorted({row["label"] for row in rows})
targets = np.array([classes.index(row["label"]) for row in rows if row["split"] == "test"])
found = asdict(evaluate(targets, np.load(sys.argv[2]), classes, split="test"))
print(json.dumps({name: found[name] for name in ("top1", "log_loss", "ece", "images")}))
