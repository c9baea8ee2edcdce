"""vyntri's predict_batch, for its time alone: its five networks fetch weights from a host of their own, and none of
them is among the weights that the others have here. So efficientnet_b0 (390 million multiplications a picture, Lite0
407) has random weights, and its accuracy says nothing.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torchvision.models
from predicting import answer, arguments, latencies, pictures

_real = torchvision.models.efficientnet_b0
torchvision.models.efficientnet_b0 = lambda weights: _real(weights=weights and None)

from vyntri import Vyntri  # noqa: E402


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--fit", type=Path, required=True, help="a small folder of classes, so that it can predict")
    given = parser.parse_args()
    model = Vyntri(backbone="efficientnet_b0", cache_enabled=False)
    model.fit(train=str(given.fit))
    paths = pictures(given)
    once = latencies(given, paths, model.predict)
    start = time.perf_counter()
    told = model.predict_batch(paths)
    assert len(told.labels) == len(paths)
    answer(paths, np.full(len(paths), -1), time.perf_counter() - start, once)


if __name__ == "__main__":
    main()
