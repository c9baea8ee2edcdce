"""The top of the page: the accuracy, the main facts and the notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.report.collect import ReportData

__all__ = ["Header"]


ACCURACY = {
    "test": "the accuracy of this classifier on all images of their kind",
    "validation": "the accuracy on all images of their kind, of what these training images give. Other training images "
    "or another seed are not part of it",
    "cross-validation": "the accuracy on all images of their kind, of heads that are solved with four fifths of these "
    "images. It is approximate, since those who judge an image also learn from the others",
    "train": "the accuracy on all images that it would be fitted to",
}


class Header:
    """Not a registered section: it stands above them, and its template makes its own heading."""

    name = "header"
    title = ""
    template = """\
<header>
<p class="eyebrow">{{ run.name }}{% if summary %} · {{ summary.model }}{% endif %}</p>
<div class="lead">
<div>
<h1><span class="numeral">{{ '%.1f' % (100 * evaluation.top1.value) }}<small> %</small></span>
<span class="claim">of {{ evaluation.images|count }} {{ evaluation.split }} images classified correctly</span></h1>
{{ gauge(evaluation.top1, majority) }}
<p class="quiet">95&#8239;% interval
<strong>{{ evaluation.top1.low|percent }} to {{ evaluation.top1.high|percent }}</strong> ·
always predicting the most frequent of {{ evaluation.classes|length|count }} classes:
{{ majority|percent }} (small tick)</p>
<p class="quiet meaning">{{ meaning }}</p>
</div>
<dl class="facts">
{% if summary %}
<div><dt>Model</dt><dd>{{ summary.model }}</dd></div>
{% if summary.train is not none %}
<div><dt>Trained</dt><dd>{{ summary.train }}{% if summary.parameters is not none and
summary.trainable_parameters is not none %}: {{ summary.trainable_parameters|count }} of
{{ summary.parameters|count }} parameters{% endif %}</dd></div>
{% endif %}
{% endif %}
<div><dt>Classes</dt><dd>{{ evaluation.classes|length|count }}</dd></div>
{% if summary %}
{% for split, images in summary.images|items if images %}
<div><dt>{{ 'Training' if split == 'train' else split|capitalize }} images</dt><dd>{{ images|count }}</dd></div>
{% endfor %}
{% endif %}
<div><dt>Created</dt><dd>{{ run.info.created|replace('T', ' ') }}</dd></div>
</dl>
</div>
{% for note in evaluation.notes %}
<p class="note">{{ note }}</p>
{% endfor %}
</header>
"""

    def compute(self, data: ReportData) -> Mapping[str, Any]:
        """Compute the accuracy of always predicting the most frequent class."""
        evaluation = data.evaluation
        largest = max(map(sum, evaluation.confusion_matrix))
        grouped = "" if evaluation.groups is None else f" in {evaluation.groups:,} groups"
        meaning = (
            f"These {evaluation.images:,} images{grouped} are a sample. Of 100 such samples, about 95 would give an "
            f"interval that contains {ACCURACY.get(evaluation.split, ACCURACY['test'])}."
        )
        return {"summary": evaluation.summary, "majority": largest / evaluation.images, "meaning": meaning}
