"""The cost of 8-bit integers compared with float32, on images that are predicted in both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["int8_cost", "int8_sample"]

_MAX_IMAGES = 256


def int8_sample(count: int, seed: int) -> NDArray[np.int64]:
    """Draw up to 256 of ``count`` rows, ascending, to predict in both precisions."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:_MAX_IMAGES])


def int8_cost(int8: NDArray[np.float32], float32: NDArray[np.float32], targets: NDArray[np.int64] | None = None) -> str:
    """Describe how the predicted classes of the same images differ between the two precisions.

    :param int8: probabilities or logits computed with 8-bit integers, (N, C).
    :param float32: the same in float32, (N, C).
    :param targets: true class indices, (N,).

    >>> int8_cost(np.eye(3), np.eye(3)[[0, 1, 1]], np.arange(3))
    'int8: 2 of 3 images (66.7%) are assigned the same class as in float32; accuracy 100.0%, in float32 66.7%'
    """
    quantized, exact = int8.argmax(1), float32.argmax(1)
    same = int((quantized == exact).sum())
    count = len(quantized)
    text = f"int8: {same} of {count} images ({same / count:.1%}) are assigned the same class as in float32"
    if targets is not None:
        text += f"; accuracy {(quantized == targets).mean():.1%}, in float32 {(exact == targets).mean():.1%}"
    return text
