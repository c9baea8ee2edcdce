"""The live head, on vectors that are drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from headstart.workflow.live.solving import Labeled, LiveHead, Solution

NAMES = {10: "ant", 20: "bee", 30: "cat"}


@pytest.fixture
def head() -> Iterator[LiveHead]:
    opened = LiveHead(threads=2)
    yield opened
    opened.close()


def draw(count: int, *, noise: float = 1.0, seed: int = 0, copies: int = 1) -> Labeled:
    """Images of three classes, each ``copies`` times."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.permutation(np.arange(count) % 3), copies)
    vectors = np.eye(3, 32)[labels] * 4 + np.repeat(rng.normal(0, noise, (count, 32)), copies, axis=0)
    numbers = np.array([10, 20, 30])[labels]
    return Labeled(seed, np.arange(len(labels)), numbers, vectors.astype(np.float16), NAMES)


def part(of: Labeled, rows: np.ndarray | slice, *, revision: int = 1) -> Labeled:
    return Labeled(revision, of.ids[rows], of.labels[rows], of.vectors[rows], of.names)


def test_one_class_is_too_few(head: LiveHead) -> None:
    images = draw(9)
    assert head.update(part(images, images.labels == 10)) is None
    assert head.update(part(images, slice(0, 0))) is None


def test_one_image_of_each_class_gives_predictions_but_no_accuracy(head: LiveHead) -> None:
    images = draw(300, noise=0.5)
    first = [int(np.flatnonzero(images.labels == label)[0]) for label in NAMES]
    found = head.update(part(images, np.array(first)), images.vectors)
    assert found is not None
    assert (found.judged, found.accuracy, found.log_loss) == (0, None, None)
    right = np.array(found.classes)[found.predict(images.vectors).argmax(1)] == images.labels
    assert right.mean() > 0.7


def test_the_accuracy_is_that_of_images_the_head_has_not_seen(head: LiveHead) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(120, 400)).astype(np.float16)  # which a head learns by heart
    images = Labeled(1, np.arange(120), np.array([10, 20])[np.arange(120) % 2], noise, NAMES)
    found = head.update(images)
    assert found is not None
    assert found.accuracy is not None
    assert found.accuracy.low < 0.5 < found.accuracy.high
    learned = np.array(found.classes)[found.predict(noise).argmax(1)] == images.labels
    assert learned.mean() > 0.95


def test_copies_do_not_make_the_accuracy_better(head: LiveHead) -> None:
    rng = np.random.default_rng(1)
    noise = np.repeat(rng.normal(size=(40, 200)), 6, axis=0).astype(np.float16)
    images = Labeled(1, np.arange(240), np.array([10, 20])[np.arange(240) // 6 % 2], noise, NAMES)
    found = head.update(images)
    assert found is not None
    assert found.accuracy is not None
    assert found.accuracy.value < 0.75  # each copy in a fold of its own would be recognized by the others
    assert found.accuracy.high - found.accuracy.low > 0.25  # as of 40 images, not of 240


def test_a_change_is_learned_from_where_the_head_was(head: LiveHead) -> None:
    images = draw(400)
    head.update(part(images, slice(0, 399)), images.vectors)
    warm = head.update(images, images.vectors)
    cold = LiveHead(threads=2)
    try:
        other = cold.update(images, images.vectors)
    finally:
        cold.close()
    assert warm is not None
    assert other is not None
    assert warm.predict(images.vectors) == pytest.approx(other.predict(images.vectors), abs=0.05)


def test_a_class_may_come_and_go(head: LiveHead) -> None:
    images = draw(90, noise=0.5)
    two = head.update(part(images, images.labels != 20), images.vectors)
    three = head.update(images, images.vectors)
    again = head.update(part(images, images.labels != 20), images.vectors)
    assert two is not None
    assert three is not None
    assert again is not None
    assert (two.names, three.names, again.names) == (("ant", "cat"), ("ant", "bee", "cat"), ("ant", "cat"))
    assert three.accuracy is not None
    assert three.accuracy.value > 0.9
    assert again.accuracy is not None
    assert again.accuracy.value > 0.9


def test_more_images_do_not_move_the_head_through_their_scale(head: LiveHead) -> None:
    images = draw(90, noise=0.5)
    before = head.update(images, images.vectors)
    other = np.concatenate([images.vectors, 50 + 20 * np.random.default_rng(0).normal(size=(500, 32))])
    after = head.update(images, other)
    assert before is not None
    assert after is not None
    assert after.scaling is not before.scaling
    assert after.predict(images.vectors).argmax(1).tolist() == before.predict(images.vectors).argmax(1).tolist()


def improved(head: LiveHead, images: Labeled) -> Solution | None:
    last = None
    for _ in range(50):
        found = head.improve(images, lambda: False)
        if found is None:
            return last
        last = found
    raise AssertionError("it is never content")


def test_with_time_the_head_gets_better_and_then_is_left_alone(head: LiveHead) -> None:
    images = draw(300, noise=3.0)
    first = head.update(images)
    better = improved(head, images)
    assert first is not None
    assert better is not None
    assert first.log_loss is not None
    assert better.log_loss is not None
    assert better.log_loss <= first.log_loss + 1e-3
    assert better.l2 != first.l2  # these noisy images want a stronger penalty
    assert head.improve(images, lambda: False) is None


def test_what_interrupts_an_improvement_leaves_the_last_solution(head: LiveHead) -> None:
    images = draw(300)
    first = head.update(images)
    assert head.improve(images, lambda: True) is None
    again = head.update(images)
    assert first is not None
    assert again is not None
    assert again.predict(images.vectors) == pytest.approx(first.predict(images.vectors), abs=0.05)


def test_probabilities_are_calibrated_by_cross_fitting(head: LiveHead) -> None:
    images = draw(600, noise=4.0)
    found = head.update(images)
    assert found is not None
    probabilities = found.probabilities
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    right = (probabilities.argmax(1) == found.targets).mean()
    assert probabilities.max(1).mean() == pytest.approx(right, abs=0.06)


def test_the_head_for_features_as_they_are_says_the_same(head: LiveHead) -> None:
    images = draw(90)
    found = head.update(images)
    assert found is not None
    logits = found.head().logits(torch.from_numpy(images.vectors.astype(np.float32)))
    assert torch.softmax(logits, 1).numpy() == pytest.approx(found.predict(images.vectors), abs=1e-4)


def test_classes_of_the_pretrained_head_need_few_labels() -> None:
    linear = nn.Linear(32, 3)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(3, 32) * 2)
        linear.bias.zero_()
    images = draw(300, noise=2.0)
    few = part(images, np.array([int(np.flatnonzero(images.labels == label)[0]) for label in NAMES]))

    def accuracy(pretrained: tuple[nn.Module, list[str]] | None) -> tuple[float, str]:
        head = LiveHead(pretrained, threads=1)
        try:
            found = head.update(few, images.vectors)
        finally:
            head.close()
        assert found is not None
        right = np.array(found.classes)[found.predict(images.vectors).argmax(1)] == images.labels
        return float(right.mean()), found.prior

    known, unknown = accuracy((linear, ["ant", "bee", "cat"])), accuracy((linear, ["x", "y", "z"]))
    assert (known[1], unknown[1], accuracy(None)[1]) == ("pretrained", "zero", "zero")
    assert known[0] > unknown[0]
