"""Figures that count images: by the size of their set of classes, and by how strange they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart.report.svg import BAD, FONT_SIZE, GOOD, INK, LINE, MUTED, new_axes, new_figure, to_svg

__all__ = ["set_sizes", "strangeness"]

WIDTH, HEIGHT = 340, 190  # pixels
BOX = (8.0, 24.0, 324.0, 122.0)
BELOW: dict[str, Any] = {"color": MUTED, "fontsize": FONT_SIZE}


def set_sizes(rows: Sequence[dict[str, Any]]) -> str:
    """Images a set size: green where the set holds the true class, red where it does not."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(WIDTH, HEIGHT)
    axes = new_axes(figure, BOX, grid="")
    sizes = [row["size"] for row in rows]
    held = [row["covered"] for row in rows]
    missed = [row["images"] - row["covered"] for row in rows]
    axes.bar(sizes, held, width=0.8, color=GOOD, alpha=0.75)
    axes.bar(sizes, missed, bottom=held, width=0.8, color=BAD, alpha=0.75)
    few = max(sizes) <= 12
    if few:
        for row in rows:
            style: dict[str, Any] = {"color": INK, "fontsize": FONT_SIZE - 1, "ha": "center"}
            place = (row["size"], row["images"])
            axes.annotate(f"{row['images']:,}", place, xytext=(0, 4), textcoords="offset pixels", **style)
        axes.set_xticks(range(1, max(sizes) + 1))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.set(xlim=(0.4, max(*sizes, 4) + 0.6), yticks=[])
    axes.axhline(0, color=LINE, linewidth=1)
    axes.set_xlabel("classes in the set", **BELOW)
    return to_svg(figure, key="sizes", title="Images by the number of classes in their set")


def strangeness(bars: Sequence[dict[str, Any]], *, threshold: float) -> str:
    """Images by score, red above the threshold, which is the dashed line."""
    figure = new_figure(WIDTH, HEIGHT)
    axes = new_axes(figure, BOX, grid="")
    for bar in bars:
        low, high = bar["low"], bar["high"]
        colour = BAD if (low + high) / 2 > threshold else GOOD
        axes.bar(low, bar["images"], width=0.9 * (high - low), align="edge", color=colour, alpha=0.75)
    start, end = bars[0]["low"], max(bars[-1]["high"], threshold)
    margin = 0.03 * (end - start) or 1.0
    axes.set(xlim=(start - margin, end + margin), yticks=[])
    axes.axvline(threshold, color=INK, linewidth=1, dashes=(4, 3))
    label: dict[str, Any] = {"color": INK, "fontsize": FONT_SIZE - 1, "xycoords": ("data", "axes fraction")}
    right = threshold > (start + end) / 2
    place: dict[str, Any] = {"xytext": (-6 if right else 6, 4), "textcoords": "offset pixels"}
    axes.annotate("strange from here", (threshold, 1), ha="right" if right else "left", **place, **label)
    axes.axhline(0, color=LINE, linewidth=1)
    axes.set_xlabel("distance to the nearest class", **BELOW)
    return to_svg(figure, key="strangeness", title="Images by their distance to the nearest class")
