"""The time of vyntri's predict_batch. Its five networks download weights from a host of their own, and none of them is
among the weights that the other peers have. So efficientnet_b0 (390 million multiplications per image; Lite0 has 407)
runs with random weights, and its accuracy means nothing.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torchvision.models
from predicting import arguments, image_paths, latencies, print_figures

_real = torchvision.models.efficientnet_b0
torchvision.models.efficientnet_b0 = lambda weights: _real(weights=weights and None)

from vyntri import Vyntri  # noqa: E402


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--fit",
        type=Path,
        required=True,
        help="one subfolder per class, to fit it on",
    )
    given = parser.parse_args()
    model = Vyntri(backbone="efficientnet_b0", cache_enabled=False)
    model.fit(train=str(given.fit))
    paths = image_paths(given)
    one_by_one = latencies(given, paths, model.predict)
    start = time.perf_counter()
    found = model.predict_batch(paths)
    assert len(found.labels) == len(paths)
    print_figures(paths, np.full(len(paths), -1), time.perf_counter() - start, one_by_one)


if __name__ == "__main__":
    main()
