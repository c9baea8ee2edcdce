"""The page's figures: learning curves, confusion, reliability. Each returns an ``<svg>`` element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.evaluate.intervals import wilson
from headstart.report.svg import (
    BAD,
    FONT_SIZE,
    GOOD,
    INK,
    LINE,
    MUTED,
    PAPER,
    name_mark,
    name_width,
    new_axes,
    new_figure,
    shortened,
    to_svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Curve", "confusion", "curves", "hardest", "one_rung", "reliability", "similarity_order"]

Counts = NDArray[np.int64]
STAGES = {"head": ("l2", "L2 strength"), "tail": ("epoch", "epoch")}
MEASURES = {"loss": "Loss", "accuracy": "Accuracy"}
CURVE_HEIGHT = 232  # pixels
MOST_NUMBERED = 40  # classes whose numbers fit in the cells
MOST_NAMED = 150
LEAST_MARK = 2.5  # pixels of a mistake, so that it is seen among a thousand classes


@dataclass(frozen=True)
class Curve:
    """One figure of the learning history."""

    stage: str
    title: str
    axis: str
    svg: str
    rung: str | None = None  # of the ladder, where the history tells of several


def one_rung(history: Sequence[dict[str, Any]], chosen: str | None = None) -> list[dict[str, Any]]:
    """Of each stage the lines of one rung of the ladder, since lines of two are no curve.

    It is the ``chosen`` one where that has lines of the stage, else the one with the lowest validation loss. Lines
    without a rung belong together.
    """
    kept = []
    for stage in STAGES:
        rungs: dict[Any, list[dict[str, Any]]] = {}
        for row in history:
            if row["stage"] == stage:
                rungs.setdefault(row.get("rung"), []).append(row)
        if rungs:
            kept += rungs[
                chosen
                if chosen is not None and chosen in rungs
                else min(rungs, key=lambda rung: _best_loss(rungs[rung]))
            ]
    return kept


def _best_loss(rows: Sequence[dict[str, Any]]) -> float:
    return min((row["val_loss"] for row in rows if _finite(row.get("val_loss"))), default=math.inf)


def curves(history: Sequence[dict[str, Any]]) -> list[Curve]:
    """Loss and accuracy of each stage that the history tells of; a stage or a measure that is not in it is left out.

    Of several rungs of the ladder in one stage, one is drawn: :func:`one_rung` chooses it.
    """
    history = one_rung(history)
    found = []
    for stage, (key, axis) in STAGES.items():
        rows = _of_the_chosen_start([row for row in history if row["stage"] == stage])
        for measure, title in MEASURES.items():
            points = {name: _points(rows, key, name) for name in (measure, f"val_{measure}")}
            if any(points.values()):
                chosen = [row for row in rows if row.get("chosen") and _finite(row.get(key))]
                svg = _curve(points, measure, stage=stage, chosen=chosen[-1][key] if chosen else None)
                found.append(Curve(stage, title, axis, svg, rows[0].get("rung")))
    return found


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _points(rows: Sequence[dict[str, Any]], key: str, name: str) -> list[tuple[float, float]]:
    """The finite points in the order of the axis; no strength of 0 on a logarithmic one."""
    both = [(row[key], row[name]) for row in rows if _finite(row.get(key)) and _finite(row.get(name))]
    return sorted((x, y) for x, y in both if key != "l2" or x > 0)


def _of_the_chosen_start(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The head may be solved from several origins; each is a curve of its own, and the chosen one is drawn."""
    start = next((row.get("start") for row in rows if row.get("chosen")), None)
    return [row for row in rows if start is None or row.get("start") == start]


def _curve(points: dict[str, list[tuple[float, float]]], measure: str, *, stage: str, chosen: float | None) -> str:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = new_figure(520, 280)
    axes = new_axes(figure, (52, 12, 380, CURVE_HEIGHT))
    for name, line in points.items():
        held_out = name.startswith("val_")
        _line(axes, line, colour=GOOD if held_out else MUTED, chosen=chosen if held_out else None)
    axes.margins(x=0.02, y=0.08)
    _stage_axis(axes, stage, {x for line in points.values() for x, _ in line})
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    text = (lambda y, _: f"{100 * y:.3g} %") if measure == "accuracy" else (lambda y, _: f"{y:.3g}")
    axes.yaxis.set_major_formatter(FuncFormatter(text))
    _end_labels(axes, points)
    return to_svg(figure, key=f"{stage}-{measure}", title=f"{MEASURES[measure]} by {STAGES[stage][1]}")


