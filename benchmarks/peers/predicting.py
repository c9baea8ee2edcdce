"""What the peers that predict share: images in folders named by class index, and the figures they print."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options of all peers."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path, help="imagenet-val: one subfolder per class, named by its index")
    parser.add_argument("--limit", type=int, help="number of images")
    parser.add_argument("--latency", type=int, default=100, help="number of images to predict one by one when warm")
    parser.add_argument("--first", type=Path, help="predict this file alone and print the seconds from a cold start")
    return parser


def image_paths(given: argparse.Namespace) -> list[str]:
    """The paths of the images; with a limit, spread over the classes."""
    found = sorted(str(path) for path in given.folder.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg"))
    step = max(1, len(found) // given.limit) if given.limit else 1
    return found[::step][: given.limit]


def latencies(given: argparse.Namespace, paths: list[str], predict_one: Callable[[str], object]) -> list[float]:
    """Milliseconds from a file to its class, one image at a time, when warm."""
    for path in paths[:5]:
        predict_one(path)
    milliseconds = []
    for path in paths[: given.latency]:
        start = time.perf_counter()
        predict_one(path)
        milliseconds.append(1000 * (time.perf_counter() - start))
    return milliseconds


def print_figures(paths: list[str], predicted: np.ndarray, seconds: float, one_by_one: list[float]) -> None:
    """Print the last line: a JSON object."""
    true = np.array([int(Path(path).parent.name) for path in paths])
    top1 = round(float((predicted == true).mean()), 4)
    latency = {
        "median": float(np.median(one_by_one)),
        "low": float(np.percentile(one_by_one, 5)),
        "high": float(np.percentile(one_by_one, 95)),
    }
    figures = {"images": len(paths), "top1": top1, "seconds": round(seconds, 3)}
    print(json.dumps({**figures, "latency_ms": {name: round(value, 2) for name, value in latency.items()}}))
