"""ReportData -> one HTML page that needs nothing but itself: no network, no script."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from headstart.files import write_text
from headstart.report import figures, histograms
from headstart.report.collect import ReportData, collect

__all__ = ["render", "write_report"]

SPACE = "\u202f"  # narrow, does not break: between a number and its %
HARDEST = 24  # classes of the closer look, where there are more than fit with numbers
LISTED = 50  # problems

FIGURES = {
    "top5": ("Top-5 accuracy", "the true class is among the five first guesses"),
    "balanced_accuracy": ("Balanced accuracy", "every class counts the same, however many images it has"),
    "macro_f1": ("Macro F1", "precision and recall in one, averaged over the classes"),
    "log_loss": ("Log loss", "nats; 0 is perfect, {even:.2f} is guessing evenly"),
    "brier": ("Brier score", "0 is perfect, 2 is sure and wrong"),
    "ece": ("Calibration error", "how far sureness and being right lie apart"),
}
PERCENTS = ("top5", "balanced_accuracy", "ece")


def write_report(run: Path) -> Path:
    """Read a run folder, write ``report.html`` into it, and return its path.

    Raises :class:`~headstart.errors.RunError` that names the file if one is missing or damaged.
    """
    path = run / "report.html"
    write_text(path, render(collect(run)))
    return path


def render(data: ReportData) -> str:
    """The page as text; the same data give the same text."""
    environment = Environment(
        loader=PackageLoader("headstart.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, count="{:,}".format, plain=_plain, name=_name)
    evaluation = data.evaluation
    matrix = np.array(evaluation["confusion"], dtype=np.int64)
    ladder = evaluation.get("ladder", [])
    drawn = figures.one_rung(data.history, next((row["rung"] for row in ladder if row["chosen"]), None))
    return environment.get_template("report.html.jinja").render(
        data=data,
        evaluation=evaluation,
        summary=evaluation["summary"],
        notes=[note for note in (evaluation.get("note"), *evaluation["notes"]) if note],
        majority=int(matrix.sum(axis=1).max()) / evaluation["images"],
        headline=_headline(evaluation),
        curves=figures.curves(drawn),
        chosen=[row for row in drawn if row.get("chosen")],
        not_drawn=_rungs(data.history, drawn),
        ladder=ladder,
        seeds=_seeds(evaluation.get("seeds")),
        doubt=_doubt(evaluation),
        matrices=_matrices(matrix, evaluation["classes"]),
        random=[_case(data, row) for row in data.choice.random],
        surest_wrong=[_case(data, row) for row in data.choice.surest_wrong],
        hardest=_hardest(evaluation["per_class"]),
        reliability=figures.reliability(evaluation["reliability"]),
        trust=_trust(evaluation["reliability"]),
        problems=_problems(data),
        versions={"headstart": data.settings.get("headstart"), **data.settings["versions"]},
        short=_shortener(data.images.uris),
    )


def _percent(share: float, digits: int = 1) -> str:
    """``84.2 %``; what is not nothing is not written as nothing."""
    least = 10.0**-digits
    if 0 < 100 * share < least / 2:
        return f"<{least:g}{SPACE}%"
    return f"{100 * share:.{digits}f}{SPACE}%"


def _name(name: str) -> Markup:
    """The name of a class, escaped, that may be broken after an underscore."""
    return Markup("_<wbr>").join(name.split("_"))


def _plain(value: Any) -> str:
    """A setting as a person would write it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items()) or "none"
    return str(value)


def _headline(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    even = math.log(len(evaluation["classes"]))
    return [
        {
            "name": name,
            "text": text.format(even=even),
            "percent": key in PERCENTS,
            "gauge": key in ("top5", "balanced_accuracy", "macro_f1"),
            **{bound: evaluation[key][bound] for bound in ("value", "low", "high")},
        }
        for key, (name, text) in FIGURES.items()
        if key in evaluation
    ]


def _matrices(matrix: NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, str]]:
    """The whole matrix; where its numbers would not fit, the hardest classes once more with theirs."""
    order = figures.similarity_order(matrix) if len(classes) > 12 else list(range(len(classes)))
    whole = {"title": "", "text": "", "svg": figures.confusion(matrix, classes, order=order, key="all")}
    if len(classes) <= figures.MOST_NUMBERED:
        return [whole]
    hard = set(figures.hardest(matrix, most=HARDEST))
    closer = figures.confusion(matrix, classes, order=[number for number in order if number in hard], key="hardest")
    text = "Only what is confused among them; the whole follows."
    title = f"The {HARDEST} classes with the most mistakes"
    return [{"title": title, "text": text, "svg": closer}, whole | {"title": "All classes"}]


