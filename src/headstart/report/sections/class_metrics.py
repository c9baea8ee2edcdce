"""Metrics per class: the worst classes with their errors, and a table of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.artifacts.run_folder import Predictions
from headstart.evaluate import ClassErrors, worst_classes
from headstart.evaluate.schema import ClassMetrics, Evaluation
from headstart.report.collect import ReportData

__all__ = ["ClassMetricsTable"]

MAX_WORST, MAX_ERRORS = 6, 4
MAX_ROWS = 30  # with more, the table scrolls and has a filter
MAX_PRINTED = 60  # rows, as the style sheet has it


class ClassMetricsTable:
    """Recall, precision and F1 of each class."""

    name = "classes"
    title = "Metrics per class"
    template = """\
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
<div class="tools" data-filters="class-metrics" hidden><label>Filter <input type="search" autocomplete="off"
placeholder="part of a name"></label> <span role="status"></span></div>
{% endif %}
<div class="scroll{{ ' tall' if rows|length > max_rows }}" tabindex="0" role="region" aria-label="All classes">
<table class="classes sortable" id="class-metrics"><caption class="hidden">All classes</caption>
<thead><tr><th scope="col">Class</th><th scope="col">Images</th>
<th scope="col" class="wide">Recall, 95&#8239;% interval</th>
<th scope="col" aria-sort="ascending">Recall</th><th scope="col">Precision</th><th scope="col">F1</th>
<th scope="col" class="error">Most frequent error</th></tr></thead>
<tbody>
{% for row, error in rows %}
<tr><th scope="row">{{ row.name|name }}</th><td data-value="{{ row.images }}">{{ row.images|count }}</td>
{% if row.recall %}
<td class="wide" data-value="{{ '%.4f' % row.recall.low }}">
<span class="hidden">{{ row.recall.low|percent }} to {{ row.recall.high|percent }}</span>
{{ gauge(row.recall) }}</td><td data-value="{{ '%.6f' % row.recall.value }}">{{ row.recall.value|percent }}</td>
{% else %}
<td class="wide" data-value="none"></td><td data-value="none">–</td>
{% endif %}
<td data-value="{{ 'none' if row.precision is none else '%.6f' % row.precision }}">
{{- '–' if row.precision is none else row.precision|percent }}</td>
<td data-value="{{ 'none' if row.f1 is none else '%.6f' % row.f1 }}">
{{- '–' if row.f1 is none else '%.3f' % row.f1 }}</td>
<td class="error" data-value="{{ error[1] if error else 'none' }}">
{%- if error %}{{ error[0]|name }} <small>{{ error[1]|count }}</small>{% endif %}</td></tr>
{% endfor %}
</tbody></table></div>
{% if rows|length > max_printed %}
<p class="printed quiet">The {{ max_printed }} classes with the lowest recall, or those first in the chosen order, are
printed; all are in classes.csv.</p>
{% endif %}
"""

    def compute(self, data: ReportData) -> Mapping[str, Any]:
        """Sort the classes and choose errors of the worst."""
        worst = [(row, class_errors(row, data.predictions)) for row in worst_classes(data.evaluation, most=MAX_WORST)]
        data.thumbnails.load(uri for _, uris in worst for uri in uris)
        errors = most_frequent_errors(data.evaluation)
        rows = [(row, errors[row.name]) for row in _by_recall(data.evaluation.per_class)]
        return {"worst": worst, "rows": rows, "max_rows": MAX_ROWS, "max_printed": MAX_PRINTED}


def class_errors(row: ClassErrors, predictions: Predictions) -> list[str]:
    """Return the URIs of the most confident errors of a class."""
    true = predictions.classes.index(row.name)
    wrong = np.flatnonzero((predictions.targets == true) & (predictions.predicted != true))
    order = np.argsort(-predictions.probabilities[wrong].max(axis=1), kind="stable")
    return [predictions.uris[number] for number in wrong[order][:MAX_ERRORS]]


def most_frequent_errors(evaluation: Evaluation) -> dict[str, tuple[str, int] | None]:
    """Return for each class the class that it is most often taken for, with the number of images; None: for no other.

    >>> from headstart.evaluate import evaluate
    >>> most_frequent_errors(evaluate([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], ["cat", "dog"]))
    {'cat': None, 'dog': ('cat', 1)}
    """
    errors = np.array(evaluation.confusion_matrix)
    np.fill_diagonal(errors, 0)
    most, names = errors.argmax(axis=1), evaluation.classes
    return {
        name: (names[other], int(errors[row, other])) if errors[row, other] else None
        for row, (name, other) in enumerate(zip(names, most.tolist(), strict=True))
    }


def _by_recall(per_class: Sequence[ClassMetrics]) -> list[ClassMetrics]:
    """Sort by recall, lowest first; classes without images last."""
    return sorted(per_class, key=lambda row: (row.recall is None, row.recall.value if row.recall else 0.0))
