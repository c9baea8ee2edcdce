"""The 2020 tutorial in Keras and the same in headstart, one after the other: from JPEGs to a classifier.

    python -m benchmarks.speed.keras_recipe [--times 3] [--keras-from benchmarks/results/speed/tutorial.json] [--quick]

The images of dogs120, the tutorial's MobileNetV2 weights, and its split (the last quarter of the table). Three
questions:

1. Its own recipe (the last 20 layers, plain SGD, batches of 32): how long from the files to the end of the tenth epoch,
   and how much memory? The input is the correct one here, RGB in [-1, 1]; the tutorial's was not.
2. With headstart's defaults: how long until it reports a validation accuracy above the best of the tutorial's ten
   epochs? And until everything is done, report included?
3. What does a second fit with other settings cost? In Keras as much as the first, since nothing is stored. In
   headstart: with the tutorial's recipe, with the defaults, with the head alone as a command, and with the head alone
   as a call in a session (a notebook) that has already loaded headstart.

Keras's ten epochs take 14 to 24 minutes on two cores, depending on the processor; --keras-from takes them from an
earlier result. Seconds are of the whole process, imports and report included, unless stated otherwise.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    HEADSTART,
    SHARED,
    WEIGHTS,
    Figures,
    empty_folder,
    own_python,
    ratio,
    read_json,
    run,
    save,
    spread,
)
from benchmarks.speed.tutorial import CLASSIC, earlier_keras_runs, run_keras, write_labels

OTHER_RECIPE = ("--lr", 0.02)  # of the second fit with the tutorial's recipe
OTHER_DEFAULTS = ("--no-pretrained-head",)  # of the second fit with headstart's defaults
HEAD_ALONE = ("--train", "head", *OTHER_DEFAULTS)
SESSION = """
import json, sys, time
from headstart import ImageClassifier, read_images
photos, labels, model, cache_dir = sys.argv[1:]
for settings in ({}, {"train": "head", "pretrained_head": False}):
    start = time.monotonic()
    fitted = ImageClassifier(model, cache_dir=cache_dir, **settings).fit(read_images(photos, labels=labels))
    seconds = time.monotonic() - start
