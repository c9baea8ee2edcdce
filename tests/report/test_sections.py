"""The registry of sections, and which images the built-in ones choose."""

import numpy as np
import pytest

from headstart.artifacts.run_folder import Predictions
from headstart.evaluate.per_class import ClassErrors
from headstart.evaluate.schema import ConfusedPair, Interval
from headstart.report import register_section, write_report
from headstart.report.sections import base, registered_sections
from headstart.report.sections.class_metrics import class_errors
from headstart.report.sections.confused_pairs import confused_images
from headstart.report.sections.predictions import most_confident_errors

BUILT_IN = [
    *("metrics", "samples", "predictions", "confused-pairs", "confusion-matrix", "classes"),
    *("reliability", "uncertainty", "usage", "training", "skipped-images", "provenance"),
]


class Widths:
    """A section as somebody else would add it."""

    name = "widths"
    title = "Widths & more"
    template = "<p>{{ images|count }} <b>{{ text }}</b> {{ evaluation.split }} {{ run.name }}</p>{{ image(uri, 'x') }}"

    def compute(self, data):
        return {"images": 1000 * len(data.usable), "text": "<images>", "uri": data.usable.uris[0]}


class Nothing(Widths):
    name = "nothing"

    def compute(self, data):  # noqa: ARG002
        return None


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(base, "_SECTIONS", list(base._SECTIONS))
    return lambda: [section.name for section in registered_sections()]


def test_sections_are_added_where_they_are_asked_for(registry):
    assert registry() == BUILT_IN
    register_section(Widths())
    assert registry() == [*BUILT_IN, "widths"]
    register_section(Widths(), before="metrics")
    assert registry() == ["widths", *BUILT_IN]
    replacement = Widths()
    register_section(replacement)
    assert registry() == ["widths", *BUILT_IN]
    assert registered_sections()[0] is replacement
    register_section(Widths(), after="metrics")
    assert registry() == ["metrics", "widths", *BUILT_IN[1:]]


@pytest.mark.parametrize(
    ("places", "text"),
    [
        ({"before": "metrics", "after": "samples"}, "give before or after, not both"),
        ({"after": "sample"}, "no other section is named 'sample'; there are metrics, samples, "),
        ({"before": "widths"}, "no other section is named 'widths'; there are metrics, samples, "),
    ],
)
def test_places_that_do_not_exist_are_refused(registry, places, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        register_section(Widths(), **places)
    assert registry() == BUILT_IN


def test_a_new_section_is_on_the_page(registry, make_run):
    register_section(Widths(), after="metrics")
    register_section(Nothing())
    page = write_report(make_run(["cat", "dog"])).read_text(encoding="utf-8")
    start = page.index('<section aria-labelledby="widths"><h2 id="widths">Widths &amp; more</h2>')
    assert page.index('id="metrics"') < start < page.index('id="samples"')
    assert "<p>12,000 <b>&lt;images&gt;</b> validation run</p>" in page[start:]
    assert 'alt="x" title="000.jpg"' in page[start : page.index('id="samples"')]
    assert "nothing" not in page


PREDICTIONS = Predictions(
    uris=("a0", "a1", "a2", "a3", "b0"),
    targets=np.array([0, 0, 0, 0, 1]),
    #                      correct      correct     wrong       wrong       wrong
    probabilities=np.array([[0.7, 0.3], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.9, 0.1]]),
    classes=("a", "b"),
)


def test_a_pair_has_the_clearest_images_and_the_most_confident_errors():
    one = confused_images(ConfusedPair("a", "b", images=2, share=0.5), PREDICTIONS)
    other = confused_images(ConfusedPair("b", "a", images=1, share=1.0), PREDICTIONS)
    assert (one.clear_true, one.clear_predicted, one.errors) == ("a1", None, ("a3", "a2"))
    assert (other.clear_true, other.clear_predicted, other.errors) == (None, "a1", ("b0",))


def test_errors_are_sorted_by_confidence():
    assert most_confident_errors(PREDICTIONS, most=6) == [4, 3, 2]
    assert most_confident_errors(PREDICTIONS, most=2) == [4, 3]


def test_errors_of_a_class_are_sorted_by_confidence():
    row = ClassErrors("a", images=4, recall=Interval(0.5, 0.2, 0.8), confused_with=(("b", 2),))
    assert class_errors(row, PREDICTIONS) == ["a3", "a2"]
