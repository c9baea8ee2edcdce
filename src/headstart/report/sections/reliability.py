"""The reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.evaluate.intervals import wilson
from headstart.evaluate.schema import ReliabilityBin
from headstart.report.collect import ReportData
from headstart.report.svg import FONT_SIZE, GOOD, LINE, MUTED, PAPER, new_axes, new_figure, to_svg

__all__ = ["Reliability", "reliability_figure"]


class Reliability:
    """Accuracy over confidence."""

    name = "reliability"
    title = "Reliability"
    template = """\
<p>Of the predictions with a confidence of 80&#8239;%, 80&#8239;% should be correct.</p>
<div class="reliability">
<figure>{{ svg|safe }}</figure>
<div>
<p class="claim">The mean confidence is {{ confidence|percent }}, the accuracy {{ accuracy|percent }}.</p>
<p class="quiet">A dot is a group of images with similar confidence: their accuracy, with its 95&#8239;% interval. On
the dashed line, confidence equals accuracy. Below it, the model is overconfident; above it, underconfident. The bars
show the number of images.</p>
</div>
</div>
"""

    def compute(self, data: ReportData) -> Mapping[str, Any]:
        """Draw the figure, and compute the means over all images."""
        bins = data.evaluation.reliability
        images = [each.images for each in bins]
        return {
            "svg": reliability_figure(bins),
            "confidence": float(np.average([each.confidence for each in bins], weights=images)),
            "accuracy": float(np.average([each.accuracy for each in bins], weights=images)),
        }


def reliability_figure(bins: Sequence[ReliabilityBin]) -> str:
    """Draw accuracy over confidence, one dot per bin with its 95 % interval, above the number of images per bin."""
    from matplotlib.ticker import FuncFormatter

    percent = FuncFormatter(lambda value, _: f"{100 * value:g} %")
    figure = new_figure(520, 500)
    above = new_axes(figure, (52, 12, 400, 380), grid="both")
    above.set(xlim=(0, 1), ylim=(0, 1))
    above.plot([0, 1], [0, 1], color=MUTED, linewidth=1, dashes=(4, 4))
    for row in bins:
        bounds = wilson(round(row.accuracy * row.images), row.images)
        x = row.confidence
        above.plot([x, x], [bounds.low, bounds.high], color=GOOD, linewidth=1.5, clip_on=False)
        style: dict[str, Any] = {"color": GOOD, "markeredgecolor": PAPER, "markeredgewidth": 1.5, "clip_on": False}
        above.plot([x], [row.accuracy], "o", markersize=9, **style)
    above.set_xticklabels([])
    above.yaxis.set_major_formatter(percent)
    below = new_axes(figure, (52, 408, 400, 56), grid="")
    below.set(xlim=(0, 1), yticks=[])
    for row in bins:
        width = row.high - row.low
        below.bar(row.low + width / 2, row.images, width=width * 0.86, color=MUTED, alpha=0.55)
    below.axhline(0, color=LINE, linewidth=1)
    below.xaxis.set_major_formatter(percent)
    text: dict[str, Any] = {"color": MUTED, "fontsize": FONT_SIZE}
    below.annotate("images", (1, 0), xycoords="axes fraction", xytext=(8, 4), textcoords="offset pixels", **text)
    below.set_xlabel("confidence", **text)
    return to_svg(figure, key="reliability", title="Reliability diagram: accuracy over confidence")
