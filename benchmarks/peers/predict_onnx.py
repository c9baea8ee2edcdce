"""Top-1 of files with ONNX Runtime: the same network and weights, exported by torch, with images decoded in threads."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lite0
import numpy as np
import onnxruntime
import torch
from PIL import Image
from predicting import arguments, image_paths, latencies, print_figures
from timm.data import create_transform, resolve_data_config


def export(model: torch.nn.Module, file: Path) -> Path:
    """The network as ONNX, for batches of any size."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        x = torch.zeros(2, 3, 224, 224)
        shapes = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(model, (x,), str(file), dynamo=True, dynamic_shapes=shapes, verbose=False)
    return file


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--onnx", type=Path, required=True, help="file for the exported network")
    given = parser.parse_args()
    model = lite0.create_model()
    transform = create_transform(**resolve_data_config({}, model=model), is_training=False)
    session = onnxruntime.InferenceSession(str(export(model, given.onnx)), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def read(path: str) -> np.ndarray:
        return transform(Image.open(path).convert("RGB")).numpy()  # type: ignore[no-any-return]

    def top1(x: np.ndarray) -> np.ndarray:
        return session.run(None, {name: x})[0].argmax(1)  # type: ignore[no-any-return]

    paths = image_paths(given)
    one_by_one = latencies(given, paths, lambda path: top1(read(path)[None]))
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        predicted, pending = [], []
        for view in pool.map(read, paths):
            pending.append(view)
            if len(pending) == 32:
                predicted.append(top1(np.stack(pending)))
                pending = []
        if pending:
            predicted.append(top1(np.stack(pending)))
    print_figures(paths, np.concatenate(predicted), time.perf_counter() - start, one_by_one)


if __name__ == "__main__":
    main()
