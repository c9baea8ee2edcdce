"""Memory, commits and files of a fit with two workers of a cluster, from 10,000 to 1,000,000 images.

    python -m benchmarks.scale.cluster_million [--images 10000 100000 1000000] [--quick]

The images are small JPEGs in Arrow files, which are mapped into memory, so that what is counted is what headstart
allocates. 100 pictures of noise repeat, each time with another number in a comment: contents differ, so that each image
is read, inspected, computed and stored. The network is timm's test_resnet at 32 x 32 pixels with random weights.
Each size runs in a process of its own, the driver: it lists the images, inspects them, and lets ``--cluster local:2``
compute their features. A second extraction in the same process finds nothing to do, and a fit with these settings draws
the splits, solves the head and evaluates it. A thread samples the anonymous memory (``RssAnon``) of the driver and of
Ray's workers ten times a second; the peaks of each stage are recorded, and what the table looks like before and after
its fragments are joined. The seconds are of a machine that does other work too.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.harness import BUILD, ROOT, Figures, earlier, empty_folder, module, run, save

SIZES = (10_000, 100_000, 1_000_000)
PICTURES, CLASSES, SIDE, PER_FILE = 100, 10, 32, 100_000
MODEL = "test_resnet"


def write_images(count: int) -> Path:
    """A folder of Arrow files with so many images, no two with the same content."""
    import io

    import numpy as np
    import pyarrow as pa
    from PIL import Image

    folder, rng = empty_folder("cluster-million/images"), np.random.default_rng(0)
    pictures = []
    for _ in range(PICTURES):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), np.uint8)).save(buffer, "JPEG", quality=10)
        pictures.append(buffer.getvalue())
    schema = pa.schema({"image": pa.binary(), "label": pa.string()})
    for start in range(0, count, PER_FILE):
        with pa.OSFile(str(folder / f"{start:07}.arrow"), "wb") as out, pa.ipc.new_file(out, schema) as writer:
            for first in range(start, min(start + PER_FILE, count), 1000):
                numbers = range(first, min(first + 1000, count))
                # After the mark of the start of the image: a comment of 8 bytes, with its length of 10.
                images = [
                    each[:2] + b"\xff\xfe\x00\x0a" + number.to_bytes(8, "big") + each[2:]
                    for number in numbers
                    for each in (pictures[number % PICTURES],)
                ]
                labels = [f"class {number % CLASSES}" for number in numbers]
                writer.write_batch(pa.record_batch([images, labels], schema=schema))
    return folder


class Memory(threading.Thread):
    """Samples the anonymous memory of this process and of its Ray workers."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.driver = self.worker = 0  # peaks since the last reading, bytes
        self._workers: set[int] = set()
        self._looked = 0.0

    def run(self) -> None:
        """Sample until the end."""
        while not self.ended.wait(0.1):
            self.driver = max(self.driver, anonymous("self"))
            if time.monotonic() - self._looked > 2:  # listing all processes takes milliseconds
                self._workers, self._looked = ray_workers(), time.monotonic()
            self.worker = max([self.worker, *map(anonymous, self._workers)])

    def peaks(self) -> Figures:
        """The peaks since the last call, MB."""
        found = {"driver_mb": round(self.driver / 1e6), "largest_worker_mb": round(self.worker / 1e6)}
        self.driver = self.worker = 0
        return found