def _stage_axis(axes: Axes, stage: str, values: set[float]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    if stage == "head":
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        # matplotlib would write powers of ten in its own fonts.
        power = FuncFormatter(lambda x, _: f"{x:g}" if x >= 0.01 else f"{x:.0e}".replace("e-0", "e-"))
        axes.xaxis.set_major_formatter(power)
    elif len(values) > 8:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    else:
        axes.set_xticks(sorted(values), [f"{x:g}" for x in sorted(values)])


def _line(axes: Axes, line: list[tuple[float, float]], *, colour: str, chosen: float | None) -> None:
    marker = "o" if len(line) < 25 else ""
    xs, ys = [x for x, _ in line], [y for _, y in line]
    axes.plot(xs, ys, color=colour, linewidth=2, marker=marker, markersize=4)
    for x, y in line:
        if x == chosen:
            axes.plot([x], [y], "o", markersize=11, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.5)


def _end_labels(axes: Axes, points: dict[str, list[tuple[float, float]]]) -> None:
    """Name each line at its right end; where the ends meet the names are pushed apart."""
    ends = sorted((line[-1][1], name) for name, line in points.items() if line)
    low, high = axes.get_ylim()
    height = CURVE_HEIGHT / (high - low)  # pixels a unit
    apart = (ends[1][0] - ends[0][0]) * height if len(ends) == 2 else math.inf
    push = max(0.0, (FONT_SIZE + 4 - apart) / 2)
    for (y, name), way in zip(ends, (-1, 1), strict=False):
        held_out = name.startswith("val_")
        axes.annotate(
            "validation" if held_out else "training",
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(8, way * push),
            textcoords="offset pixels",
            color=GOOD if held_out else MUTED,
            fontsize=FONT_SIZE,
            va="center",
        )


def similarity_order(matrix: Counts) -> list[int]:
    """An order of the classes ``(C, C)`` in which those that are confused with each other stand together."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(matrix) < 3:
        return list(range(len(matrix)))
    shares = _row_shares(matrix)
    apart = 1 - np.minimum(1, shares + shares.T)
    np.fill_diagonal(apart, 0)
    # The optimal order takes C² log C steps of Python's time: seconds from some hundred classes on.
    tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=len(matrix) <= 150)
    return leaves_list(tree).tolist()  # type: ignore[no-any-return]


def hardest(matrix: Counts, *, most: int) -> list[int]:
    """The classes that take part in the most mistakes, in class order."""
    mistakes = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-(mistakes.sum(axis=0) + mistakes.sum(axis=1)), kind="stable")
    return sorted(order[:most].tolist())


def _row_shares(matrix: Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return shares


def confusion(matrix: Counts, names: Sequence[str], *, order: Sequence[int], key: str) -> str:
    """Counts ``(C, C)`` of the classes in ``order``: green right, red wrong, stronger for a larger share of its row.

    Up to 40 classes have their numbers in the cells; up to 150 have their names at the side.
    """
    size = len(order)
    shown = [shortened(names[number], most=24) for number in order]
    cell = float(np.clip(600 / size, 26, 88)) if size <= MOST_NUMBERED else max(900 / size, 1.0)  # pixels
    font = min(FONT_SIZE, cell - 1) if size <= MOST_NAMED else 0.0
    edge = max(70.0, *(name_width(name, size=font) + 12 for name in shown))
    figure = new_figure(edge + cell * size + 2, edge + cell * size + 2)
    axes = new_axes(figure, (edge, edge, cell * size, cell * size), grid="")
    axes.set(xlim=(0, size), ylim=(size, 0), xticks=[], yticks=[])
    _cells(axes, _row_shares(matrix)[np.ix_(order, order)], mark=max(LEAST_MARK, cell - 1) / cell)
    if size <= MOST_NUMBERED:
        _numbers(axes, matrix[np.ix_(order, order)], size=min(FONT_SIZE, cell / 2.2))
    if font:
        _names(axes, size, font=font)
    for text, above in (("predicted →", 22), ("true ↓", 6)):
        style: dict[str, Any] = {"color": MUTED, "fontsize": FONT_SIZE - 1, "textcoords": "offset pixels"}
        axes.annotate(text, (0, 0), xytext=(-7, above), ha="right", **style)
    return to_svg(figure, key=key, title=f"Confusion matrix of {size} classes", names=shown)


def _cells(axes: Axes, shares: NDArray[np.float64], *, mark: float) -> None:
    """One path for all cells of about the same share: a thousand classes stay a page of some hundred kilobytes."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    right = np.eye(len(shares), dtype=bool)
    strength = np.where(right, 0.08 + 0.5 * shares, 0.12 + 0.65 * np.sqrt(shares))
    level = np.where((shares > 0) | right, np.ceil(strength * 20), 0).astype(int)
    for which, colour in ((right, GOOD), (~right, BAD)):
        for step in np.unique(level[which & (level > 0)]).tolist():
            rows, columns = np.nonzero(which & (level == step))
            corners = mark * np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
            vertices = np.stack([columns, rows], axis=1)[:, None, :] + corners  # (cells, 5, 2)
            codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(rows)
            path = Path(vertices.reshape(-1, 2), codes)
            axes.add_patch(PathPatch(path, facecolor=colour, alpha=step / 20, linewidth=0))


def _numbers(axes: Axes, counts: Counts, *, size: float) -> None:
    for row, column in np.argwhere((counts > 0) | np.eye(len(counts), dtype=bool)).tolist():
        text = str(counts[row, column])
        axes.text(column + 0.49, row + 0.5, text, color=INK, fontsize=size, ha="center", va="center_baseline")


def _names(axes: Axes, size: int, *, font: float) -> None:
    for number in range(size):
        style: dict[str, Any] = {"color": INK, "fontsize": font, "textcoords": "offset pixels", "va": "center_baseline"}
        axes.annotate(name_mark(number), (0, number + 0.5), xytext=(-7, 0), ha="right", **style)
        turned: dict[str, Any] = {**style, "rotation": 90, "rotation_mode": "anchor"}
        axes.annotate(name_mark(number), (number + 0.5, 0), xytext=(0, 7), ha="left", **turned)


def reliability(bins: Sequence[dict[str, Any]]) -> str:
    """Accuracy over confidence, a dot a bin with its 95 % interval, above how many images each bin holds."""
    from matplotlib.ticker import FuncFormatter

    percent = FuncFormatter(lambda value, _: f"{100 * value:g} %")
    figure = new_figure(520, 500)
    above = new_axes(figure, (52, 12, 400, 380), grid="both")
    above.set(xlim=(0, 1), ylim=(0, 1))
    above.plot([0, 1], [0, 1], color=MUTED, linewidth=1, dashes=(4, 4))
    for row in bins:
        bounds = wilson(round(row["accuracy"] * row["images"]), row["images"])
        x = row["confidence"]
        above.plot([x, x], [bounds["low"], bounds["high"]], color=GOOD, linewidth=1.5, clip_on=False)
        style: dict[str, Any] = {"color": GOOD, "markeredgecolor": PAPER, "markeredgewidth": 1.5, "clip_on": False}
        above.plot([x], [row["accuracy"]], "o", markersize=9, **style)
    above.set_xticklabels([])
    above.yaxis.set_major_formatter(percent)
    below = new_axes(figure, (52, 408, 400, 56), grid="")
    below.set(xlim=(0, 1), yticks=[])
    for row in bins:
        wide = row["high"] - row["low"]
        below.bar(row["low"] + wide / 2, row["images"], width=wide * 0.86, color=MUTED, alpha=0.55)
    below.axhline(0, color=LINE, linewidth=1)
    below.xaxis.set_major_formatter(percent)
    text: dict[str, Any] = {"color": MUTED, "fontsize": FONT_SIZE}
    below.annotate("images", (1, 0), xycoords="axes fraction", xytext=(8, 4), textcoords="offset pixels", **text)
    below.set_xlabel("confidence", **text)
    return to_svg(figure, key="reliability", title="Reliability diagram: accuracy over confidence")
