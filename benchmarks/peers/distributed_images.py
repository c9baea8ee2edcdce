"""Peers: features of images by Ray Data or Daft, with headstart's engine and two one-core workers.

python distributed_images.py ray|daft ENGINE.pickle PATHS.json FOLDER

Prints when how many images were finished, as JSON: what is written comes all at the end with Ray Data.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PART = 512  # images
BATCH = 32
WIDTH = 2064  # of EfficientNet-Lite0 with its stages


class Network:
    """The engine, with the resizing of its input: the whole image, bicubic."""

    def __init__(self, engine: str, folder: str) -> None:
        import torch

        from headstart.execution.base import limit_cores

        limit_cores(1)
        torch.set_num_threads(1)
        source = pickle.loads(Path(engine).read_bytes())
        self.run, self.size = source(), (source.spec.width, source.spec.height)
        self.finished = Path(folder).parent / f"times-{os.getpid()}.txt"

    def features(self, contents: list[bytes]) -> np.ndarray:
        """(N, D) of encoded images."""
        made = []
        for start in range(0, len(contents), BATCH):
            images = [
                np.asarray(Image.open(io.BytesIO(each)).convert("RGB").resize(self.size, Image.Resampling.BICUBIC))
                for each in contents[start : start + BATCH]
            ]
            made.append(self.run(np.stack(images)))
        with self.finished.open("a") as file:
            file.write(f"{time.time()} {len(contents)}\n")
        return np.concatenate(made).reshape(len(contents), -1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """For Ray Data."""
        return {"path": batch["path"], "features": self.features(list(batch["bytes"]))}


def by_ray(engine: str, paths: list[str], folder: str) -> list[tuple[float, int]]:
    """Read, map and write, as its documentation does."""
    import ray
    import ray.data

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    # With whole cores for both, reading waits for the actors, and these for it.
    images = ray.data.read_binary_files(paths, include_paths=True, ray_remote_args={"num_cpus": 0.1})
    images.map_batches(
        Network,
        fn_constructor_args=(engine, folder),
        batch_size=PART,
        compute=ray.data.ActorPoolStrategy(size=2),
        num_cpus=0.8,
    ).write_parquet(folder)
    return finished(folder)


def by_daft(engine: str, paths: list[str], folder: str) -> list[tuple[float, int]]:
    """Read, map and write, as its documentation does."""
    import daft
    from daft import DataType, Series, col

    kind = DataType.embedding(DataType.float32(), WIDTH)

    # What replaces this decorator, daft.cls, opened both networks in threads of one process, in which they collide.
    @daft.udf(return_dtype=kind, concurrency=2, batch_size=PART, num_cpus=1, use_process=True)
    class Features:
        def __init__(self) -> None:
            self.network = Network(engine, folder)

        def __call__(self, contents: Series) -> np.ndarray:
            return self.network.features(contents.to_pylist()).astype(np.float32)

    table = daft.from_pydict({"path": paths}).with_column("bytes", col("path").download())
    table.with_column("features", Features(col("bytes"))).exclude("bytes").write_parquet(folder)
    return finished(folder)


def finished(folder: str) -> list[tuple[float, int]]:
    """When the workers had finished how many images."""
    lines = [line.split() for path in Path(folder).parent.glob("times-*.txt") for line in path.read_text().splitlines()]
    return sorted((float(at), int(count)) for at, count in lines)


def main() -> None:
    """One run."""
    which, engine, paths, folder = sys.argv[1:]
    began = time.time()
    times = {"ray": by_ray, "daft": by_daft}[which](engine, json.loads(Path(paths).read_text()), folder)
    print(json.dumps({"began": began, "times": times}))


if __name__ == "__main__":
    main()
