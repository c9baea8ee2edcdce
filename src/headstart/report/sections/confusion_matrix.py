"""The confusion matrix as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.report.collect import ReportData
from headstart.report.svg import (
    BAD,
    FONT_SIZE,
    GOOD,
    INK,
    MUTED,
    name_mark,
    name_width,
    new_axes,
    new_figure,
    shortened,
    to_svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ConfusionMatrix", "confusion_figure", "most_errors", "similarity_order"]

Counts = NDArray[np.int64]
MAX_IN_CLASS_ORDER = 12  # classes; more are sorted by similarity
MAX_NUMBERED = 40  # classes whose counts fit in the cells
MAX_NAMED = 150
MOST_ERRORS = 24  # classes of the additional matrix with counts, if there are more than fit with them
MIN_MARK = 2.5  # pixels of an error, so that it is visible among a thousand classes


class ConfusionMatrix:
    """The whole matrix. If its counts would not fit, there is a second one, of the classes with the most errors."""

    name = "confusion-matrix"
    title = "Confusion matrix"
    template = """\
<p>Rows are true classes, columns are predicted classes. <span class="key true">Green</span> is correct,
<span class="key wrong">red</span> is wrong; the stronger the color, the larger the share of the row.
{%- if sorted %} Classes that are confused with each other are next to each other.{% endif %}</p>
{% for matrix in matrices %}
{% if matrix.title %}<h3>{{ matrix.title }}</h3>{% endif %}
{% if matrix.text %}<p class="quiet">{{ matrix.text }}</p>{% endif %}
<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix">{{ matrix.svg|safe }}</div>
{% endfor %}
"""

    def compute(self, data: ReportData) -> Mapping[str, Any]:
        """Sort the classes and draw the figures."""
        classes = data.evaluation.classes
        counts = np.array(data.evaluation.confusion_matrix, dtype=np.int64)
        by_similarity = len(classes) > MAX_IN_CLASS_ORDER
        order = similarity_order(counts) if by_similarity else list(range(len(classes)))
        matrices = [{"title": "", "text": "", "svg": confusion_figure(counts, classes, order=order, key="all")}]
        if len(classes) > MAX_NUMBERED:
            shown = set(most_errors(counts, most=MOST_ERRORS))
            closer = {
                "title": f"The {MOST_ERRORS} classes with the most errors",
                "text": "Only confusions among these classes; the whole matrix follows.",
                "svg": confusion_figure(
                    counts, classes, order=[number for number in order if number in shown], key="most-errors"
                ),
            }
            matrices = [closer, matrices[0] | {"title": "All classes"}]
        return {"matrices": matrices, "sorted": by_similarity}


def similarity_order(matrix: Counts) -> list[int]:
    """Return an order of the classes ``(C, C)`` in which those confused with each other are next to each other."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(matrix) < 3:
        return list(range(len(matrix)))
    shares = _row_shares(matrix)
    distances = 1 - np.minimum(1, shares + shares.T)
    np.fill_diagonal(distances, 0)
    # The optimal order takes C² log C steps in Python: seconds for several hundred classes.
    tree = linkage(squareform(distances, checks=False), "average", optimal_ordering=len(matrix) <= 150)
    return leaves_list(tree).tolist()  # type: ignore[no-any-return]


def most_errors(matrix: Counts, *, most: int) -> list[int]:
    """Return the classes that are involved in the most errors, in class order."""
    errors = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-(errors.sum(axis=0) + errors.sum(axis=1)), kind="stable")
    return sorted(order[:most].tolist())


def confusion_figure(matrix: Counts, names: Sequence[str], *, order: Sequence[int], key: str) -> str:
    """Draw counts ``(C, C)`` of the classes in ``order``: green correct, red wrong, stronger for a larger row share.

    Up to 40 classes have counts in the cells; up to 150 have names at the sides.
    """
    size = len(order)
    shown = [shortened(names[number], most=24) for number in order]
    cell = float(np.clip(600 / size, 26, 88)) if size <= MAX_NUMBERED else max(900 / size, 1.0)  # pixels
    font = min(FONT_SIZE, cell - 1) if size <= MAX_NAMED else 0.0
    edge = max(70.0, *(name_width(name, size=font) + 12 for name in shown))
    figure = new_figure(edge + cell * size + 2, edge + cell * size + 2)
    axes = new_axes(figure, (edge, edge, cell * size, cell * size), grid="")
    axes.set(xlim=(0, size), ylim=(size, 0), xticks=[], yticks=[])
    _cells(axes, _row_shares(matrix)[np.ix_(order, order)], mark=max(MIN_MARK, cell - 1) / cell)
    if size <= MAX_NUMBERED:
        _counts(axes, matrix[np.ix_(order, order)], size=min(FONT_SIZE, cell / 2.2))
    if font:
        _names(axes, size, font=font)
    for text, above in (("predicted →", 22), ("true ↓", 6)):
        style: dict[str, Any] = {"color": MUTED, "fontsize": FONT_SIZE - 1, "textcoords": "offset pixels"}
        axes.annotate(text, (0, 0), xytext=(-7, above), ha="right", **style)
    return to_svg(figure, key=key, title=f"Confusion matrix of {size} classes", names=shown)


def _row_shares(matrix: Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return shares


def _cells(axes: Axes, shares: NDArray[np.float64], *, mark: float) -> None:
    """Draw one path for all cells of about the same share, so that 1,000 classes take some hundred kilobytes."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    diagonal = np.eye(len(shares), dtype=bool)
    strength = np.where(diagonal, 0.08 + 0.5 * shares, 0.12 + 0.65 * np.sqrt(shares))
    level = np.where((shares > 0) | diagonal, np.ceil(strength * 20), 0).astype(int)
    for mask, color in ((diagonal, GOOD), (~diagonal, BAD)):
        for step in np.unique(level[mask & (level > 0)]).tolist():
            rows, columns = np.nonzero(mask & (level == step))
            corners = mark * np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
            vertices = np.stack([columns, rows], axis=1)[:, None, :] + corners  # (cells, 5, 2)
            codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(rows)
            path = Path(vertices.reshape(-1, 2), codes)
            axes.add_patch(PathPatch(path, facecolor=color, alpha=step / 20, linewidth=0))


def _counts(axes: Axes, counts: Counts, *, size: float) -> None:
    for row, column in np.argwhere((counts > 0) | np.eye(len(counts), dtype=bool)).tolist():
        text = str(counts[row, column])
        axes.text(column + 0.49, row + 0.5, text, color=INK, fontsize=size, ha="center", va="center_baseline")


def _names(axes: Axes, size: int, *, font: float) -> None:
    for number in range(size):
        style: dict[str, Any] = {"color": INK, "fontsize": font, "textcoords": "offset pixels", "va": "center_baseline"}
        axes.annotate(name_mark(number), (0, number + 0.5), xytext=(-7, 0), ha="right", **style)
        turned: dict[str, Any] = {**style, "rotation": 90, "rotation_mode": "anchor"}
        axes.annotate(name_mark(number), (number + 0.5, 0), xytext=(0, 7), ha="left", **turned)
