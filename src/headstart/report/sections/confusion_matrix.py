"""The confusion matrix as a table whose cells open their images, and as a figure where there are many classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.artifacts.run_folder import Predictions
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

__all__ = ["ConfusionMatrix", "confused_block", "confusion_figure", "similarity_order"]

Counts = NDArray[np.int64]
MAX_IN_CLASS_ORDER = 12  # classes; more are sorted by similarity at first
MAX_CLASSES = 40  # of the table; of more, those that are confused most
BLOCK = 24  # classes of the table then
MAX_NAMED = 150  # classes of the figure; the names of more could not be read
MAX_IMAGES, MAX_IN_CELL = 120, 6


class ConfusionMatrix:
    """The matrix of all classes, or of those that are confused most with a figure of all."""

    name = "confusion-matrix"
    title = "Confusion matrix"
    template = """\
<p>Rows are true classes, columns are predicted classes. <span class="key true">Green</span> is correct,
<span class="key wrong">red</span> is wrong; the stronger the color, the larger the share of the row.
An underlined number opens its images.</p>
{% if hidden_classes %}
<h3>The {{ rows|length }} classes that are confused most with each other</h3>
<p class="quiet">{{ errors|count }} of all {{ all_errors|count }} errors are between these classes; the other
{{ hidden_classes|count }} classes {{ 'are in the figure below and in' if svg else 'are in' }} the
<a href="#classes">metrics per class</a>.</p>
{% endif %}
<div class="tools" data-sorts="confusion" hidden>Sort by
{% for key in orders %}
<button type="button" data-sort="{{ key }}" aria-pressed="{{ 'true' if loop.first else 'false' }}">{{ key }}</button>
{% endfor %}
</div>
<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix">
<table class="confusion" id="confusion" style="--cell:{{ side }}px"><caption class="hidden">Confusion matrix</caption>
<thead><tr><td><span>predicted →<br>true ↓</span></td>
{% for row in rows %}<th scope="col" title="{{ row.name }}"><span>{{ row.short }}</span></th>{% endfor %}
</tr></thead><tbody>
{% for row in rows %}
<tr data-ranks="{{ row.ranks|join(' ') }}"><th scope="row" title="{{ row.name }}">{{ row.short }}</th>
{%- for cell in row.cells %}
{% if cell is none %}<td></td>{% else %}
<td{% if cell.correct %} class="true"{% endif %} style="--strength:{{ cell.strength }}%">
{%- if cell.images %}<a href="#{{ cell.key }}" aria-label="{{ cell.label }}">{{ cell.count|count }}</a>
{%- else %}{{ cell.count|count }}{% endif %}</td>{% endif %}
{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% for cell in opened %}
<div class="cell" id="{{ cell.key }}" tabindex="-1" role="group" aria-label="{{ cell.label }}">
<h3>{{ cell.true|name }} <small>{{ 'classified correctly' if cell.correct else 'predicted as' }}</small>
{%- if not cell.correct %} {{ cell.predicted|name }}{% endif %}</h3>
<p class="quiet">{{ cell.count|count }} image{{ 's' if cell.count > 1 }}
{%- if cell.images|length < cell.count %}; the {{ cell.images|length }}
{{ 'least' if cell.correct else 'most' }} confident
{{ 'is' if cell.images|length == 1 else 'are' }} shown{% endif %}. <a href="#confusion">Back to the matrix</a></p>
<div class="sheet">{% for uri in cell.images %}{{ image(uri, cell.label) }}{% endfor %}</div>
</div>
{% endfor %}
{% if svg %}
<h3>All classes</h3>
<p class="quiet">Classes that are confused with each other are next to each other.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix of all classes">{{ svg|safe }}</div>
{% endif %}
"""

    def compute(self, data: ReportData) -> Mapping[str, Any]:
        """Choose and sort the classes, choose images, and draw the figure."""
        classes = data.evaluation.classes
        counts = np.array(data.evaluation.confusion_matrix, dtype=np.int64)
        many = len(classes) > MAX_CLASSES
        shown = confused_block(counts, most=BLOCK) if many else list(range(len(classes)))
        orders = _orders(counts, classes, shown)
        cells = _cells(counts, classes, shown, data.predictions)
        data.thumbnails.load(uri for cell in cells.values() for uri in cell.images)
        first = next(iter(orders.values()))
        ranks = {number: [order.index(number) for order in orders.values()] for number in shown}
        rows = [
            {
                "name": classes[number],
                "short": shortened(classes[number], most=24),
                "ranks": ranks[number],
                "cells": [cells.get((number, other)) for other in first],
            }
            for number in first
        ]
        named = MAX_CLASSES < len(classes) <= MAX_NAMED
        return {
            "rows": rows,
            "orders": list(orders),
            "side": int(np.clip(600 / len(shown), 26, 64)),
            "opened": [cell for cell in cells.values() if cell.images],
            "hidden_classes": len(classes) - len(shown),
            "errors": sum(cell.count for cell in cells.values() if not cell.correct),
            "all_errors": int(counts.sum() - counts.trace()),
            "svg": confusion_figure(counts, classes, order=similarity_order(counts), key="all") if named else "",
        }


@dataclass
class Cell:
    """A cell that is not empty, with the images that it opens."""

    key: str
    true: str
    predicted: str
    count: int
    strength: int  # of the color, in percent
    images: list[str]  # URIs

    @property
    def correct(self) -> bool:
        """Whether it is on the diagonal."""
        return self.true == self.predicted

    @property
    def label(self) -> str:
        """What a screen reader says."""
        what = "classified correctly" if self.correct else f"predicted as {self.predicted}"
        return f"{self.true} {what}: {self.count:,} image{'s' * (self.count != 1)}"


def _cells(
    counts: Counts, classes: Sequence[str], shown: Sequence[int], predictions: Predictions
) -> dict[tuple[int, int], Cell]:
    """All cells that are not empty, those with the most errors first, and the diagonal, also where it is 0."""
    places = [(true, other) for true in shown for other in shown if counts[true, other] or true == other]
    places.sort(key=lambda place: (place[0] == place[1], -int(counts[place])))
    strengths = _strengths(_row_shares(counts))
    cells = {
        (true, other): Cell(
            f"cell-{true}-{other}",
            classes[true],
            classes[other],
            int(counts[true, other]),
            round(100 * float(strengths[true, other])),
            [],
        )
        for true, other in places
    }
    waiting = {place: _images(predictions, *place) for place in places}
    room = MAX_IMAGES
    for turn in range(MAX_IN_CELL):  # the first image of every cell before any second one
        for place in places:
            if room and turn < len(waiting[place]):
                cells[place].images.append(waiting[place][turn])
                room -= 1
    return cells


def _images(predictions: Predictions, true: int, predicted: int) -> list[str]:
    """The images of a cell: the most confident errors, or what was least certain of the correct ones."""
    rows = np.flatnonzero((predictions.targets == true) & (predictions.predicted == predicted))
    confidence = predictions.probabilities[rows, predicted]
    order = np.argsort(confidence if true == predicted else -confidence, kind="stable")
    return [predictions.uris[row] for row in rows[order][:MAX_IN_CELL]]


def _orders(counts: Counts, classes: Sequence[str], shown: Sequence[int]) -> dict[str, list[int]]:
    """The orders to choose from, the one at first in front."""
    by_name = sorted(shown, key=lambda number: _natural(classes[number]))
    similar = [shown[place] for place in similarity_order(counts[np.ix_(shown, shown)])]
    support = counts.sum(axis=1)
    orders = {"name": by_name, "images": sorted(shown, key=lambda number: -support[number]), "similarity": similar}
    if list(shown) != by_name:
        orders = {"class order": list(shown), **orders}
    return orders if len(shown) <= MAX_IN_CLASS_ORDER else {"similarity": similar, **orders}


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which "class 2" comes before "class 10"."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def similarity_order(matrix: Counts) -> list[int]:
    """Return an order of the classes ``(C, C)`` in which those confused with each other are next to each other."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(matrix) < 3:
        return list(range(len(matrix)))
    shares = _row_shares(matrix)
    distances = 1 - np.minimum(1, shares + shares.T)
    np.fill_diagonal(distances, 0)
    return leaves_list(linkage(squareform(distances, checks=False), "average", optimal_ordering=True)).tolist()  # type: ignore[no-any-return]


