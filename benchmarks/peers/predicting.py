"""What the peers that predict share: pictures in folders named by the class's index, and what is told of them."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def arguments(what: str | None) -> argparse.ArgumentParser:
    """The options that all have."""
    made = argparse.ArgumentParser(description=what)
    made.add_argument("folder", type=Path, help="imagenet-val: a folder a class, named by its index")
    made.add_argument("--limit", type=int, help="pictures")
    made.add_argument("--latency", type=int, default=100, help="pictures one at a time, when warm")
    made.add_argument("--first", type=Path, help="predict this one file and say how long it took from nothing")
    return made


def pictures(given: argparse.Namespace) -> list[str]:
    """Their paths; with a limit, spread over the classes."""
    found = sorted(str(path) for path in given.folder.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg"))
    step = max(1, len(found) // given.limit) if given.limit else 1
    return found[::step][: given.limit]


def latencies(given: argparse.Namespace, paths: list[str], one: Callable[[str], object]) -> list[float]:
    """Milliseconds from a file to its class, one picture at a time, when warm."""
    for path in paths[:5]:
        one(path)
    taken = []
    for path in paths[: given.latency]:
        start = time.perf_counter()
        one(path)
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def answer(paths: list[str], found: np.ndarray, seconds: float, once: list[float]) -> None:
    """The last line."""
    true = np.array([int(Path(path).parent.name) for path in paths])
    told = {"images": len(paths), "top1": round(float((found == true).mean()), 4), "seconds": round(seconds, 3)}
    ms = {
        "median": float(np.median(once)),
        "low": float(np.percentile(once, 5)),
        "high": float(np.percentile(once, 95)),
    }
    print(json.dumps({**told, "latency_ms": {name: round(value, 2) for name, value in ms.items()}}))
