"""Top-1 of files by ONNX Runtime: the same network and weights, exported by torch; decoding by threads."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lite0
import numpy as np
import onnxruntime
import torch
from PIL import Image
from predicting import answer, arguments, latencies, pictures
from timm.data import create_transform, resolve_data_config


def exported(model: torch.nn.Module, file: Path) -> Path:
    """The network as ONNX with a batch of any size."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        x = torch.zeros(2, 3, 224, 224)
        shapes = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(model, (x,), str(file), dynamo=True, dynamic_shapes=shapes, verbose=False)
    return file


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--onnx", type=Path, required=True, help="where to keep the exported network")
    given = parser.parse_args()
    model = lite0.network()
    transform = create_transform(**resolve_data_config({}, model=model), is_training=False)
    session = onnxruntime.InferenceSession(str(exported(model, given.onnx)), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def read(path: str) -> np.ndarray:
        return transform(Image.open(path).convert("RGB")).numpy()  # type: ignore[no-any-return]

    def top1(x: np.ndarray) -> np.ndarray:
        return session.run(None, {name: x})[0].argmax(1)  # type: ignore[no-any-return]

    paths = pictures(given)
    once = latencies(given, paths, lambda path: top1(read(path)[None]))
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        found, waiting = [], []
        for view in pool.map(read, paths):
            waiting.append(view)
            if len(waiting) == 32:
                found.append(top1(np.stack(waiting)))
                waiting = []
        if waiting:
            found.append(top1(np.stack(waiting)))
    answer(paths, np.concatenate(found), time.perf_counter() - start, once)


if __name__ == "__main__":
    main()