def anonymous(process: int | str) -> int:
    """The anonymous memory of a process, bytes; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:")), 0)


def processes() -> tuple[dict[int, int], dict[int, bytes]]:
    """The parent and the command line of each process."""
    parents, names = {}, {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):  # another file, or the process has ended
            number = int(folder.name)
            parents[number] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names[number] = (folder / "cmdline").read_bytes()
    return parents, names


def below(process: int) -> list[int]:
    """The descendants of a process."""
    parents, _ = processes()
    found = [process]
    for above in found:  # which grows
        found += [each for each, parent in parents.items() if parent == above]
    return found[1:]


def is_actor(name: bytes) -> bool:
    """Whether a process with this command line is a worker of headstart."""
    return name.startswith(b"ray::_Worker")  # not an agent of Ray


def ray_workers() -> set[int]:
    """Descendants of this process that are workers of headstart."""
    names = processes()[1]
    return {each for each in below(os.getpid()) if is_actor(names.get(each, b""))}


@contextmanager
def stage(name: str, memory: Memory, found: Figures) -> Iterator[None]:
    """Record the seconds and peaks of a stage."""
    memory.peaks()
    start = time.monotonic()
    yield
    time.sleep(0.3)
    found[name] = {"seconds": round(time.monotonic() - start, 1), **memory.peaks()}
    print(name, found[name], flush=True)


def files_of(table: Any) -> Figures:
    """Fragments, versions and files of a table of features."""
    import lance

    dataset = lance.dataset(str(table.path))
    return {
        "rows": len(table),
        "fragments": len(dataset.get_fragments()),
        "version": dataset.version,
        "files": sum(1 for path in table.path.rglob("*") if path.is_file()),
        "mb": round(table.bytes / 1e6, 1),
    }


def measure(count: int) -> Figures:
    """List, inspect and compute."""
    import headstart as hs
    from headstart.config import FitSettings
    from headstart.data.inspection import inspect_all
    from headstart.data.inspection_cache import InspectionCache
    from headstart.events import Events
    from headstart.features.table import FeatureTable
    from headstart.workflow.candidates import open_candidate
    from headstart.workflow.fit import fit

    store = empty_folder("cluster-million/cache")
    asked = {"cache_dir": str(store), "cluster": "local:2", "weights": "random", "size": SIDE}
    extractor = open_candidate(MODEL, FitSettings.of(**asked), classes=CLASSES, events=Events()).extractor
    counts = {"commits": 0}
    before: Figures = {}
    commit, compact = FeatureTable.commit, FeatureTable.compact

    def counted(table: FeatureTable, fragments: Any) -> None:
        counts["commits"] += bool(fragments)
        commit(table, fragments)

    def looked_at(table: FeatureTable) -> None:
        before.update(files_of(table))
        compact(table)

    FeatureTable.commit, FeatureTable.compact = counted, looked_at  # type: ignore[assignment, method-assign]
    found: Figures = {"images": count}
    memory = Memory()
    memory.start()
    time.sleep(0.3)
    found["at_the_start"] = memory.peaks()
    with stage("listing", memory, found):
        manifest = hs.read_images(str(BUILD / "cluster-million" / "images"))
    with stage("inspection", memory, found):
        manifest = inspect_all(manifest, cache=InspectionCache(store / "inspections.parquet"))
    with stage("extraction", memory, found):
        assert extractor.compute(manifest, events=Events()) == []
    found |= {**counts, "before_joining": dict(before), "after_joining": files_of(extractor.table)}
    with stage("nothing_left", memory, found):
        assert extractor.compute(manifest, events=Events()) == []
    assert extractor.table.prune(alone=True)
    found["after_prune"] = files_of(extractor.table)
    found["corrupt_rows"] = extractor.table.verify()
    assert found["after_prune"]["rows"] == count, found
    del manifest
    with stage("fit", memory, found):
        # The pictures repeat: all images would be near-duplicates.
        images = hs.read_images(str(BUILD / "cluster-million" / "images"))
        fitted = fit(images, FitSettings.of(**asked, model=MODEL, train="head", near_duplicates="ignore"))
        assert len(fitted.manifest) == count
    memory.ended.set()
    return found


def main() -> None:
    """Each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--images", type=int, nargs="+", default=list(SIZES), help="keep the saved figures of others")
    parser.add_argument("--quick", action="store_true", help="2,000 images, for a look")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one)))
        return
    sizes = [2000] if given.quick else given.images
    names = [f"{size:,} images" for size in (*SIZES, *sizes)]
    figures = {} if given.quick else earlier("scale/cluster_million", names)
    for size in sizes:
        write_images(size)
        figures[f"{size:,} images"] = run(*module("benchmarks.scale.cluster_million", "--one", size), cwd=ROOT).report()
        figures = {name: figures[name] for name in sorted(figures, key=lambda name: figures[name]["images"])}
        save("scale/cluster_million", figures, quick=given.quick)


if __name__ == "__main__":
    main()
