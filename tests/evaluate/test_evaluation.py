"""The whole document: its shape, its sums, and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from headstart.errors import DataError
from headstart.evaluate import evaluate

FIGURES = ("top1", "top5", "balanced_accuracy", "macro_f1", "log_loss", "brier", "ece")


def case(images, classes, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, images)
    shares = rng.dirichlet(np.ones(classes), images)
    shares[np.arange(images), targets] += 0.3
    return targets, (shares / 1.3).astype(np.float32), [f"class {number}" for number in range(classes)]


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_sums_and_bounds(images, classes, seed):
    found = evaluate(*case(images, classes, seed))
    matrix = np.array(found["confusion"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert matrix.sum() == found["images"] == images
    assert matrix.trace() == round(found["top1"]["value"] * images)
    assert ("top5" in found) == (classes > 5)
    for name in FIGURES:
        if name in found:
            assert 0 <= found[name]["low"] <= found[name]["value"] + 1e-12
            assert found[name]["value"] <= found[name]["high"] + 1e-12
    assert sum(pair["images"] for pair in found["confused_pairs"]) <= images - matrix.trace()
    assert sum(row["images"] for row in found["per_class"]) == images


def test_classes_as_scikit_learn_tells_them():
    targets, shares, names = case(300, 8)
    found = evaluate(targets, shares, names, part="test")
    precision, recall, f1, images = oracle.precision_recall_fscore_support(targets, shares.argmax(axis=1))
    rows = found["per_class"]
    assert [row["class"] for row in rows] == names
    assert [row["images"] for row in rows] == images.tolist()
    assert [row["precision"] for row in rows] == pytest.approx(precision)
    assert [row["recall"]["value"] for row in rows] == pytest.approx(recall)
    assert [row["f1"] for row in rows] == pytest.approx(f1)
    assert found["top5"]["value"] == pytest.approx(oracle.top_k_accuracy_score(targets, shares, k=5))
    assert found["part"] == "test"


def test_a_class_without_images_has_no_figures():
    found = evaluate([0, 0, 1], [[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.3, 0.7, 0.0]], ["a", "b", "c"])
    assert found["per_class"][2] == {"class": "c", "images": 0, "precision": None, "recall": None, "f1": None}
    assert found["balanced_accuracy"]["value"] == pytest.approx(0.75)  # the mean of a and b


@pytest.mark.parametrize("predicted", [[0, 1, 2, 0], [1, 2, 0, 1]])
def test_no_spread_in_the_sample_is_not_certainty(predicted):
    found = evaluate([0, 1, 2, 0], np.eye(3)[predicted], ["a", "b", "c"])
    for name in ("top1", "balanced_accuracy", "macro_f1"):
        assert found[name] == found["top1"]
        assert found[name]["high"] - found[name]["low"] > 0.4


def test_pairs_come_most_confused_first():
    #            true: a a a a b b c c c        taken for: b b b c c c a a a
    targets = [0, 0, 0, 0, 1, 1, 2, 2, 2]
    shares = np.eye(3)[[1, 1, 1, 2, 2, 2, 0, 0, 0]]
    pairs = evaluate(targets, shares, ["a", "b", "c"])["confused_pairs"]
    assert [(pair["true"], pair["predicted"], pair["images"], pair["share"]) for pair in pairs] == [
        ("c", "a", 3, 1.0),
        ("a", "b", 3, 0.75),
        ("b", "c", 2, 1.0),
        ("a", "c", 1, 0.25),
    ]


def test_at_most_20_pairs():
    targets = np.repeat(np.arange(6), 5)
    taken_for = np.concatenate([np.delete(np.arange(6), number) for number in range(6)])
    assert len(evaluate(targets, np.eye(6)[taken_for], list("abcdef"))["confused_pairs"]) == 20


GOOD = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("targets", "shares", "classes", "text"),
    [
        (
            [0, 1],
            [0.1, 0.9],
            ["a", "b"],
            "probabilities must have the shape (images, 2), a column a class, not (2,). "
            "Give the class names in the order of the columns.",
        ),
        (
            [0, 1],
            GOOD,
            ["a", "b", "c"],
            "probabilities must have the shape (images, 3), a column a class, not (2, 2). "
            "Give the class names in the order of the columns.",
        ),
        ([0], GOOD, ["a", "b"], "targets must have the shape (2,), one an image, not (1,)."),
        (
            np.zeros(0, int),
            np.zeros((0, 2)),
            ["a", "b"],
            "There are no images to evaluate: targets are empty. Choose a part that has images.",
        ),
        ([0, 1], GOOD, ["a", "a"], "classes must be distinct; 'a' is there 2 times."),
        ([0.0, 1.0], GOOD, ["a", "b"], "targets must be integers, the indices of classes, not float64."),
        ([0, 2], GOOD, ["a", "b"], "targets must be 0 to 1; targets[1] is 2."),
        ([-1, 1], GOOD, ["a", "b"], "targets must be 0 to 1; targets[0] is -1."),
        ([0, 1], np.array([[1, 0], [0, 1]]), ["a", "b"], "probabilities must be floats between 0 and 1, not int64."),
        (
            [0, 1],
            [[0.9, 0.1], [np.nan, 0.8]],
            ["a", "b"],
            "probabilities must be between 0 and 1; probabilities[1, 0] is nan. "
            "Logits must go through a softmax first.",
        ),
        (
            [0, 1],
            [[0.9, 0.1], [3.25, -1.5]],
            ["a", "b"],
            "probabilities must be between 0 and 1; probabilities[1, 0] is 3.25. "
            "Logits must go through a softmax first.",
        ),
        (
            [0, 1],
            [[0.9, 0.1], [0.5, 0.75]],
            ["a", "b"],
            "Each row of probabilities must sum to 1; row 1 sums to 1.25. "
            "Put in all classes, and normalise (softmax, not sigmoid).",
        ),
    ],
)
def test_refused(targets, shares, classes, text):
    with pytest.raises(DataError) as refusal:
        evaluate(targets, shares, classes)
    assert str(refusal.value) == text


def test_half_precision_is_fine():
    targets, shares, names = case(50, 120)
    rough = evaluate(targets, shares.astype(np.float16), names)
    assert rough["log_loss"]["value"] == pytest.approx(evaluate(targets, shares, names)["log_loss"]["value"], rel=1e-3)


def test_importing_it_is_light():
    code = (
        "import sys, headstart.evaluate; print(sorted({'torch', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