print(json.dumps({"seconds": round(seconds, 2), "top1": fitted.evaluation_.top1.value}))
"""


def fit(folder: Path, labels: Path, *options: object) -> Figures:
    """``headstart fit`` with the store of this folder, whatever it contains."""
    paths = ("--labels", labels, "--cache-dir", folder / "store", "--model", WEIGHTS, "--out", folder / "run")
    completed = run(HEADSTART, "fit", SHARED / "dogs120", *paths, *options)
    history = read_lines(folder / "run" / "history.jsonl")
    evaluation = read_json(folder / "run" / "evaluation.json")
    return {
        "seconds": completed.seconds,
        "peak_gb": completed.peak_gb,
        "top1": evaluation["top1"]["value"],
        "stages_s": evaluation["summary"]["seconds"],
        "epoch_s": [line["seconds"] for line in history],
        "val_accuracy": [round(line["val_accuracy"], 4) for line in history],
        "reported": reported_trials(completed.stderr, evaluation),
    }


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON Lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def reported_trials(stderr: list[tuple[float, str]], evaluation: Figures) -> list[Figures]:
    """When the terminal showed the result of each trial, in seconds since the start, and its validation accuracy."""
    found = []
    for trial in evaluation["trials"]:
        shown = [seconds for seconds, line in stderr if line.startswith(f"{trial['name']}: accuracy ")]
        if shown:
            found.append({"s": shown[0], "trial": trial["name"], "val_accuracy": trial["accuracy"]["value"]})
    return found


def fit_in_session(folder: Path, labels: Path) -> Figures:
    """The second of two fits in one process, with the store that is there."""
    completed = run(own_python(), "-c", SESSION, SHARED / "dogs120", labels, WEIGHTS, folder / "store")
    return completed.report() | {"peak_gb": completed.peak_gb}


def first_above(fit: Figures, accuracy: float, *, trial: str | None = None) -> float:
    """Seconds from the start until a trial (this one, or any) reports an accuracy above ``accuracy``."""
    return min(
        float(each["s"])
        for each in fit["reported"]
        if each["val_accuracy"] > accuracy and trial in (None, each["trial"])
    )


def reached(fit: Figures, accuracy: float) -> float | None:
    """Seconds from the files to the end of the first epoch above ``accuracy``, without the start of the program."""
    before = sum(
        float(seconds) for stage, seconds in fit["stages_s"].items() if stage not in ("training", "evaluating")
    )
    for number, value in enumerate(fit["val_accuracy"], 1):
        if value > accuracy:
            return round(before + float(sum(fit["epoch_s"][:number])), 2)
    return None


def values(fits: list[Figures], name: str) -> list[float]:
    """One figure of each run."""
    return [each[name] for each in fits]


def run_headstart(times: int, epochs: int, limit: int | None) -> tuple[dict[str, list[Figures]], ...]:
    """The first fits and the second ones, by kind."""
    first: dict[str, list[Figures]] = {"classic": [], "defaults": []}
    second: dict[str, list[Figures]] = {"classic": [], "defaults": [], "head": [], "session": []}
    classic = (*CLASSIC, "--epochs", epochs)
    for _ in range(times):
        for name, options, changed in (("classic", classic, OTHER_RECIPE), ("defaults", (), OTHER_DEFAULTS)):
            folder = empty_folder(f"keras_recipe-{name}")
            labels = write_labels(folder / "labels.csv", limit)
            first[name].append(fit(folder, labels, *options))
            second[name].append(fit(folder, labels, *options, *changed))
        second["head"].append(fit(folder, labels, *HEAD_ALONE))
        second["session"].append(fit_in_session(folder, labels))
    return first, second


def to_last_epoch(keras: list[Figures], ours: list[Figures]) -> Figures:
    """Question 1."""
    return {
        "keras_s": spread(values(keras, "seconds")),
        "headstart_s": spread(values(ours, "seconds")),
        "times_faster": ratio(values(keras, "seconds"), values(ours, "seconds")),
        "keras_peak_gb": spread(values(keras, "peak_gb")),
        "headstart_peak_gb": spread(values(ours, "peak_gb")),
        "times_less_memory": ratio(values(keras, "peak_gb"), values(ours, "peak_gb")),
    }


def better_than_best_epoch(keras: list[Figures], first: dict[str, list[Figures]]) -> Figures:
    """Question 2."""
    defaults = first["defaults"]
    best = max(max(each["val_accuracy"]) for each in keras)
    when_best = [each["epoch_ends_s"][each["val_accuracy"].index(max(each["val_accuracy"]))] for each in keras]
    reported, all_done = {}, None
    if all(fit["top1"] > best for fit in defaults):
        for name, trial in (("by any trial", None), ("by the solved head", "head")):
            seconds = [first_above(fit, best, trial=trial) for fit in defaults]
            reported[name] = {"headstart_s": spread(seconds), "times_faster": ratio(when_best, seconds)}
        seconds = values(defaults, "seconds")
        all_done = {"headstart_s": spread(seconds), "times_faster": ratio(when_best, seconds)}
    return {
        "keras_best_val_accuracy": best,
        "keras_s": spread(when_best),
        "headstart_top1": spread(values(defaults, "top1")),
        "reported": reported,
        "all_done": all_done,
        "classic_reached_s": [reached(fit, best) for fit in first["classic"]],
    }


def second_fits(keras: list[Figures], second: dict[str, list[Figures]]) -> Figures:
    """Question 3."""
    changed = {"classic": OTHER_RECIPE, "defaults": OTHER_DEFAULTS, "head": HEAD_ALONE, "session": HEAD_ALONE}
    return {
        name: {
            "settings": " ".join(map(str, options)),
            "headstart_s": spread(values(second[name], "seconds")),
            "top1": spread(values(second[name], "top1")),
            "times_faster": ratio(values(keras, "seconds"), values(second[name], "seconds")),
        }
        for name, options in changed.items()
    }


def measure(given: argparse.Namespace) -> Figures:
    """All runs, and what they show."""
    epochs, limit = (1, 2000) if given.quick else (10, None)
    if given.keras_from:
        keras = earlier_keras_runs(given.keras_from, epochs)
    else:
        keras = [run_keras(epochs, limit) for _ in range(given.keras_times)]
    first, second = run_headstart(given.times, epochs, limit)
    return {
        "images": limit or 10222,
        "epochs": epochs,
        "to_last_epoch": to_last_epoch(keras, first["classic"]),
        "better_than_best_keras_epoch": better_than_best_epoch(keras, first),
        "second_fit": second_fits(keras, second),
        "keras": {"runs": keras},
        "headstart": {"first": first, "second": second},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=3, help="of each of headstart's fits")
    parser.add_argument("--keras-times", type=int, default=1)
    parser.add_argument("--keras-from", type=Path, help="take Keras's runs from this earlier result")
    parser.add_argument("--quick", action="store_true", help="2,000 images, one epoch: shows only that the script runs")
    given = parser.parse_args()
    if given.quick:
        given.times = 1
    save("speed/keras_recipe", measure(given), quick=given.quick)


if __name__ == "__main__":
    main()
