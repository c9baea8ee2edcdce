"""The SVG figures: their content, and that they change neither settings of matplotlib nor other threads."""

import math
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evaluate.schema import EpochRecord, HistogramBin, ReliabilityBin, SetSize
from headstart.report import svg
from headstart.report.history import one_trial
from headstart.report.sections.confusion_matrix import confused_block, confusion_figure, similarity_order
from headstart.report.sections.reliability import reliability_figure
from headstart.report.sections.training import curves
from headstart.report.sections.uncertainty import ood_score_figure, set_size_figure


class Texts(HTMLParser):
    """The texts and ids of an SVG."""

    def __init__(self, source):
        super().__init__()
        self.texts, self.ids, self.open = [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.ids += [value for key, value in attributes if key == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] == "text":
            self.texts.append(data)


def drawn(number=0):
    figure = svg.new_figure(200, 100)
    axes = svg.new_axes(figure, (20, 10, 160, 60))
    axes.plot([0, 1], [0, number + 1], "o-", color=svg.GOOD)
    axes.text(0, 0, svg.name_mark(0), color=svg.INK)
    return svg.to_svg(figure, key=f"key{number}", title="A <title>", names=["<종이 & 📄>"])


def test_an_svg_fits_into_a_page():
    source = drawn()
    assert source.startswith('<svg class="chart" viewBox="0 0 200 100" width="200" height="100" role="img">')
    assert "<title>A &lt;title&gt;</title>" in source
    assert "http" not in source
    assert not re.search(r"#[0-9a-f]{6}\b", source)  # all colors are variables of the page
    assert "DejaVu" not in source
    assert "font-size: 10px" in source
    assert "<종이 & 📄>" in Texts(source).texts
    assert set(re.findall(r"#([\w-]+)", source)) == set(Texts(source).ids) == {"key0-0", "key0-1"}


def test_drawing_changes_no_settings_and_is_deterministic():
    before = dict(mpl.rcParams)
    alone = [drawn(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(drawn, range(8))) == alone
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("name", "most", "expected"),
    [("cat", 3, "cat"), ("cats", 3, "ca…"), ("고양이", 6, "고양이"), ("고양이", 5, "고양…"), ("고양이", 4, "고…")],
)
def test_names_are_cut_by_columns(name, most, expected):
    assert svg.shortened(name, most=most) == expected


def line(stage, epoch, **values):
    missing = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), math.nan)
    return EpochRecord(stage, epoch, seconds=0.0, **(missing | values))


def test_curves_of_both_stages():
    history = [line("head", n, loss=n, val_loss=n, accuracy=n / 9, val_accuracy=n / 9, l2=10.0**-n) for n in (1, 2, 3)]
    history += [line("finetune", n, loss=n, val_loss=n, accuracy=n / 9, val_accuracy=n / 9) for n in (1, 2)]
    found = curves(history)
    assert [(curve.stage, curve.title, curve.axis) for curve in found] == [
        ("head", "Loss", "L2 penalty"),
        ("head", "Accuracy", "L2 penalty"),
        ("finetune", "Loss", "epoch"),
        ("finetune", "Accuracy", "epoch"),
    ]
    head, *_, tuned = [Texts(curve.svg).texts for curve in found]
    assert {"training", "validation", "1e-3", "0.01", "0.1"} <= set(head)
    assert {"training", "validation", "1", "2"} <= set(tuned)
    assert any(text.endswith(" %") for text in tuned)


def test_values_that_are_not_finite_are_left_out():
    history = [line("finetune", 1, loss=0.5, val_loss=math.inf), line("finetune", 2)]
    (curve,) = curves(history)
    assert curve.title == "Loss"
    texts = Texts(curve.svg).texts
    assert "training" in texts
    assert "validation" not in texts
    assert curves([]) == []
    assert curves([line("head", 1, loss=0.5, l2=0.0)]) == []  # 0 is not on a logarithmic axis


