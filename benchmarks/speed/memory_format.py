"""A fine-tuning step with all feature maps contiguous, and with small ones channels last, as headstart trains.

    python -m benchmarks.speed.memory_format [--steps 40] [--quick]

Batches of 32, stochastic gradient descent; the same tails from the same weights. The rule is in
src/headstart/inference/memory_format.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from benchmarks.harness import Figures, ratio, save, spread, times_of
from benchmarks.speed.tails import CUTS, random_features, title

from headstart.train import finetune as training


@contextmanager
def all_contiguous() -> Iterator[None]:
    """Train without the rule."""
    with mock.patch.object(training, "to_channels_last", lambda inputs, **_: inputs):
        yield


def step_times(model: str, train: str, precision: str, steps: int) -> tuple[tuple[int, ...], list[float]]:
    """The shape of the feature maps, and milliseconds per step in each of five epochs, with validation on one image."""
    tail, dataset, one = random_features(model, train, steps)
    config = training.TrainConfig(1, 32, optimizer="sgd", precision=precision)
    seconds = times_of(lambda: training.finetune(tail, dataset, one, config), 5)
    return dataset.inputs.take([0]).shape[1:], [1000 * each / steps for each in seconds]


def main() -> None:
    """Each cut, with and without the rule."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="2 steps: shows only that the script runs")
    given = parser.parse_args()
    steps = 2 if given.quick else given.steps
    rows: list[Figures] = []
    for model, train in CUTS:
        for precision in ("bfloat16", "float32"):
            with all_contiguous():
                shape, contiguous = step_times(model, train, precision, steps)
            _, ours = step_times(model, train, precision, steps)
            row: Figures = {"model": title(model), "train": train, "maps": list(shape), "precision": precision}
            row |= {"contiguous_ms": spread(contiguous), "headstart_ms": spread(ours)}
            rows.append(row | {"times_faster": ratio(contiguous, ours)})
            print(rows[-1], flush=True)
    save("speed/memory_format", {"steps": rows}, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
