"""What the peers' scripts share. Each runs in an environment of its own, so this needs only Python and NumPy.

A peer reads ``split.csv`` (path, label, split; the same for all) and writes ``test.npy``, the probabilities (N, C) of
the images in the test split in the table's order, with the classes sorted as strings. Its last line of output is a JSON
object. The same evaluator computes the metrics of all peers.
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
class Split:
    """The images and targets of one split."""

    paths: list[str]
    targets: np.ndarray  # (N,)


@dataclass(frozen=True)
class Task:
    """What a peer is given."""

    classes: list[str]
    splits: dict[str, Split]  # "train", "validation", "test"
    out: Path


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options of all peers."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--split", type=Path, required=True, help="the table: path, label, split")
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="for a trial run")
    return parser


def read_task(given: argparse.Namespace) -> Task:
    """Read the table."""
    with given.split.open(newline="") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    index = {name: number for number, name in enumerate(classes)}
    splits = {}
    for split in ("train", "validation", "test"):
        chosen = [row for row in rows if row["split"] == split]
        splits[split] = Split([row["path"] for row in chosen], np.array([index[row["label"]] for row in chosen]))
    given.out.mkdir(parents=True, exist_ok=True)
    return Task(classes, splits, given.out)


def finish(task: Task, probabilities: np.ndarray, **figures: Any) -> None:
    """Save the probabilities, and print the figures."""
    np.save(task.out / "test.npy", np.asarray(probabilities, np.float32))
    print(json.dumps(figures))
