"""Plots of the results, as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.harness import Figures
from benchmarks.pages.markdown import number

OURS, OTHERS, INK = "#1f6fd6", "#9aa3ad", "#30363d"


def draw_bars(path: Path, values: dict[str, Figures | float | None], title: str) -> None:
    """Horizontal bars with the value at the end, those of headstart in color."""
    from matplotlib.figure import Figure

    known = {name: value for name, value in values.items() if value is not None}
    medians = [value["median"] if isinstance(value, dict) else value for value in known.values()]
    plot = Figure(figsize=(8, 0.6 + 0.38 * len(known)), layout="constrained")
    axes = plot.subplots()
    axes.barh(list(known), medians, color=[OURS if "headstart" in name else OTHERS for name in known], height=0.7)
    for row, (value, median) in enumerate(zip(known.values(), medians, strict=True)):
        if isinstance(value, dict) and value["low"] != value["high"]:
            axes.plot([value["low"], value["high"]], [row, row], color=INK, linewidth=1.2)
        end = value["high"] if isinstance(value, dict) else median
        axes.annotate(number(median), (end, row), (4, 0), textcoords="offset points", va="center", color=INK)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.margins(x=0.12)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    plot.savefig(path, dpi=110)


def draw_accuracy(path: Path, lines: list[Figures], title: str) -> None:
    """Accuracy over seconds, each with its range, and the names beside the points."""
    from matplotlib.figure import Figure

    plot = Figure(figsize=(8, 4.2), layout="constrained")
    axes = plot.subplots()
    for row, line in enumerate(sorted(lines, key=lambda line: float(line["seconds"]["median"]))):
        x, y = line["seconds"], line["top1"]
        color = OURS if line["peer"].startswith("headstart") else OTHERS
        axes.plot([x["low"], x["high"]], [100 * y["median"]] * 2, color=color, linewidth=1)
        axes.plot([x["median"]] * 2, [100 * y["low"], 100 * y["high"]], color=color, linewidth=1)
        axes.plot(x["median"], 100 * y["median"], "o", color=color)
        point = (x["median"], 100 * y["median"])
        offset = 4 if row % 2 else -13  # alternately above and below, so that the names of neighbors do not overlap
        axes.annotate(line["peer"], point, (6, offset), textcoords="offset points", fontsize=9, color=INK)
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.set_xlabel("seconds from a cold start, the whole process")
    axes.set_ylabel("accuracy on the test split, %")
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    plot.savefig(path, dpi=110)


def draw_growth(path: Path, result: Figures) -> None:
    """Three panels over the size: the store, a fit, memory."""
    from matplotlib.figure import Figure

    plot = Figure(figsize=(11, 3.6), layout="constrained")
    store, fit, memory = plot.subplots(1, 3)
    rows, images = [[each[name] for each in result[part]] for part, name in (("store", "rows"), ("fit", "images"))]

    def column(part: str, name: str) -> list[Any]:
        return [each[name] for each in result[part]]

    names = {"look_up_all_s": "look up all", "take_all_s": "read all", "take_1000_s": "read 1,000", "prune_s": "prune"}
    for (name, label), style in zip(names.items(), ("-", "--", ":", "-."), strict=True):
        store.plot(rows, column("store", name), style, marker="o", color=OURS, label=label)
    store.set(xscale="log", yscale="log", xlabel="rows in the store", title="store, seconds")
    fit.plot(images, column("fit", "from_nothing_s"), "o-", color=OURS, label="store empty")
    fit.plot(images, column("fit", "store_warm_s"), "o--", color=OURS, label="store warm")
    fit.set(xlabel="images", title="fit, seconds", ylim=(0, None))
    memory.plot(rows, column("store", "peak_gb"), "o--", color=OURS, label="store, over rows")
    memory.plot(images, column("fit", "peak_gb"), "o-", color=OURS, label="fit, over images")
    memory.set(xscale="log", xlabel="rows or images", title="peak memory, GB", ylim=(0, None))
    for axes in (store, fit, memory):
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
    plot.savefig(path, dpi=110)
