from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from headstart.train.stopping import falls_behind

REFERENCE = np.random.default_rng(0).exponential(0.5, 400)
NOISE = np.random.default_rng(1).normal(size=400)
NOISE = (NOISE - NOISE.mean()) / NOISE.std(ddof=1)


def behind(errors: float, *, deviation: float = 1.0) -> NDArray[np.float64]:
    """Losses that are worse than the reference's by so many standard errors."""
    return REFERENCE + deviation * (NOISE + errors / np.sqrt(400))


@pytest.mark.parametrize(
    ("errors", "epoch", "expected"), [(3.5, 1, False), (4.5, 1, True), (2.9, 5, False), (3.1, 5, True), (-9, 5, False)]
)
def test_it_takes_four_standard_errors_at_first_and_three_later(errors: float, epoch: int, expected: bool) -> None:
    losses = behind(errors)
    assert falls_behind(losses, REFERENCE, epoch=epoch, epochs=12, before=float(losses.mean())) is expected


def test_little_is_forgiven_in_the_first_quarter_however_sure_it_is() -> None:
    losses = behind(20, deviation=0.02)  # by 0.02 nats, of 0.5
    for epoch in range(1, 12):
        told = falls_behind(losses, REFERENCE, epoch=epoch, epochs=12, before=float(losses.mean()))
        assert told is (epoch > 3)
    far = behind(200, deviation=0.02)
    assert falls_behind(far, REFERENCE, epoch=2, epochs=12, before=float(far.mean()))


def test_what_gains_enough_to_arrive_goes_on() -> None:
    losses = behind(10)  # by half a nat
    mean = float(losses.mean())
    assert falls_behind(losses, REFERENCE, epoch=6, epochs=10, before=mean + 0.12)  # 4 epochs of 0.12 are too little
    assert not falls_behind(losses, REFERENCE, epoch=6, epochs=10, before=mean + 0.13)


def test_after_the_last_epoch_there_is_nothing_to_stop() -> None:
    assert not falls_behind(behind(50), REFERENCE, epoch=4, epochs=4)


@pytest.mark.parametrize("images", [1, 2, 3, 5, 10, 30])
def test_few_images_do_not_stop_by_noise(images: int) -> None:
    """Two classifiers that are equally good: one test in a thousand may say otherwise, however few the images are."""
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(3000, images))
    stopped = sum(falls_behind(each + 5, np.full(images, 5.0), epoch=9, epochs=12, before=9e9) for each in draws)
    assert stopped == 0  # what gains so much goes on
    stopped = sum(falls_behind(each + 5, np.full(images, 5.0), epoch=9, epochs=12) for each in draws)
    assert stopped <= 12  # 1.35 in a thousand are 4
