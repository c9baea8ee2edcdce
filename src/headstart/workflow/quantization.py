"""What 8-bit whole numbers cost against float32, by images that both are shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cost", "sample"]

_MOST = 256  # images


def sample(count: int, seed: int) -> NDArray[np.int64]:
    """Rows, ascending, of up to 256 images that both precisions are shown."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:_MOST])


def cost(coarse: NDArray[np.float32], exact: NDArray[np.float32], targets: NDArray[np.int64] | None = None) -> str:
    """What 8-bit numbers change of the classes of the same images, in words.

    :param coarse: what was computed with them, (N, C); ``exact`` in float32.

    >>> cost(np.eye(3), np.eye(3)[[0, 1, 1]], np.arange(3))
    'int8: of 3 images 2 (66.7%) get the class that float32 gives; accuracy 100.0%, in float32 66.7%'
    """
    given, true = coarse.argmax(1), exact.argmax(1)
    same = int((given == true).sum())
    told = f"int8: of {len(given)} images {same} ({same / len(given):.1%}) get the class that float32 gives"
    if targets is not None:
        told += f"; accuracy {(given == targets).mean():.1%}, in float32 {(true == targets).mean():.1%}"
    return told
