"""The 2020 tutorial in Keras and the same in headstart, one after the other: from JPEGs to a classifier.

    python benchmarks/seed.py [--times 3] [--keras-from benchmarks/results/tutorial.json] [--quick]

The pictures of dogs120, the tutorial's MobileNetV2 weights, its split (the last quarter of the table). Three questions:

1. Its own recipe (the last 20 layers, plain SGD, batch 32): how long from the files to the end of the tenth epoch, and
   how much memory? The input is the right one here, RGB in [-1, 1], which the tutorial's was not.
2. With headstart's defaults: how long until it tells an accuracy on validation that is better than the best of the
   tutorial's ten epochs? And until all is done, the report written?
3. What does a second fit with other settings cost? In Keras as much as the first: nothing is kept. By the tutorial's
   recipe, by the defaults, of the head alone as a command, and as a call in a session (a notebook's) that has loaded
   headstart already.

Keras's ten epochs take 14 to 24 minutes on two cores, by the processor; --keras-from takes them
from an earlier result of this script. Seconds are those of the whole process, imports and the report included, but
where it is said otherwise.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from harness import HEADSTART, SHARED, WEIGHTS, emptied, keep, ratio, run, spread, told
from tutorial import CLASSIC, earlier, keras, table_with_split

OTHER = ("--lr", 0.02)  # for the second fit by the tutorial's recipe
OTHER_DEFAULTS = ("--pretrained-head", "off")  # for the second fit by headstart's defaults
HEAD = ("--train", "head", *OTHER_DEFAULTS)
SESSION = """
import json, sys, time
from headstart import ImageClassifier, read_images
photos, labels, model, store = sys.argv[1:]
for more in ({}, {"train": "head", "pretrained_head": "off"}):
    start = time.monotonic()
    fitted = ImageClassifier(model, store=store, **more).fit(read_images(photos, labels=labels))
    seconds = time.monotonic() - start
print(json.dumps({"seconds": round(seconds, 2), "top1": fitted.evaluation_["top1"]["value"]}))
"""
TOLD = re.compile(r"(\S+): accuracy ([\d.]+)%")  # what a rung says of itself, on validation


def fitted(folder: Path, table: Path, *words: object) -> dict[str, Any]:
    """headstart, run once; with the folder's store, whatever it holds."""
    given = ("--labels", table, "--store", folder / "store", "--model", WEIGHTS, "--out", folder / "run")
    ran = run(HEADSTART, "fit", SHARED / "dogs120", *given, *words)
    history = [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]
    evaluation = json.loads((folder / "run" / "evaluation.json").read_text())
    stages = evaluation["summary"]["seconds"]
    return {
        "seconds": ran.seconds,
        "peak_gb": ran.peak_gb,
        "top1": evaluation["top1"]["value"],
        "stages_s": stages,
        "epoch_s": [line["seconds"] for line in history],
        "val_accuracy": [round(line["val_accuracy"], 4) for line in history],
        "told": [
            {"s": when, "rung": rung[1], "val_accuracy": float(rung[2]) / 100}
            for when, line in ran.said
            if (rung := TOLD.match(line)) is not None
        ],
    }


def in_a_session(folder: Path, table: Path) -> dict[str, Any]:
    """The second of two fits in one process, on the store that is there."""
    ran = run(HEADSTART.with_name("python"), "-c", SESSION, SHARED / "dogs120", table, WEIGHTS, folder / "store")
    return told(ran) | {"peak_gb": ran.peak_gb}


def first_better(fit: dict[str, Any], accuracy: float, *, rung: str | None = None) -> float:
    """Seconds from the program's start until a rung, this one or any, says a better accuracy than ``accuracy``."""
    return min(each["s"] for each in fit["told"] if each["val_accuracy"] > accuracy and rung in (None, each["rung"]))


def reached(fit: dict[str, Any], accuracy: float) -> float | None:
    """Seconds from the files until an epoch ends that is better than ``accuracy``, without the program's start."""
    before = sum(seconds for stage, seconds in fit["stages_s"].items() if stage not in ("training", "evaluating"))
    for number, value in enumerate(fit["val_accuracy"], 1):
        if value > accuracy:
            return round(before + sum(fit["epoch_s"][:number]), 2)
    return None


