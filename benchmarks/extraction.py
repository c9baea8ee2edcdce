"""Features from files: how near the rate is to the engine's own on decoded pictures, and where the rest goes.

    python benchmarks/extraction.py [--times 5] [--images 4000] [--profile] [--quick]

In one process and on the same pictures: reading, decoding and resizing alone (``read_views``); the engine alone, on
batches that are in memory; and both with the store, which is what ``headstart fit`` does. Since all compete for the
same cores, the rate cannot pass 1 / (1/decoding + 1/forward): that is the limit with ideal overlap. The engine alone is
also asked for other numbers of pictures at a time, since what a batch's maps need beyond the caches comes from memory.

--profile runs the extraction once more under py-spy (installed into an environment of its own), and keeps what the
threads were doing in results/extraction-profile.txt.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from harness import RESULTS, ROOT, SHARED, TRIAL, emptied, keep, peer, spread, times_of

from headstart.data.checkup import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.sources import read_images
from headstart.data.views import read_views
from headstart.features.extract import extract
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore, Space
from headstart.models.backbone import digest, load_backbone
from headstart.models.cut import Cut, cut
from headstart.models.engine import Engine, choose_batch, open_engine
from headstart.settings import FitSettings

BATCH = choose_batch(None, "cpu")
OTHERS = (1, 4, 8, 33)  # 33 cannot be divided into requests of 4: it is one, of all cores
PIXELS = FitSettings.max_pixels


class Work:
    """The default network over some pictures of dogs120, by the steps that ``headstart fit`` takes."""

    def __init__(self, images: int, data: str) -> None:
        # The table lists the breeds mixed; the sheer number is what counts here.
        self.manifest: Manifest = inspect_all(read_images(SHARED / data).select(range(images)))
        backbone = load_backbone(FitSettings.model)
        self.spec = backbone.spec.whole()
        self.parts: Cut = cut(backbone.module, "head", input_shape=(3, self.spec.height, self.spec.width))
        self.name = backbone.name
        self.engine: Engine = self.opened(BATCH)

    def opened(self, batch: int) -> Engine:
        """The frozen part, ready to run so many pictures at a time."""
        return open_engine(self.parts.prefix, self.spec, batch=batch, device="cpu")

    def space(self, name: str) -> Space:
        """An empty one."""
        facts = FeatureSpace(
            model=self.name,
            weights=digest(self.parts.prefix),
            cut=self.parts.name,
            spec=self.spec,
            precision=self.engine.precision,
            dtype="float16",
            shape=self.parts.feature_shape,
        )
        return FeatureStore(emptied(name)).space(facts)

    def decode(self) -> None:
        """Read, decode and resize, and nothing else."""
        for _ in self._views():
            pass

    def batches(self, count: int) -> list[np.ndarray]:
        """Decoded pictures, in memory."""
        return [np.stack(views.images) for views in islice(self._views(), count)]

    def extract(self) -> None:
        """All of it, into an empty store."""
        space = self.space("extraction")
        extract(self.manifest, space, self.spec, open_run=lambda: self.engine, batch=BATCH, max_pixels=PIXELS)
        assert len(space) == len(set(self.manifest.hashes))

    def _views(self):  # type: ignore[no-untyped-def]
        return read_views(self.manifest, range(len(self.manifest)), self.spec, batch=BATCH, max_pixels=PIXELS)


def rates(images: int, taken: list[float]) -> dict[str, float]:
    """Pictures a second."""
    return spread([round(images / seconds, 1) for seconds in taken])


def profile(images: int, place: Path) -> dict[str, float]:
    """Where the threads are, by function, while features are computed; shares of the samples."""
    spy = peer("py-spy", "py-spy").with_name("py-spy")
    raw = ROOT / "build" / "extraction.raw"
    command = [sys.executable, __file__, "--only-extract", "--images", str(images)]
    # --gil is not given: decoding and the engine let go of it, and are what is looked for.
    subprocess.run(
        [spy, "record", "--format", "raw", "--rate", "100", "--threads", "-o", raw, "--", *command], check=True
    )
    own: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame for frame in stack.split(";") if not frame.startswith(("process", "thread"))]
        if not any("extract.py" in frame or "views.py" in frame for frame in frames):
            continue  # imports, and the preparation of the engine
        own[frames[-1]] += int(count)
        for step, sign in STEPS.items():
            if any(sign in frame for frame in frames):
                inside[step] += int(count)
                break
        else:
            inside["the rest"] += int(count)
    total = sum(own.values())
    shares = {step: round(count / total, 3) for step, count in inside.most_common()}
    lines = [f"{total} samples of running threads, by what they were in:", ""]
    lines += [f"{share:7.1%}  {step}" for step, share in shares.items()]
    lines += ["", "the innermost functions:", ""]
    lines += [f"{count / total:7.1%}  {frame}" for frame, count in own.most_common(25)]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("\n".join(lines) + "\n")
    print(place.read_text())
    return shares


STEPS = {  # from the most particular to the widest: the first that is on the stack is where a sample counts
    "the engine (forward)": "__call__ (headstart/models/engine.py",
    "writing to the store": "append (headstart/features/store.py",
    "reading files": "read_source",
    "hashing files": "content_hash",
    "decoding": "decode (headstart/data/decode.py",
    "resizing": "evaluation_view",
    "waiting for decoded pictures": "result (concurrent/futures",
    "stacking batches": "stack (numpy",
}


def main() -> None:
    """Each alternately, so that a slow minute of the machine meets all."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--times", type=int, default=5)
    arguments.add_argument("--images", type=int, default=4000)
    arguments.add_argument("--data", default="dogs120")
    arguments.add_argument("--profile", action="store_true")
    arguments.add_argument("--quick", action="store_true", help="200 pictures: only whether it runs")
    arguments.add_argument("--only-extract", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.quick:
        given.times, given.images = 1, 200
    work = Work(given.images, given.data)
    if given.only_extract:
        work.extract()
        return
    batches = work.batches(min(80, given.images // BATCH))
    pictures = np.concatenate(batches)
    engines = {batch: work.opened(batch) for batch in OTHERS}
    decoding, forward, whole = [], [], []
    by_batch: dict[int, list[float]] = {batch: [] for batch in OTHERS}
    for number in range(given.times):
        first = int(number == 0)
        decoding += times_of(work.decode, 1, before=first)
        forward += times_of(lambda: [work.engine(batch) for batch in batches], 1, before=first)
        whole += times_of(work.extract, 1, before=first)
        for batch, engine in engines.items():
            by_batch[batch] += times_of(partial(engine, pictures), 1, before=first)
    images = len(work.manifest)
    decode, run, both = rates(images, decoding), rates(len(pictures), forward), rates(images, whole)
    limit = 1 / (1 / decode["median"] + 1 / run["median"])
    figures = {
        "images": images,
        "engine": f"{work.engine.name} {work.engine.precision}, batches of {BATCH}",
        "cores": len(os.sched_getaffinity(0)),
        "decoding_alone_per_s": decode,
        "forward_alone_per_s": run,
        "extraction_per_s": both,
        "forward_alone_by_batch_per_s": {batch: rates(len(pictures), taken) for batch, taken in by_batch.items()},
        "share_of_forward_alone": round(both["median"] / run["median"], 3),
        "limit_where_both_share_the_cores_per_s": round(limit, 1),
        "share_of_that_limit": round(both["median"] / limit, 3),
    }
    if given.profile:
        place = (TRIAL if given.quick else RESULTS) / "extraction-profile.txt"
        figures["profile_shares"] = profile(given.images, place)
    keep("extraction", figures, quick=given.quick)


if __name__ == "__main__":
    main()