def test_curves_of_several_trials_are_not_joined():
    history = [line("head", n, loss=n, val_loss=n, l2=10.0**-n, trial="head") for n in (1, 2)]
    history += [line("finetune", n, loss=n, val_loss=n, trial="block") for n in (1, 2, 3)]
    history += [line("finetune", n, loss=n / 2, val_loss=n / 2, trial="all") for n in (1, 2)]
    assert [row.trial for row in one_trial(history, "block")] == ["head"] * 2 + ["block"] * 3
    assert [row.trial for row in one_trial(history, "head")] == ["head"] * 2 + ["all"] * 2  # the best
    assert [row.trial for row in one_trial(history)] == ["head"] * 2 + ["all"] * 2
    plain = [line("finetune", n, loss=n) for n in (1, 2)]
    assert one_trial(plain) == tuple(plain)
    assert [(curve.stage, curve.trial) for curve in curves(history)] == [("head", "head"), ("finetune", "all")]
    tuned = curves(history)[1]
    assert "3" not in Texts(tuned.svg).texts  # the third epoch is of another trial


def test_set_sizes_are_counted():
    rows = [SetSize(1, images=1200, covered=1100), SetSize(3, images=40, covered=40)]
    texts = Texts(set_size_figure(rows)).texts
    assert {"1,200", "40", "1", "2", "3", "classes in the set"} <= set(texts)
    many = [SetSize(size, images=5, covered=4) for size in range(1, 101)]
    assert "5" not in Texts(set_size_figure(many)).texts  # no room for counts


@pytest.mark.parametrize(("threshold", "red"), [(0.6, 2), (2.0, 1), (9.0, 0)])
def test_scores_above_the_threshold_are_red(threshold, red):
    bars = [HistogramBin(low, low + 1.0, images=3) for low in (0.0, 1.0, 2.0)]
    source = ood_score_figure(bars, threshold=threshold)
    assert source.count("fill: var(--bad)") == red
    assert "threshold" in Texts(source).texts


def test_labels_of_lines_that_end_together_do_not_overlap():
    history = [line("finetune", n, loss=1 / n, val_loss=1 / n) for n in (1, 2, 3)]
    (curve,) = curves(history)
    paths = re.findall(r'y="([\d.]+)"[^>]*>(?:training|validation)<', curve.svg)
    first, second = map(float, paths)
    assert abs(first - second) == pytest.approx(svg.FONT_SIZE + 4, abs=0.1)


matrices = st.integers(1, 12).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, 20), min_size=size, max_size=size), min_size=size, max_size=size)
)


@given(matrices)
@settings(deadline=None)
def test_the_similarity_order_is_a_permutation(rows):
    matrix = np.array(rows)
    assert sorted(similarity_order(matrix)) == list(range(len(matrix)))


def test_confused_classes_are_next_to_each_other():
    matrix = 10 * np.eye(6, dtype=int)
    for one, other in ((0, 5), (1, 3), (2, 4)):
        matrix[one, other] = matrix[other, one] = 8
    order = similarity_order(matrix)
    for one, other in ((0, 5), (1, 3), (2, 4)):
        assert abs(order.index(one) - order.index(other)) == 1


def test_the_block_has_the_pairs_that_are_confused_most():
    matrix = np.diag([50] * 6)
    matrix[3, 1], matrix[1, 3] = 4, 3  # 7 together
    matrix[0, 4] = 5
    matrix[5, [0, 1, 2, 3, 4]] = 2  # more errors than any other class, but no pair
    assert confused_block(matrix, most=2) == [1, 3]
    assert confused_block(matrix, most=3) == [1, 3, 5]  # no room for a pair
    assert confused_block(matrix, most=4) == [0, 1, 3, 4]
    assert confused_block(np.diag([5] * 3), most=2) == [0, 1]


def test_the_figure_has_all_names():
    matrix = np.array([[7, 0, 3], [1, 8, 0], [0, 0, 0]])
    texts = Texts(confusion_figure(matrix, ["<a>", "개", "c"], order=[0, 1, 2], key="all")).texts
    assert [texts.count(name) for name in ("<a>", "개", "c")] == [2, 2, 2]


def test_the_reliability_diagram_has_a_dot_per_bin():
    rows = [ReliabilityBin(0.6, 0.8, images=20, confidence=0.7, accuracy=0.5)] * 2
    source = reliability_figure(rows)
    assert source.count("<use") == 2
    assert {"0 %", "100 %", "confidence", "images"} <= set(Texts(source).texts)