def of(fits: list[dict[str, Any]], what: str) -> list[float]:
    """One figure of each run."""
    return [each[what] for each in fits]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All runs, and what they say."""
    epochs, limit = (1, 2000) if given.quick else (10, None)
    if given.keras_from:
        theirs = earlier(given.keras_from, epochs)
    else:
        theirs = [keras(epochs, limit) for _ in range(given.keras_times)]
    classic = (*CLASSIC, "--epochs", epochs)
    first: dict[str, list[dict[str, Any]]] = {"classic": [], "defaults": []}
    second: dict[str, list[dict[str, Any]]] = {"classic": [], "defaults": [], "head": [], "session": []}
    for _ in range(given.times):
        for name, words, others in (("classic", classic, OTHER), ("defaults", (), OTHER_DEFAULTS)):
            folder = emptied(f"seed-{name}")
            table = table_with_split(folder / "labels.csv", limit)
            first[name].append(fitted(folder, table, *words))
            second[name].append(fitted(folder, table, *words, *others))
        second["head"].append(fitted(folder, table, *HEAD))
        second["session"].append(in_a_session(folder, table))
    best = max(max(each["val_accuracy"]) for each in theirs)
    slow = of(theirs, "seconds")
    when_best = [each["epoch_ends_s"][each["val_accuracy"].index(max(each["val_accuracy"]))] for each in theirs]
    passed = all(fit["top1"] > best for fit in first["defaults"])
    return {
        "images": limit or 10222,
        "epochs": epochs,
        "to_the_last_epoch": {
            "keras_s": spread(slow),
            "headstart_s": spread(of(first["classic"], "seconds")),
            "times_faster": ratio(slow, of(first["classic"], "seconds")),
            "keras_peak_gb": spread(of(theirs, "peak_gb")),
            "headstart_peak_gb": spread(of(first["classic"], "peak_gb")),
            "times_less_memory": ratio(of(theirs, "peak_gb"), of(first["classic"], "peak_gb")),
        },
        "better_than_the_best_of_keras": {
            "keras_best_val_accuracy": best,
            "keras_s": spread(when_best),
            "headstart_top1": spread(of(first["defaults"], "top1")),
            "told": {
                name: {"headstart_s": spread(seconds), "times_faster": ratio(when_best, seconds)}
                for name, rung in (("by any rung", None), ("by the solved head", "head"))
                if passed
                for seconds in [[first_better(fit, best, rung=rung) for fit in first["defaults"]]]
            },
            "all_done": {
                "headstart_s": spread(of(first["defaults"], "seconds")),
                "times_faster": ratio(when_best, of(first["defaults"], "seconds")),
            }
            if passed
            else None,
            "classic_reached_s": [reached(fit, best) for fit in first["classic"]],
        },
        "second_fit": {
            name: {
                "settings": " ".join(map(str, words)),
                "headstart_s": spread(of(second[name], "seconds")),
                "top1": spread(of(second[name], "top1")),
                "times_faster": ratio(slow, of(second[name], "seconds")),
            }
            for name, words in (("classic", OTHER), ("defaults", OTHER_DEFAULTS), ("head", HEAD), ("session", HEAD))
        },
        "keras": {"runs": theirs},
        "headstart": {"first": first, "second": second},
    }


def main() -> None:
    """One after the other."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--times", type=int, default=3, help="of each of headstart's fits")
    arguments.add_argument("--keras-times", type=int, default=1)
    arguments.add_argument("--keras-from", type=Path, help="a result of this script, whose runs of Keras are taken")
    arguments.add_argument("--quick", action="store_true", help="2,000 pictures and one epoch: only whether it runs")
    given = arguments.parse_args()
    if given.quick:
        given.times = 1
    keep("seed", measure(given), quick=given.quick)


if __name__ == "__main__":
    main()