def confused_block(matrix: Counts, *, most: int) -> list[int]:
    """Return ``most`` classes, in class order: those of the most confused pairs, in either direction."""
    errors = matrix - np.diag(matrix.diagonal())
    pairs = np.triu(errors + errors.T)
    chosen: dict[int, None] = {}
    for pair in np.argsort(-pairs, axis=None, kind="stable")[: most * most].tolist():
        both = dict.fromkeys(divmod(pair, len(matrix)))
        if len(chosen | both) > most or not pairs.flat[pair]:
            break
        chosen |= both
    rest = np.argsort(-(errors.sum(axis=0) + errors.sum(axis=1)), kind="stable").tolist()
    return sorted(list(dict.fromkeys([*chosen, *rest]))[:most])


def confusion_figure(matrix: Counts, names: Sequence[str], *, order: Sequence[int], key: str) -> str:
    """Draw counts ``(C, C)`` of the classes in ``order``: green correct, red wrong, stronger for a larger row share."""
    size = len(order)
    shown = [shortened(names[number], most=24) for number in order]
    cell = 900 / size  # pixels
    font = min(FONT_SIZE, cell - 1)
    edge = max(70.0, *(name_width(name, size=font) + 12 for name in shown))
    figure = new_figure(edge + cell * size + 2, edge + cell * size + 2)
    axes = new_axes(figure, (edge, edge, cell * size, cell * size), grid="")
    axes.set(xlim=(0, size), ylim=(size, 0), xticks=[], yticks=[])
    _paths(axes, _row_shares(matrix)[np.ix_(order, order)], mark=(cell - 1) / cell)
    _names(axes, size, font=font)
    for text, above in (("predicted →", 22), ("true ↓", 6)):
        style: dict[str, Any] = {"color": MUTED, "fontsize": FONT_SIZE - 1, "textcoords": "offset pixels"}
        axes.annotate(text, (0, 0), xytext=(-7, above), ha="right", **style)
    return to_svg(figure, key=key, title=f"Confusion matrix of {size} classes", names=shown)


