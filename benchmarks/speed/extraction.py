"""Feature extraction from files: how close its rate is to the engine's own on decoded images, and where the rest goes.

    python -m benchmarks.speed.extraction [--times 5] [--images 4000] [--profile] [--quick]

Measured in one process on the same images: reading, decoding and resizing alone (``read_views``); the engine alone, on
batches in memory; and both with the store, which is what ``headstart fit`` does. All compete for the same cores, so the
rate cannot exceed 1 / (1/decoding + 1/forward), the limit with ideal overlap. The engine alone also runs with other
batch sizes, because feature maps beyond the size of the caches come from memory.

--profile repeats the extraction under py-spy (installed into an environment of its own), and saves what the threads
were doing to extraction-profile.txt beside the result.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from benchmarks.harness import (
    BUILD,
    ROOT,
    SHARED,
    Figures,
    empty_folder,
    module,
    peer_python,
    result_path,
    save,
    spread,
    times_of,
)

from headstart.config import FitSettings
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.data.views import Views, read_views
from headstart.features.extractor import extract_features
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore
from headstart.features.table import FeatureTable
from headstart.inference.engine import Engine, choose_batch_size, open_engine
from headstart.models.backbone import digest, load_backbone
from headstart.models.cut import Cut, cut

BATCH = choose_batch_size(None, "cpu")
OTHER_BATCHES = (1, 4, 8, 33)  # 33 cannot be divided into requests of 4: it is one request, on all cores
MAX_PIXELS = FitSettings.max_pixels
STEPS = {  # from the most specific to the most general: a sample counts for the first one on its stack
    "the engine (forward pass)": "__call__ (headstart/inference/engine.py",
    "writing to the store": "append (headstart/features/table.py",
    "reading files": "read_source",
    "hashing files": "content_hash",
    "decoding": "decode (headstart/data/decode.py",
    "resizing": "evaluation_view",
    "waiting for decoded images": "result (concurrent/futures",
    "stacking batches": "stack (numpy",
}


class Workload:
    """The default network over some images, in the steps that ``headstart fit`` takes."""

    def __init__(self, images: int, data: str) -> None:
        # The labels of dogs120 are in random order, so that the first images are of all breeds.
        self.manifest: Manifest = inspect_all(read_images(SHARED / data).select(range(images)))
        backbone = load_backbone(FitSettings.model)
        self.spec = backbone.spec.whole()
        self.parts: Cut = cut(backbone.module, "head", input_shape=(3, self.spec.height, self.spec.width))
        self.model = backbone.name
        self.engine: Engine = self.open_engine(BATCH)

    def open_engine(self, batch: int) -> Engine:
        """The frozen part, compiled for batches of this size."""
        return open_engine(self.parts.prefix, self.spec, batch_size=batch, device="cpu")

    def empty_table(self, name: str) -> FeatureTable:
        """An empty feature table."""
        space = FeatureSpace(
            model=self.model,
            weights=digest(self.parts.prefix),
            cut=self.parts.name,
            spec=self.spec,
            precision=self.engine.precision,
            dtype="float16",
            shape=self.parts.feature_shape,
        )
        return FeatureStore(empty_folder(name)).table(space)

    def decode(self) -> None:
        """Read, decode and resize all images, and discard them."""
        for _ in self._views():
            pass

    def batches(self, count: int) -> list[np.ndarray]:
        """Decoded images (B, H, W, 3), in memory."""
        return [np.stack(views.images) for views in islice(self._views(), count)]

    def extract(self) -> None:
        """Extract all features into an empty table."""
        table = self.empty_table("extraction")
        extract_features(
            self.manifest, table, self.spec, open_engine=lambda: self.engine, batch_size=BATCH, max_pixels=MAX_PIXELS
        )
        assert len(table) == len(set(self.manifest.hashes))

    def _views(self) -> Iterator[Views]:
        return read_views(self.manifest, range(len(self.manifest)), self.spec, batch_size=BATCH, max_pixels=MAX_PIXELS)


def rates(images: int, seconds: list[float]) -> dict[str, float]:
    """Images per second."""
    return spread([round(images / each, 1) for each in seconds])


def profile(images: int, path: Path) -> dict[str, float]:
    """What the threads are in while features are computed: the share of the samples, by step."""
    spy = peer_python("py-spy", "py-spy").with_name("py-spy")
    raw = BUILD / "extraction.raw"
    command = module("benchmarks.speed.extraction", "--only-extract", "--images", images)
    # Without --gil, because decoding and the engine release the lock, and they are what is of interest.
    subprocess.run(
        [spy, "record", "--format", "raw", "--rate", "100", "--threads", "-o", raw, "--", *map(str, command)],
        check=True,
        cwd=ROOT,
    )
    own: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame for frame in stack.split(";") if not frame.startswith(("process", "thread"))]
        if not any("extractor.py" in frame or "views.py" in frame for frame in frames):
            continue  # imports, and the compilation of the engine
        own[frames[-1]] += int(count)
        inside[step_of(frames)] += int(count)
    total = sum(own.values())
    shares = {step: round(count / total, 3) for step, count in inside.most_common()}
    lines = [f"{total} samples of running threads, by step:", ""]
    lines += [f"{share:7.1%}  {step}" for step, share in shares.items()]
    lines += ["", "innermost functions:", ""]
    lines += [f"{count / total:7.1%}  {frame}" for frame, count in own.most_common(25)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    print(path.read_text())
    return shares


def step_of(frames: list[str]) -> str:
    """The step that a stack belongs to."""
    for step, sign in STEPS.items():
        if any(sign in frame for frame in frames):
            return step
    return "other"


def measure(work: Workload, images: int, times: int) -> Figures:
    """All measurements in turn, so that a slow minute of the machine meets all of them."""
    batches = work.batches(min(80, images // BATCH))
    decoded = np.concatenate(batches)
    engines = {batch: work.open_engine(batch) for batch in OTHER_BATCHES}
    decoding, forward, whole = [], [], []
    by_batch: dict[int, list[float]] = {batch: [] for batch in OTHER_BATCHES}
    for number in range(times):
        warmup = int(number == 0)
        decoding += times_of(work.decode, 1, warmup=warmup)
        forward += times_of(lambda: [work.engine(batch) for batch in batches], 1, warmup=warmup)
        whole += times_of(work.extract, 1, warmup=warmup)
        for batch, engine in engines.items():
            by_batch[batch] += times_of(partial(engine, decoded), 1, warmup=warmup)
    count = len(work.manifest)
    decode, run, both = rates(count, decoding), rates(len(decoded), forward), rates(count, whole)
    limit = 1 / (1 / decode["median"] + 1 / run["median"])
    return {
        "images": count,
        "engine": f"{work.engine.name} {work.engine.precision}, batches of {BATCH}",
        "cores": len(os.sched_getaffinity(0)),
        "decoding_alone_per_s": decode,
        "forward_alone_per_s": run,
        "extraction_per_s": both,
        "forward_alone_by_batch_per_s": {batch: rates(len(decoded), seconds) for batch, seconds in by_batch.items()},
        "share_of_forward_alone": round(both["median"] / run["median"], 3),
        "limit_where_both_share_the_cores_per_s": round(limit, 1),
        "share_of_that_limit": round(both["median"] / limit, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--data", default="dogs120")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--quick", action="store_true", help="200 images: shows only that the script runs")
    parser.add_argument("--only-extract", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.quick:
        given.times, given.images = 1, 200
    work = Workload(given.images, given.data)
    if given.only_extract:
        work.extract()
        return
    figures = measure(work, given.images, given.times)
    if given.profile:
        path = result_path("speed/extraction", quick=given.quick).with_name("extraction-profile.txt")
        figures["profile_shares"] = profile(given.images, path)
    save("speed/extraction", figures, quick=given.quick)


if __name__ == "__main__":
    main()