def _case(data: ReportData, row: int) -> dict[str, Any]:
    """A picture and its five first guesses; the true class is added where it is not among them."""
    predictions = data.predictions
    shares = predictions.probabilities[row]
    true, predicted = int(predictions.targets[row]), int(predictions.predicted[row])
    guesses = [number for number in np.argsort(-shares, kind="stable").tolist() if number != predicted]
    shown = [predicted, *guesses][:5]
    if true not in shown:
        shown.append(true)
    kinds = {predicted: "wrong", true: "true"}
    return {
        "uri": predictions.uris[row],
        "true": predictions.classes[true],
        "predicted": predictions.classes[predicted],
        "right": true == predicted,
        "bars": [
            {"name": predictions.classes[number], "share": float(shares[number]), "kind": kinds.get(number, "other")}
            for number in shown
        ],
    }


def _hardest(per_class: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows by recall, lowest first; classes without images last."""
    return sorted(per_class, key=lambda row: (row["recall"] is None, (row["recall"] or {"value": 0})["value"]))


def _trust(bins: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Mean confidence and accuracy over all images."""
    weights = [row["images"] for row in bins]
    return {key: float(np.average([row[key] for row in bins], weights=weights)) for key in ("confidence", "accuracy")}


def _doubt(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of temperature, sets and novelty: those that the evaluation has, with their figures."""
    found: dict[str, Any] = {key: evaluation[key] for key in ("calibration", "sets", "novelty") if key in evaluation}
    if "sets" in found:
        found["sets"] = found["sets"] | {"svg": histograms.set_sizes(found["sets"]["sizes"])}
    if "novelty" in found:
        section = found["novelty"]
        svg = histograms.strangeness(section["bars"], threshold=section["threshold"])
        found["novelty"] = section | {"svg": svg}
    return found


def _rungs(history: Sequence[dict[str, Any]], drawn: Sequence[dict[str, Any]]) -> list[str]:
    """The rungs of the ladder whose lines are not drawn, in the order of the history."""
    shown = {(row["stage"], row.get("rung")) for row in drawn}
    left = [str(row.get("rung", row["stage"])) for row in history if (row["stage"], row.get("rung")) not in shown]
    return list(dict.fromkeys(left))


def _seeds(seeds: dict[str, Any] | None) -> dict[str, Any] | None:
    """A row a seed, and the mean with its spread."""
    if not seeds:
        return None
    rows = list(zip(seeds["seeds"], seeds["accuracy"], seeds["log_loss"], strict=False))
    losses = [loss for *_, loss in rows]
    spread = float(np.std(losses, ddof=1)) if len(losses) > 1 else 0.0
    mean = float(np.mean(losses)) if losses else 0.0
    return {"rows": rows, "accuracy": (seeds["mean"], seeds["sd"]), "log_loss": (mean, spread)}


def _problems(data: ReportData) -> dict[str, Any]:
    unusable = data.images.unusable
    rows = list(zip(unusable.uris, unusable.problems, strict=True))
    reasons = Counter(str(reason) for _, reason in rows)
    return {"count": len(rows), "of": len(data.images), "listed": rows[:LISTED], "reasons": reasons.most_common(10)}


def _shortener(uris: Sequence[str]) -> Callable[[str], str]:
    """A function from a uri to what the page shows of it: the way from the folder that all images share."""
    folders = {os.path.dirname(uri) for uri in uris}  # noqa: PTH120 - some are not plain paths
    try:
        start = os.path.join(os.path.commonpath(folders), "")  # noqa: PTH118
    except ValueError:  # none, or nothing in common
        start = ""

    def short(uri: str) -> str:
        return uri[len(start) :] if start and uri.startswith(start) else os.path.basename(uri)  # noqa: PTH119

    return short
