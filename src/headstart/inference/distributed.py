"""Prediction by the workers of a cluster, in parts: in the order of the images, and never many of them in memory.

The workers must see the images under the same paths as this process. They write nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

from headstart.data.manifest import Manifest
from headstart.errors import SettingsError
from headstart.execution.cluster import Cluster
from headstart.execution.workers import find_workers, run_shards
from headstart.inference.results import InferenceResult

__all__ = ["infer_on_cluster"]

_SHARD = 512  # images, at most: a whole number of batches
_SHARDS_PER_WORKER = 8  # at least, so that the last ones are ready at about the same time
_BATCH = {"cpu": 32, "gpu": 256}  # images, of which a shard should be a multiple, since batches are filled up


def infer_on_cluster(
    infer: Callable[[Manifest], InferenceResult], manifest: Manifest, cluster: Cluster, *, device: str
) -> Generator[tuple[Manifest, InferenceResult], None, None]:
    """Yield parts of the manifest with their results, in order; close the generator to stop early.

    :param infer: is pickled; each worker opens it once.
    :param device: of the settings, for which workers are chosen.
    :raises SettingsError: the images are in the memory of this process; or as ``infer`` raises.
    :raises ClusterError: the cluster cannot be reached, or failed.
    """
    if manifest.arrays is not None:
        raise SettingsError(
            "cluster: the workers cannot read images in the memory of this process; write them to files"
        )
    with cluster.connected() as ray:
        workers = find_workers(ray, cluster, device)
        step = _BATCH["gpu" if workers.gpus else "cpu"]
        size = min(_SHARD, step * max(1, len(manifest) // (workers.count * _SHARDS_PER_WORKER * step)))
        starts = range(0, len(manifest), size)
        shards = (manifest[start : start + size] for start in starts)
        results = run_shards(ray, infer, shards, workers.at_most(len(starts)), in_order=True)
        with closing(results):
            for start, result in zip(starts, results, strict=True):
                yield manifest[start : start + size], result
