"""The evaluation document: shapes, sums, and invalid input."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from headstart.documents import decode, encode
from headstart.errors import DataError
from headstart.evaluate import evaluate
from headstart.evaluate.schema import ClassMetrics, Evaluation

FIGURES = ("top1", "top5", "balanced_accuracy", "macro_f1", "log_loss", "brier", "ece")


def case(images, classes, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, images)
    probabilities = rng.dirichlet(np.ones(classes), images)
    probabilities[np.arange(images), targets] += 0.3
    return targets, (probabilities / 1.3).astype(np.float32), [f"class {number}" for number in range(classes)]


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_sums_and_bounds(images, classes, seed):
    found = evaluate(*case(images, classes, seed))
    matrix = np.array(found.confusion_matrix)
    assert decode(Evaluation, json.loads(json.dumps(encode(found), allow_nan=False)), "json") == found
    assert matrix.sum() == found.images == images
    assert matrix.trace() == round(found.top1.value * images)
    assert (found.top5 is not None) == (classes > 5)
    for name in FIGURES:
        interval = getattr(found, name)
        if interval is not None:
            assert 0 <= interval.low <= interval.value + 1e-12
            assert interval.value <= interval.high + 1e-12
    assert sum(pair.images for pair in found.confused_pairs) <= images - matrix.trace()
    assert sum(row.images for row in found.per_class) == images


def test_class_metrics_match_scikit_learn():
    targets, probabilities, names = case(300, 8)
    found = evaluate(targets, probabilities, names, split="test")
    precision, recall, f1, images = oracle.precision_recall_fscore_support(targets, probabilities.argmax(axis=1))
    rows = found.per_class
    assert [row.name for row in rows] == names
    assert [row.images for row in rows] == images.tolist()
    assert [row.precision for row in rows] == pytest.approx(precision)
    assert [row.recall.value for row in rows] == pytest.approx(recall)
    assert [row.f1 for row in rows] == pytest.approx(f1)
    assert found.top5.value == pytest.approx(oracle.top_k_accuracy_score(targets, probabilities, k=5))
    assert found.split == "test"


def test_metrics_of_a_class_without_images_are_none():
    found = evaluate([0, 0, 1], [[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.3, 0.7, 0.0]], ["a", "b", "c"])
    assert found.per_class[2] == ClassMetrics("c", images=0, precision=None, recall=None, f1=None)
    assert found.balanced_accuracy.value == pytest.approx(0.75)  # the mean of a and b


@pytest.mark.parametrize("predicted", [[0, 1, 2, 0], [1, 2, 0, 1]])
def test_intervals_have_a_width_if_all_images_are_equal(predicted):
    found = evaluate([0, 1, 2, 0], np.eye(3)[predicted], ["a", "b", "c"])
    for name in ("top1", "balanced_accuracy", "macro_f1"):
        interval = getattr(found, name)
        assert interval == found.top1
        assert interval.high - interval.low > 0.4


def test_confused_pairs_are_sorted_by_frequency():
    #            true: a a a a b b c c c        predicted: b b b c c c a a a
    targets = [0, 0, 0, 0, 1, 1, 2, 2, 2]
    probabilities = np.eye(3)[[1, 1, 1, 2, 2, 2, 0, 0, 0]]
    pairs = evaluate(targets, probabilities, ["a", "b", "c"]).confused_pairs
    assert [(pair.true, pair.predicted, pair.images, pair.share) for pair in pairs] == [
        ("c", "a", 3, 1.0),
        ("a", "b", 3, 0.75),
        ("b", "c", 2, 1.0),
        ("a", "c", 1, 0.25),
    ]


def test_at_most_20_pairs():
    targets = np.repeat(np.arange(6), 5)
    predicted = np.concatenate([np.delete(np.arange(6), number) for number in range(6)])
    assert len(evaluate(targets, np.eye(6)[predicted], list("abcdef")).confused_pairs) == 20


GOOD = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("targets", "probabilities", "classes", "text"),
    [
        (
            [0, 1],
            [0.1, 0.9],
            ["a", "b"],
            "probabilities must have the shape (images, 2), one column per class, got (2,). "
            "Pass the class names in the order of the columns.",
        ),
        (
            [0, 1],
            GOOD,
            ["a", "b", "c"],
            "probabilities must have the shape (images, 3), one column per class, got (2, 2). "
            "Pass the class names in the order of the columns.",
        ),
        ([0], GOOD, ["a", "b"], "targets must have the shape (2,), one per image, got (1,)."),
        (
            np.zeros(0, int),
            np.zeros((0, 2)),
            ["a", "b"],
            "targets is empty: there are no images to evaluate. Choose a split that has images.",
        ),
        ([0, 1], GOOD, ["a", "a"], "classes must be distinct; 'a' occurs 2 times."),
        ([0.0, 1.0], GOOD, ["a", "b"], "targets must be integer class indices, got float64."),
        ([0, 2], GOOD, ["a", "b"], "targets must be between 0 and 1; targets[1] is 2."),
        ([-1, 1], GOOD, ["a", "b"], "targets must be between 0 and 1; targets[0] is -1."),
        ([0, 1], np.array([[1, 0], [0, 1]]), ["a", "b"], "probabilities must be floats between 0 and 1, got int64."),
        (
            [0, 1],
            [[0.9, 0.1], [np.nan, 0.8]],
            ["a", "b"],
            "probabilities must be between 0 and 1; probabilities[1, 0] is nan. Apply a softmax to logits first.",
        ),
        (
            [0, 1],
            [[0.9, 0.1], [3.25, -1.5]],
            ["a", "b"],
            "probabilities must be between 0 and 1; probabilities[1, 0] is 3.25. Apply a softmax to logits first.",
        ),
        (
            [0, 1],
            [[0.9, 0.1], [0.5, 0.75]],
            ["a", "b"],
            "Each row of probabilities must sum to 1; row 1 sums to 1.25. "
            "Include all classes and normalize (softmax, not sigmoid).",
        ),
    ],
)
def test_invalid_input_is_refused(targets, probabilities, classes, text):
    with pytest.raises(DataError) as refusal:
        evaluate(targets, probabilities, classes)
    assert str(refusal.value) == text


def test_float16_probabilities_are_accepted():
    targets, probabilities, names = case(50, 120)
    rough = evaluate(targets, probabilities.astype(np.float16), names)
    assert rough.log_loss.value == pytest.approx(evaluate(targets, probabilities, names).log_loss.value, rel=1e-3)


def test_import_loads_no_heavy_packages():
    code = (
        "import sys, headstart.evaluate; print(sorted({'torch', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