def _row_shares(matrix: Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return shares


def _strengths(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """How strong the color of each cell is, from 0 to 1; single errors can still be seen."""
    diagonal = np.eye(len(shares), dtype=bool)
    strengths: NDArray[np.float64] = np.where(diagonal, 0.08 + 0.5 * shares, 0.12 + 0.65 * np.sqrt(shares))
    return strengths


def _paths(axes: Axes, shares: NDArray[np.float64], *, mark: float) -> None:
    """Draw one path for all cells of about the same strength, so that many classes are a small file."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    diagonal = np.eye(len(shares), dtype=bool)
    level = np.where((shares > 0) | diagonal, np.ceil(_strengths(shares) * 20), 0).astype(int)
    for mask, color in ((diagonal, GOOD), (~diagonal, BAD)):
        for step in np.unique(level[mask & (level > 0)]).tolist():
            rows, columns = np.nonzero(mask & (level == step))
            corners = mark * np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
            vertices = np.stack([columns, rows], axis=1)[:, None, :] + corners  # (cells, 5, 2)
            codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(rows)
            path = Path(vertices.reshape(-1, 2), codes)
            axes.add_patch(PathPatch(path, facecolor=color, alpha=step / 20, linewidth=0))


def _names(axes: Axes, size: int, *, font: float) -> None:
    for number in range(size):
        style: dict[str, Any] = {"color": INK, "fontsize": font, "textcoords": "offset pixels", "va": "center_baseline"}
        axes.annotate(name_mark(number), (0, number + 0.5), xytext=(-7, 0), ha="right", **style)
        turned: dict[str, Any] = {**style, "rotation": 90, "rotation_mode": "anchor"}
        axes.annotate(name_mark(number), (number + 0.5, 0), xytext=(0, 7), ha="left", **turned)
