"""The most confused pairs of classes, with images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.artifacts.run_folder import Predictions
from headstart.evaluate.schema import ConfusedPair
from headstart.report.collect import ReportData

__all__ = ["ConfusedPairs"]

MAX_PAIRS, MAX_ERRORS = 8, 4


class ConfusedPairs:
    """For each pair, the errors between a correctly classified image of either class."""

    name = "confused-pairs"
    title = "Most confused classes"
    template = """\
{% macro clearest(uri, class) %}
{% if uri %}{{ image(uri, class) }}{% else %}<span class="missing"><span>no correct image</span></span>{% endif %}
{% endmacro %}
<p>Images of the first class that were predicted as the second, between the most confident correct image of each.</p>
<div class="pairs">
{% for pair in pairs %}
<article>
<h3>{{ pair.true|name }} <small>predicted as</small> {{ pair.predicted|name }}</h3>
<p class="quiet">{{ pair.images|count }} image{{ 's' if pair.images > 1 }}, {{ pair.share|percent }} of the class</p>
<div class="strip">
<figure class="true">{{ clearest(pair.clear_true, pair.true) }}<figcaption>{{ pair.true|name }}</figcaption></figure>
<div class="errors">
{% for uri in pair.errors %}{{ image(uri, pair.true ~ ' predicted as ' ~ pair.predicted) }}{% endfor %}</div>
<figure>{{ clearest(pair.clear_predicted, pair.predicted) }}<figcaption>{{ pair.predicted|name }}</figcaption></figure>
</div>
</article>
{% endfor %}
</div>
"""

    def compute(self, data: ReportData) -> Mapping[str, Any] | None:
        """Choose the images of each pair."""
        pairs = [confused_images(pair, data.predictions) for pair in data.evaluation.confused_pairs[:MAX_PAIRS]]
        if not pairs:
            return None
        data.thumbnails.load(
            uri for pair in pairs for uri in (pair.clear_true, pair.clear_predicted, *pair.errors) if uri
        )
        return {"pairs": pairs}


@dataclass(frozen=True)
class PairImages:
    """A pair with the URIs of its most confident errors and of the most confident correct image of each class."""

    true: str
    predicted: str
    images: int
    share: float
    clear_true: str | None
    clear_predicted: str | None
    errors: tuple[str, ...]


def confused_images(pair: ConfusedPair, predictions: Predictions) -> PairImages:
    """Choose the images that show a pair."""
    true, predicted = predictions.classes.index(pair.true), predictions.classes.index(pair.predicted)
    errors = np.flatnonzero((predictions.targets == true) & (predictions.predicted == predicted))
    order = np.argsort(-predictions.probabilities[errors, predicted], kind="stable")
    return PairImages(
        pair.true,
        pair.predicted,
        pair.images,
        pair.share,
        clear_true=_clearest(true, predictions),
        clear_predicted=_clearest(predicted, predictions),
        errors=tuple(predictions.uris[row] for row in errors[order][:MAX_ERRORS]),
    )


def _clearest(number: int, predictions: Predictions) -> str | None:
    correct = np.flatnonzero((predictions.targets == number) & (predictions.predicted == number))
    if not len(correct):
        return None
    return predictions.uris[int(correct[predictions.probabilities[correct, number].argmax()])]
