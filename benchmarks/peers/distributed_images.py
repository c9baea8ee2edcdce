"""Peers: features of images by Ray Data or Daft, with headstart's engine and two one-core workers.

python distributed_images.py ray|daft ENGINE.pickle PATHS.json FOLDER

Prints the images a second between the first and the last finished part, as JSON.
"""

from __future__ import annotations

import io
import json
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PART = 512  # images
BATCH = 32


class Network:
    """The engine, with the resizing of its input: the whole image, bicubic."""

    def __init__(self, engine: str) -> None:
        import torch

        from headstart.execution.base import limit_cores

        limit_cores(1)
        torch.set_num_threads(1)
        source = pickle.loads(Path(engine).read_bytes())
        self.run, self.size = source(), (source.spec.width, source.spec.height)

    def features(self, contents: list[bytes]) -> np.ndarray:
        """(N, D) of encoded images."""
        made = []
        for start in range(0, len(contents), BATCH):
            images = [
                np.asarray(Image.open(io.BytesIO(each)).convert("RGB").resize(self.size, Image.Resampling.BICUBIC))
                for each in contents[start : start + BATCH]
            ]
            made.append(self.run(np.stack(images)))
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
        fn_constructor_args=(engine,),
        batch_size=PART,
        compute=ray.data.ActorPoolStrategy(size=2),
        num_cpus=0.8,
    ).write_parquet(folder)
    return finished(folder)


def by_daft(engine: str, paths: list[str], folder: str) -> list[tuple[float, int]]:
    """Read, map and write, as its documentation does."""
    import daft
    from daft import DataType, Series, col

    width = 1280

    @daft.udf(return_dtype=DataType.embedding(DataType.float32(), width), concurrency=2, batch_size=PART, num_cpus=1)
    class Features:
        def __init__(self) -> None:
            self.network = Network(engine)

        def __call__(self, contents: Series) -> np.ndarray:
            return self.network.features(contents.to_pylist())[:, :width].astype(np.float32)

    table = daft.from_pydict({"path": paths}).with_column("bytes", col("path").url.download())
    table.with_column("features", Features(col("bytes"))).exclude("bytes").write_parquet(folder)
    return finished(folder)


def finished(folder: str) -> list[tuple[float, int]]:
    """When the parts were written, and their images."""
    import pyarrow.parquet as pq

    files = [(path.stat().st_mtime, pq.ParquetFile(path).metadata.num_rows) for path in Path(folder).rglob("*.parquet")]
    return sorted(files)


def main() -> None:
    """One run."""
    which, engine, paths, folder = sys.argv[1:]
    began = time.time()
    times = {"ray": by_ray, "daft": by_daft}[which](engine, json.loads(Path(paths).read_text()), folder)
    print(json.dumps({"began": began, "times": times}))


if __name__ == "__main__":
    main()
