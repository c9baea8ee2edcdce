"""Temperature scaling, prediction sets and out-of-distribution detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.evaluate.schema import HistogramBin, SetSize
from headstart.report.collect import ReportData
from headstart.report.svg import BAD, FONT_SIZE, GOOD, INK, LINE, MUTED, new_axes, new_figure, to_svg

__all__ = ["Uncertainty", "ood_score_figure", "set_size_figure"]

WIDTH, HEIGHT = 340, 190  # pixels
BOX = (8.0, 24.0, 324.0, 122.0)
X_LABEL: dict[str, Any] = {"color": MUTED, "fontsize": FONT_SIZE}
MAX_NUMBERED = 12  # largest set size for which bars have their counts


class Uncertainty:
    """What an evaluation has of the three."""

    name = "uncertainty"
    title = "Uncertainty"
    template = """\
{% macro scores(name, key, percentage) %}
<tr><th scope="row">{{ name }}</th>{% for each in (calibration.before, calibration.after) %}
<td>{% if percentage %}{{ each[key].value|percent }}<small>{{ each[key].low|percent }} to {{ each[key].high|percent }}
{%- else %}{{ '%.3f' % each[key].value }}<small>{{ '%.3f' % each[key].low }} to {{ '%.3f' % each[key].high }}
{%- endif %}</small></td>
{%- endfor %}</tr>
{% endmacro %}
{% macro fitted_on(metrics) %}
{% if metrics.cross_fitted %}Cross-fitted: each image is evaluated with what was fitted on other images.
{% else %}Fitted on the validation split, evaluated on these {{ evaluation.split }} images.{% endif %}
{% endmacro %}
<p>How far probabilities can be trusted, and what the classifier returns besides one class.</p>
<div class="uncertainty">
{% if calibration %}
<article>
<h3>Temperature scaling</h3>
<p class="claim">The network was {% if calibration.temperature > 1.02 %}overconfident
{%- elif calibration.temperature < 0.98 %}underconfident{% else %}well calibrated{% endif %}: its temperature is
{{ '%.2f' % calibration.temperature }}.</p>
<table class="before"><caption class="hidden">Before and after temperature scaling</caption>
<thead><tr><td></td><th scope="col">Before</th><th scope="col">After</th></tr></thead><tbody>
{{ scores('Log loss', 'log_loss', false) }}
{{ scores('Calibration error', 'ece', true) }}
</tbody></table>
<p class="quiet">A temperature above 1 lowers the confidence, one below 1 raises it; the order of the classes does not
change. {{ fitted_on(calibration) }}</p>
</article>
{% endif %}
{% if sets %}
<article>
<h3>Prediction sets</h3>
<p class="claim">Sets of {{ '%.2f' % sets.mean_size.value }} classes on average contain the true class of
{{ sets.covered.value|percent }} of the images; the target is {{ sets.coverage|percent(0) }}.</p>
<figure>{{ sets_svg|safe }}</figure>
<p class="quiet"><span class="key true">Green</span>: the set contains the true class. 95&#8239;% interval
<strong>{{ sets.covered.low|percent }} to {{ sets.covered.high|percent }}</strong>. This is the average over all images;
the class with the lowest coverage is <strong>{{ sets.least_covered.name|name }}</strong> with
{{ sets.least_covered.covered.value|percent }} of {{ sets.least_covered.images|count }}
image{{ 's' if sets.least_covered.images > 1 }} ({{ sets.least_covered.covered.low|percent }} to
{{ sets.least_covered.covered.high|percent }}). {{ fitted_on(sets) }}</p>
</article>
{% endif %}
{% if ood %}
<article>
<h3>Out-of-distribution detection</h3>
<p class="claim">{{ ood.flagged.value|percent }} of the images of the classes are flagged as out of distribution; the
target is {{ (1 - ood.inlier_rate)|percent(0) }}.</p>
<figure>{{ ood_svg|safe }}</figure>
<p class="quiet">95&#8239;% interval <strong>{{ ood.flagged.low|percent }} to {{ ood.flagged.high|percent }}</strong>.
An image is flagged if its distance to the nearest class is above {{ '%.3g' % ood.threshold }}. How many images of other
things are flagged is not measured here: images of another kind are detected reliably, images that resemble a class are
not.
{{ fitted_on(ood) }}</p>
</article>
{% endif %}
</div>
"""

    def compute(self, data: ReportData) -> Mapping[str, Any] | None:
        """Draw the figures."""
        calibration, sets = data.evaluation.calibration, data.evaluation.prediction_sets
        ood = data.evaluation.out_of_distribution
        if calibration is None and sets is None and ood is None:
            return None
        return {
            "calibration": calibration,
            "sets": sets,
            "sets_svg": sets and set_size_figure(sets.sizes),
            "ood": ood,
            "ood_svg": ood and ood_score_figure(ood.histogram, threshold=ood.threshold),
        }


def set_size_figure(rows: Sequence[SetSize]) -> str:
    """Draw the number of images per set size: green if the set contains the true class, red if it does not."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(WIDTH, HEIGHT)
    axes = new_axes(figure, BOX, grid="")
    sizes = [row.size for row in rows]
    covered = [row.covered for row in rows]
    axes.bar(sizes, covered, width=0.8, color=GOOD, alpha=0.75)
    axes.bar(sizes, [row.images - row.covered for row in rows], bottom=covered, width=0.8, color=BAD, alpha=0.75)
    if max(sizes) <= MAX_NUMBERED:
        style: dict[str, Any] = {"color": INK, "fontsize": FONT_SIZE - 1, "ha": "center"}
        for row in rows:
            place = (row.size, row.images)
            axes.annotate(f"{row.images:,}", place, xytext=(0, 4), textcoords="offset pixels", **style)
        axes.set_xticks(range(1, max(sizes) + 1))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.set(xlim=(0.4, max(*sizes, 4) + 0.6), yticks=[])
    axes.axhline(0, color=LINE, linewidth=1)
    axes.set_xlabel("classes in the set", **X_LABEL)
    return to_svg(figure, key="set-sizes", title="Images by the number of classes in their prediction set")


def ood_score_figure(bins: Sequence[HistogramBin], *, threshold: float) -> str:
    """Draw a histogram of scores: green below the threshold, which is a dashed line, and red above it."""
    figure = new_figure(WIDTH, HEIGHT)
    axes = new_axes(figure, BOX, grid="")
    for each in bins:
        color = BAD if (each.low + each.high) / 2 > threshold else GOOD
        axes.bar(each.low, each.images, width=0.9 * (each.high - each.low), align="edge", color=color, alpha=0.75)
    start, end = bins[0].low, max(bins[-1].high, threshold)
    margin = 0.03 * (end - start) or 1.0
    axes.set(xlim=(start - margin, end + margin), yticks=[])
    axes.axvline(threshold, color=INK, linewidth=1, dashes=(4, 3))
    label: dict[str, Any] = {"color": INK, "fontsize": FONT_SIZE - 1, "xycoords": ("data", "axes fraction")}
    right = threshold > (start + end) / 2
    place: dict[str, Any] = {"xytext": (-6 if right else 6, 4), "textcoords": "offset pixels"}
    axes.annotate("threshold", (threshold, 1), ha="right" if right else "left", **place, **label)
    axes.axhline(0, color=LINE, linewidth=1)
    axes.set_xlabel("distance to the nearest class", **X_LABEL)
    return to_svg(figure, key="ood-scores", title="Images by their distance to the nearest class")
