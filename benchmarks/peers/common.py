"""What the peers' scripts share. Each runs in an environment of its own: standard library and NumPy alone up here.

A peer reads ``split.csv`` (path, label, split; the same for all) and writes ``test.npy``, the probabilities (N, C) of
the pictures in "test" in the table's order, with the classes sorted as strings. Its last line is a JSON object. What it
is worth, the same evaluator tells for all.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Part:
    """Pictures and targets of one side of the split."""

    paths: list[str]
    targets: np.ndarray  # (N,)


@dataclass(frozen=True)
class Task:
    """What a peer is given."""

    classes: list[str]
    parts: dict[str, Part]  # "train", "validation", "test"
    out: Path


def arguments(what: str) -> argparse.ArgumentParser:
    """The options that all have."""
    made = argparse.ArgumentParser(description=what)
    made.add_argument("--split", type=Path, required=True, help="the table: path, label, split")
    made.add_argument("--out", type=Path, required=True, help="a folder")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--epochs", type=int, help="fewer, for a trial")
    return made


def task(given: argparse.Namespace) -> Task:
    """Read the table."""
    with given.split.open(newline="") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    index = {name: number for number, name in enumerate(classes)}
    parts = {}
    for part in ("train", "validation", "test"):
        chosen = [row for row in rows if row["split"] == part]
        parts[part] = Part([row["path"] for row in chosen], np.array([index[row["label"]] for row in chosen]))
    given.out.mkdir(parents=True, exist_ok=True)
    return Task(classes, parts, given.out)


def finish(given: Task, probabilities: np.ndarray, **facts: Any) -> None:
    """Keep the probabilities, and say the rest."""
    np.save(given.out / "test.npy", np.asarray(probabilities, np.float32))
    print(json.dumps(facts))
