"""Metrics per class: the worst classes with their errors, and a table of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.artifacts.run_folder import Predictions
from headstart.evaluate import ClassErrors, worst_classes
from headstart.evaluate.schema import ClassMetrics
from headstart.report.collect import ReportData

__all__ = ["ClassMetricsTable"]

MAX_WORST, MAX_ERRORS = 6, 4
MAX_ROWS, FIRST_ROWS = 30, 15  # with more classes than MAX_ROWS, FIRST_ROWS are shown, and all are folded in


class ClassMetricsTable:
    """Recall, precision and F1 of each class."""

    name = "classes"
    title = "Metrics per class"
    template = """\
{% macro table(rows, caption) %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ caption }}">
<table class="classes"><caption class="hidden">{{ caption }}</caption>
<thead><tr><th scope="col">Class</th><th scope="col">Images</th>
<th scope="col" class="wide">Recall, 95&#8239;% interval</th>
<th scope="col">Recall</th><th scope="col">Precision</th><th scope="col">F1</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row.name|name }}</th><td>{{ row.images|count }}</td>
{% if row.recall %}
<td class="wide"><span class="hidden">{{ row.recall.low|percent }} to {{ row.recall.high|percent }}</span>
{{ gauge(row.recall) }}</td><td>{{ row.recall.value|percent }}</td>
{% else %}
<td class="wide"></td><td>–</td>
{% endif %}
<td>{{ '–' if row.precision is none else row.precision|percent }}</td>
<td>{{ '–' if row.f1 is none else '%.3f' % row.f1 }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
{% if worst %}
<h3>Worst classes with their errors</h3>
<div class="scroll" tabindex="0" role="region" aria-label="Worst classes with their errors">
<table class="worst"><caption class="hidden">Worst classes with their errors</caption>
<thead><tr><th scope="col">Class</th><th scope="col">Recall</th><th scope="col">Predicted as</th>
<th scope="col">Most confident errors</th></tr></thead>
<tbody>
{% for row, uris in worst %}
<tr><th scope="row">{{ row.name|name }}</th><td><b>{{ row.recall.value|percent }}</b><br>
<small>{{ row.recall.low|percent }} to {{ row.recall.high|percent }} of
{{ row.images|count }} image{{ 's' if row.images > 1 }}</small></td>
<td>{% for name, images in row.confused_with %}{{ name|name }} <small>{{ images|count }}</small>
{%- if not loop.last %}<br>{% endif %}{% endfor %}</td>
<td><div class="errors">
{% for uri in uris %}{{ image(uri, row.name ~ ', wrong prediction') }}{% endfor %}</div></td></tr>
{% endfor %}
</tbody></table></div>
{% endif %}
<p>Lowest recall first. Recall: the share of the images of the class that are classified correctly. Precision: the share
of the images predicted as the class that belong to it.</p>
{% if rows|length > max_rows %}
{{ table(rows[:first_rows], "The " ~ first_rows ~ " classes with the lowest recall") }}
<details><summary>All {{ rows|length|count }} classes</summary>
{{ table(rows, "All classes") }}
</details>
{% else %}
{{ table(rows, "All classes") }}
{% endif %}
"""

    def compute(self, data: ReportData) -> Mapping[str, Any]:
        """Sort the classes and choose errors of the worst."""
        worst = [(row, class_errors(row, data.predictions)) for row in worst_classes(data.evaluation, most=MAX_WORST)]
        data.thumbnails.load(uri for _, uris in worst for uri in uris)
        rows = _by_recall(data.evaluation.per_class)
        return {"worst": worst, "rows": rows, "max_rows": MAX_ROWS, "first_rows": FIRST_ROWS}


def class_errors(row: ClassErrors, predictions: Predictions) -> list[str]:
    """Return the URIs of the most confident errors of a class."""
    true = predictions.classes.index(row.name)
    wrong = np.flatnonzero((predictions.targets == true) & (predictions.predicted != true))
    order = np.argsort(-predictions.probabilities[wrong].max(axis=1), kind="stable")
    return [predictions.uris[number] for number in wrong[order][:MAX_ERRORS]]


def _by_recall(per_class: Sequence[ClassMetrics]) -> list[ClassMetrics]:
    """Sort by recall, lowest first; classes without images last."""
    return sorted(per_class, key=lambda row: (row.recall is None, row.recall.value if row.recall else 0.0))
