"""Top-1 of files with torch and timm: the usual loop.

python predict_timm.py FOLDER [--precision bfloat16 --channels-last] [--latency N] [--first FILE]
"""

from __future__ import annotations

import time

START = time.perf_counter()

import json  # noqa: E402

import lite0  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from predicting import arguments, image_paths, latencies, print_figures  # noqa: E402
from timm.data import create_transform, resolve_data_config  # noqa: E402


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--channels-last", action="store_true")
    given = parser.parse_args()
    model = lite0.create_model()
    transform = create_transform(**resolve_data_config({}, model=model), is_training=False)
    if given.channels_last:
        model = model.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def top1(x: torch.Tensor) -> np.ndarray:
        if given.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bfloat16"):
            return model(x).argmax(1).numpy()  # type: ignore[no-any-return]

    if given.first:
        top1(transform(Image.open(given.first).convert("RGB"))[None])
        print(json.dumps({"first_s": round(time.perf_counter() - START, 3)}))
        return
    paths = image_paths(given)
    one_by_one = latencies(given, paths, lambda path: top1(transform(Image.open(path).convert("RGB"))[None]))
    start = time.perf_counter()
    loader = torch.utils.data.DataLoader(lite0.Images(paths, transform), batch_size=32, num_workers=2)
    predicted = np.concatenate([top1(x) for x in loader])
    print_figures(paths, predicted, time.perf_counter() - start, one_by_one)


if __name__ == "__main__":
    main()
