"""Extraction by the workers of a Ray cluster on this machine, beside this process alone, Ray Data and Daft.

    python -m benchmarks.scale.cluster [--images 20000] [--only NAME ...] [--quick]

The same network (EfficientNet-Lite0 before its head, in the engine of a fit) on the same files: those of dogs120,
beyond 10,222 with eight bytes behind their end. The rate is that between the first and the last finished part, so that
neither the start of Ray nor that of the engines counts; ``start_s`` is the time until the first part. Each in a process
of its own, with an empty store. The peers decode with Pillow, resize the whole image, run the same engine in batches of
32 in two one-core workers, and write Parquet; their parts are the batches that their workers finish. They know neither
which images are done already, nor a commit. What two one-core workers can reach here, also where two cores are threads
of one, say two processes of one core without Ray, each with half of the images; their rate is that while both work.
"""

from __future__ import annotations

import argparse
import json
import pickle
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import (
    BUILD,
    HERE,
    ROOT,
    Figures,
    earlier,
    empty_folder,
    module,
    peer_python,
    run,
    save,
)
from benchmarks.scale.growth import write_images

if TYPE_CHECKING:
    from headstart.data.manifest import Manifest
    from headstart.workflow.extraction import FeatureExtractor

ALONE = ("one process of one core", "two processes of one core")
OWN = ("this process", "one worker of two cores", *ALONE, "one worker", "two workers")
PEERS = {"Ray Data, two workers": "ray", "Daft, two workers": "daft"}
WAYS = (*OWN, *PEERS)


def rate(times: list[tuple[float, int]], began: float) -> Figures:
    """Images a second between the first and the last of (time, images finished then)."""
    images = sum(count for _, count in times[1:])
    seconds = times[-1][0] - times[0][0]
    return {
        "images_per_s": round(images / seconds, 1) if seconds else None,
        "start_s": round(times[0][0] - began, 2),
        "seconds": round(times[-1][0] - began, 2),
        "parts": len(times),
    }


def in_this_process(images: Manifest, extractor: FeatureExtractor) -> list[tuple[float, int]]:
    """Compute features, and return (time, images finished then)."""
    from headstart.events import Event, Events, StageAdvanced

    times: list[tuple[float, int]] = []

    def hear(event: Event) -> None:
        if isinstance(event, StageAdvanced):
            times.append((time.monotonic(), event.done - sum(count for _, count in times)))

    extractor.compute(images, views=(0,), events=Events(hear))
    return times


def one_part(paths: Sequence[Path], at: int, count: int) -> list[tuple[float, int]]:
    """Compute the features of every ``count``-th image on one core."""
    import torch

    from headstart.config import FitSettings
    from headstart.data.inspection import inspect_all
    from headstart.data.manifest import Manifest
    from headstart.events import Events
    from headstart.execution.base import limit_cores
    from headstart.workflow.candidates import open_candidate

    limit_cores(1)
    torch.set_num_threads(1)
    settings = FitSettings.of(cache_dir=str(empty_folder(f"cluster-store-{at}")))
    extractor = open_candidate("tf_efficientnet_lite0", settings, classes=120, events=Events()).extractor
    return in_this_process(inspect_all(Manifest.from_rows(paths[at::count])), extractor)


def processes_alone(count: int) -> Figures:
    """Processes of one core with a part of the images each, while all of them work."""
    began = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        words = [module("benchmarks.scale.cluster", "--part", f"{at}/{count}") for at in range(count)]
        found = [each.report()["times"] for each in pool.map(lambda each: run(*each, cwd=ROOT), words)]
    start, end = max(times[0][0] for times in found), min(times[-1][0] for times in found)
    return rate(sorted((at, images) for times in found for at, images in times if start <= at <= end), began)


def measure(way: str, folder: Path) -> Figures:
    """What a fit does for its features, or a peer."""
    from headstart.config import FitSettings
    from headstart.data.inspection import inspect_all
    from headstart.data.manifest import Manifest
    from headstart.events import Events
    from headstart.execution.cluster import Cluster
    from headstart.features.distributed import Plan, compute_on_cluster
    from headstart.workflow.candidates import open_candidate

    if way in ALONE:
        return processes_alone(ALONE.index(way) + 1)
    store = empty_folder("cluster-store")
    settings = FitSettings.of(cache_dir=str(store))
    extractor = open_candidate("tf_efficientnet_lite0", settings, classes=120, events=Events()).extractor
    source, spec = extractor.engine_source(), extractor.backbone.spec
    source()  # converted once, so that it is in the cache of prepared networks
    paths = sorted(folder.rglob("*.jpg"))
    if way in PEERS:
        (store / "engine.pickle").write_bytes(pickle.dumps(source))
        (store / "paths.json").write_text(json.dumps([str(path) for path in paths]))
        packages = ("ray-data", "ray[data]==2.60.0") if way.startswith("Ray") else ("daft", "daft==0.7.26")
        python = peer_python(*packages, shared=True)
        script = HERE / "peers" / "distributed_images.py"
        found = run(
            python, script, PEERS[way], store / "engine.pickle", store / "paths.json", store / "parts", cwd=ROOT
        ).report()
        return rate([(at, count) for at, count in found["times"]], found["began"])
    images = inspect_all(Manifest.from_rows(paths))
    times: list[tuple[float, int]] = []
    began = time.monotonic()
    if way == "this process":
        times = in_this_process(images, extractor)
    else:
        import numpy as np

        from headstart.features.missing import MissingViews

        cores = 2 if "two cores" in way else 1
        cluster = Cluster("local", 2 if way == "two workers" else cores)
        missing = MissingViews(np.arange(len(images)), (0,), np.ones((len(images), 1), bool))
        plan = Plan(extractor.table, spec, source, 32, 10**9, cores=cores)

        def advance(count: int) -> None:
            times.append((time.monotonic(), count))

        compute_on_cluster(images, missing, plan, cluster, advance=advance)
    assert len(extractor.table) == len(images)
    return rate(times, began)


def main() -> None:
    """Each way in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), help="keep the saved figures of others")
    parser.add_argument("--quick", action="store_true", help="500 images, in this process and by two workers")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        at, count = map(int, given.part.split("/"))
        print(json.dumps({"times": one_part(sorted((BUILD / "growth-images").rglob("*.jpg")), at, count)}))
        return
    if given.one:
        print(json.dumps(measure(given.one, BUILD / "growth-images")))
        return
    if given.quick:
        given.images, given.only = 500, ["this process", "two workers"]
    write_images(given.images)
    figures = earlier("scale/cluster", [way for way in WAYS if way not in given.only])
    for way in given.only:
        figures[way] = run(*module("benchmarks.scale.cluster", "--one", way), cwd=ROOT).report()
        print(way, figures[way], flush=True)
        save("scale/cluster", {"images": given.images, **figures}, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
