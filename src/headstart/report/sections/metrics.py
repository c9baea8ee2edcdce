"""The metrics beside the accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from headstart.report.collect import ReportData

__all__ = ["Metrics"]

METRICS = {
    "top5": ("Top-5 accuracy", "the true class is among the five most probable"),
    "balanced_accuracy": ("Balanced accuracy", "mean recall: all classes count equally, however many images they have"),
    "macro_f1": ("Macro F1", "harmonic mean of precision and recall, averaged over classes"),
    "log_loss": ("Log loss", "nats; 0 is perfect, {uniform:.2f} is equal probabilities"),
    "brier": ("Brier score", "0 is perfect, 2 is certain and wrong"),
    "ece": ("Calibration error", "mean gap between confidence and accuracy"),
}
PERCENTAGES = ("top5", "balanced_accuracy", "ece")
GAUGES = ("top5", "balanced_accuracy", "macro_f1")


class Metrics:
    """All metrics with their intervals."""

    name = "metrics"
    title = "Metrics"
    template = """\
<ul class="metrics of-{{ metrics|length }}">
{% for metric in metrics %}
<li><h3>{{ metric.name }}</h3>
<p class="numeral">
{%- if metric.percentage %}{{ '%.1f' % (100 * metric.interval.value) }}<small> %</small>
{%- else %}{{ '%.3f' % metric.interval.value }}{% endif %}</p>
{% if metric.gauge %}{{ gauge(metric.interval) }}{% endif %}
<p class="quiet"><strong>
{%- if metric.percentage %}{{ metric.interval.low|percent }} to {{ metric.interval.high|percent }}
{%- else %}{{ '%.3f' % metric.interval.low }} to {{ '%.3f' % metric.interval.high }}{% endif -%}
</strong><br>{{ metric.text }}</p></li>
{% endfor %}
</ul>
<p class="quiet">All on the {{ evaluation.images|count }} {{ evaluation.split }} images. The ranges are 95&#8239;%
confidence intervals: the variation to expect from another sample of
{% if evaluation.groups is none -%}
images of the same kind. They take the images as independent of each other: with several photographs of the same thing,
they are too narrow (<code>--group-column</code>, <code>--group-pattern</code>).
{%- else -%}
such groups of images: there are {{ evaluation.groups|count }}.
{%- endif %}</p>
"""

    def compute(self, data: ReportData) -> Mapping[str, Any]:
        """Collect the metrics that the evaluation has."""
        evaluation = data.evaluation
        uniform = math.log(len(evaluation.classes))
        return {
            "metrics": [
                {
                    "name": name,
                    "text": text.format(uniform=uniform),
                    "interval": getattr(evaluation, key),
                    "percentage": key in PERCENTAGES,
                    "gauge": key in GAUGES,
                }
                for key, (name, text) in METRICS.items()
                if getattr(evaluation, key) is not None
            ]
        }
