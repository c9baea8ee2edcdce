"""Example predictions: random images, and the most confident errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headstart.artifacts.run_folder import Predictions
from headstart.evaluate.schema import RunInfo
from headstart.report.collect import ReportData, most_confident_errors

__all__ = ["ExamplePredictions"]


class ExamplePredictions:
    """Images beside their most probable classes."""

    name = "predictions"
    title = "Example predictions"
    template = """\
{% macro prediction(item) %}
<article class="prediction">
<div class="looked">
{{ image(item.uri, item.true) }}
{% if item.saliency %}
<img src="{{ item.saliency }}" alt="the same, bright where it speaks for {{ item.predicted }}">
{% endif %}
</div>
<div>
<h4>{{ item.true|name }}{% if not item.correct %} <small>predicted as {{ item.predicted|name }}</small>{% endif %}</h4>
<ol>
{% for bar in item.bars %}
<li class="{{ bar.kind }}"><span title="{{ bar.name }}">{{ bar.name }}
{%- if bar.kind == 'true' %} <span class="hidden">(true)</span>{% endif %}</span>
<span class="bar" aria-hidden="true"><i style="width:{{ '%.1f' % (100 * bar.probability) }}%"></i></span>
<b>{{ bar.probability|percent }}</b></li>
{% endfor %}
</ol>
</div>
</article>
{% endmacro %}
<p>The five most probable classes of each image. <span class="key true">Green</span> is the true class,
<span class="key wrong">red</span> a wrong prediction.
{% if methods %}
The dimmed copy shows <b>where the network looked</b>: bright is what speaks for the predicted class
({{ methods|join(' or ') }}, a coarse grid).
{%- if refitted %} It is the finished classifier that looked, whose head may have been fitted to these images too.
{%- endif %}
{% else %}
Where the network looked is not shown: {{ reason }}.
{% endif %}</p>
<h3>Random images</h3>
<div class="predictions">
{% for item in random %}{{ prediction(item) }}{% endfor %}
</div>
{% if errors %}
<h3>Most confident errors</h3>
<p>Check these first: sometimes the label is wrong.</p>
<div class="predictions">
{% for item in errors %}{{ prediction(item) }}{% endfor %}
</div>
{% endif %}
"""

    def compute(self, data: ReportData) -> Mapping[str, Any]:
        """Find the most confident errors, and the most probable classes of all images to show."""
        predictions = data.predictions
        errors, saliency = most_confident_errors(predictions), data.run.saliency
        maps = {(each.uri, each.label): each.image for each in saliency}
        data.thumbnails.load(predictions.uris[row] for row in (*data.random, *errors))
        return {
            "random": [_prediction(predictions, row, maps) for row in data.random],
            "errors": [_prediction(predictions, row, maps) for row in errors],
            "methods": sorted({each.method for each in saliency}),
            "reason": _reason(data.run.info),
            "refitted": data.run.info.command == "fit" and data.evaluation.split != "test",
        }


def _reason(info: RunInfo) -> str:
    """Why there are no maps, where there are none."""
    if "saliency.parquet" not in info.files:
        return "the run was made by a version that did not compute it"
    return "this network has no map of its features, or is not at hand"


def _prediction(predictions: Predictions, row: int, maps: Mapping[tuple[str, str], str]) -> dict[str, object]:
    """Return an image with its five most probable classes, and the true class if it is not among them."""
    probabilities = predictions.probabilities[row]
    true, predicted = int(predictions.targets[row]), int(predictions.predicted[row])
    others = [number for number in np.argsort(-probabilities, kind="stable").tolist() if number != predicted]
    shown = [predicted, *others][:5]
    if true not in shown:
        shown.append(true)
    kinds = {predicted: "wrong", true: "true"}
    return {
        "uri": predictions.uris[row],
        "saliency": maps.get((predictions.uris[row], predictions.classes[predicted])),
        "true": predictions.classes[true],
        "predicted": predictions.classes[predicted],
        "correct": true == predicted,
        "bars": [
            {
                "name": predictions.classes[number],
                "probability": float(probabilities[number]),
                "kind": kinds.get(number, "other"),
            }
            for number in shown
        ],
    }
