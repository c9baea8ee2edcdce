"""Files to features on a GPU: the limits of reading, decoding, resizing and the network, the chain, and whole commands.

    python -m benchmarks.speed.gpu_extraction [--seconds 260] [--images 20000] [--quick]

Without a GPU it measures nothing, unless --device cpu asks for the same chain on a processor, which only shows that the
script runs. No data set is needed (gpu_images.py). A section that would not end within --seconds is skipped and states
so; figures are saved after each section, and shown as they are measured.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from benchmarks.harness import ROOT, Figures, empty_folder, read_json, run, save, spread, times_of
from benchmarks.speed.gpu_images import SIZE, write_images
from benchmarks.speed.gpu_stress import cause, stress
from benchmarks.speed.sampled import shares_of_threads
from PIL import Image

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings, FitSettings
from headstart.data.decode import content_hash
from headstart.data.device_decoder import DECODERS, DeviceDecoder, decode_files
from headstart.data.inspection import inspect_all
from headstart.data.jpeg_header import plain_layout
from headstart.data.manifest import Manifest
from headstart.data.readers import view_reader
from headstart.data.resampling import evaluation_views
from headstart.data.sources.read import read_images
from headstart.data.transforms import evaluation_view
from headstart.execution import open_executor
from headstart.features.extractor import extract_features
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore
from headstart.inference.engine import Engine, open_engine
from headstart.models.backbone import Backbone, digest, load_backbone
from headstart.models.cut import Cut, cut

MODEL = "tf_efficientnet_lite0"
MAX_PIXELS = FitSettings.max_pixels
FIT_IMAGES = 8000


class Work:
    """The images, the network and its engine."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.device = given.device
        self.batch = 8 if given.quick else 256
        self.decoder = {device: name for name, device in DECODERS.items()}[given.device]
        self.folder: Path = given.images_folder
        self.backbone: Backbone = load_backbone(MODEL)
        self.spec = self.backbone.spec.whole()
        shape = (3, self.spec.height, self.spec.width)
        self.parts: Cut = cut(self.backbone.module, "head", input_shape=shape)
        self.plain = read_images(self.folder)
        self.sample = [Path(uri).read_bytes() for uri in self.plain.uris[:: max(1, len(self.plain) // 2048)]]
        self._engine: Engine | None = None
        self._manifest: Manifest | None = None

    @property
    def engine(self) -> Engine:
        """The frozen part, ready to run."""
        if self._engine is None:
            self._engine = open_engine(
                self.parts.prefix, self.spec, batch_size=self.batch, device=self.device, engine="torch"
            )
        return self._engine

    @property
    def manifest(self) -> Manifest:
        """With the hashes of all files, but not their sizes: quicker than an inspection, and all that is compared."""
        if self._manifest is None:
            with open_executor(len(self.plain), kind="threads") as pool:
                hashes = list(pool.map(_hash_of, self.plain.uris))
            self._manifest = self.plain.with_column("hash", hashes)
        return self._manifest

    def rate(self, work: Callable[[], object], count: int, times: int = 2, warmup: int = 1) -> Figures:
        """Images per second."""

        def until_done() -> None:
            work()
            if self.device == "cuda":
                torch.cuda.synchronize()

        return spread([round(count / each) for each in times_of(until_done, times, warmup=warmup)])

    def batches(self) -> Iterator[list[bytes]]:
        """The contents in memory, in full batches."""
        for start in range(0, len(self.sample) - self.batch + 1, self.batch):
            yield self.sample[start : start + self.batch]


def _hash_of(uri: str) -> str:
    return content_hash(Path(uri).read_bytes())


# -- sections: each returns its figures --------------------------------------------------------------------------------


def first_times(work: Work) -> Figures:
    """What is paid once per process: CUDA, the decoder, the engine."""
    found: Figures = {}

    def timed(name: str, step: Callable[[], object]) -> None:
        start = time.perf_counter()
        step()
        if work.device == "cuda":
            torch.cuda.synchronize()
        found[name] = round(time.perf_counter() - start, 2)

    timed("cuda_context_s", lambda: torch.zeros(1, device=work.device))
    decoder = DeviceDecoder(work.decoder, work.spec)
    timed("decoder_tried_s", lambda: decoder.trusted)
    timed("first_decode_s", lambda: decoder.views(work.sample[: work.batch]))
    timed("second_decode_s", lambda: decoder.views(work.sample[: work.batch]))
    timed("engine_s", lambda: work.engine)
    found["trusted"] = sorted(map(list, decoder.trusted))
    found["corners where data are missing"] = _filled(work, len(work.sample[0]))
    return found


def _filled(work: Work, size: int) -> Figures:
    """What the decoder writes where the data of a file end early: the last 8×8 pixels, twice, or that it refuses."""
    short = work.sample[0][: size * 2 // 3].rstrip(b"\xff") + b"\xff\xd9"
    found: Figures = {}
    for name in ("first", "again"):
        for value in (7, 200):  # what was in memory before
            torch.full((3, SIZE[1], SIZE[0]), value, dtype=torch.uint8, device=work.device)
            try:
                (image,) = decode_files([short], torch.device(work.device))
            except RuntimeError as error:
                found[f"{name}, {value}"] = f"refused: {str(error)[:80]}"
                continue
            corner = image[:, -8:, -8:].float().cpu()
            found[f"{name}, {value}"] = [round(float(corner.min())), round(float(corner.max()))]
    return found


def reading(work: Work) -> Figures:
    """Files per second in threads: read, with their hash, and with the look at their header."""

    def read(uri: str) -> bytes:
        return Path(uri).read_bytes()

    def in_chunks(step: Callable[[str], object], threads: int) -> None:
        uris = work.plain.uris
        chunks = [uris[start : start + 16] for start in range(0, len(uris), 16)]
        with open_executor(len(uris), workers=threads, kind="threads") as pool:
            for _ in pool.map(lambda chunk: [step(uri) for uri in chunk] and None, chunks, ahead=4 * threads):
                pass

    def hashed(uri: str) -> None:
        content_hash(read(uri))

    def looked_at(uri: str) -> None:
        content = read(uri)
        content_hash(content)
        plain_layout(content)

    def through_source(uri: str) -> None:
        content = work.plain.source(0).source.open(uri)
        content_hash(content)
        plain_layout(content)  # type: ignore[arg-type]  # a file's content is bytes

    steps = {"read": read, "read, hash": hashed, "read, hash, header": looked_at, "as headstart": through_source}
    found: Figures = {}
    for threads in (4, 8, 16):
        for name, step in steps.items():
            if threads == 8 or name == "as headstart":
                seconds = times_of(lambda step=step, threads=threads: in_chunks(step, threads), 1)  # type: ignore[misc]
                found[f"{name}, {threads} threads, per_s"] = round(len(work.plain) / seconds[0])
    return found


def device_parts(work: Work) -> Figures:
    """Images per second of each part on the device, from contents in memory."""
    device, found = torch.device(work.device), Figures()
    count = len(work.sample) // work.batch * work.batch

    def each(step: Callable[[list[bytes]], object]) -> Callable[[], None]:
        def all_batches() -> None:
            for batch in work.batches():
                step(batch)

        return all_batches

    found["decode"] = work.rate(each(lambda batch: decode_files(batch, device)), count)
    decoded = decode_files(work.sample[: work.batch], device)
    found["resize, one size"] = work.rate(
        lambda: [evaluation_views(decoded, work.spec) for _ in range(8)], 8 * work.batch
    )
    mixed = [image[:, : 375 - 3 * (number % 40), : 500 - 7 * (number % 40)] for number, image in enumerate(decoded)]
    found["resize, 40 sizes"] = work.rate(
        lambda: [evaluation_views(mixed, work.spec) for _ in range(8)], 8 * work.batch
    )
    decoder = DeviceDecoder(work.decoder, work.spec)
    found["decode, resize"] = work.rate(each(decoder.views), count)
    views = decoder.views(work.sample[: work.batch])
    found["network, recorded"] = work.rate(lambda: [work.engine(views) for _ in range(8)], 8 * work.batch)
    small = open_engine(work.parts.prefix, work.spec, batch_size=work.batch // 8, device=work.device, engine="torch")
    found["network, batch 32, not recorded"] = work.rate(lambda: small(views), work.batch, times=4)
    return found


def chain(work: Work) -> Figures:
    """Images per second from files, by the kind of readers: views alone, and features into a store."""
    manifest, found = work.manifest, Figures()
    count = len(manifest)
    options: dict[str, Any] = {"batch_size": work.batch, "max_pixels": MAX_PIXELS}

    def consume(decoder: str, workers: int | None) -> None:
        reader = view_reader(decoder)
        start, first = time.perf_counter(), 0.0
        with closing(reader(manifest, range(count), work.spec, workers=workers, **options)) as batches:
            for _ in batches:
                first = first or time.perf_counter() - start
        found["first batch after_s"] = round(first, 2)  # of the last kind of readers

    def extraction(workers: int | None = None, engine: Engine | None = None) -> None:
        parts, run = work.parts, engine or work.engine
        space = FeatureSpace(
            MODEL,
            digest(parts.prefix),
            parts.name,
            work.spec,
            run.precision,
            "float16",
            parts.feature_shape,
            work.decoder,
        )
        table = FeatureStore(empty_folder("gpu-store")).table(space)
        problems = extract_features(manifest, table, work.spec, open_engine=lambda: run, workers=workers, **options)
        if problems or len(table) != len(set(manifest.hashes)):
            raise SystemExit(f"{len(table)} features, {len(problems)} problems: {problems[:3]}")

    def measure(name: str, kind: str, step: Callable[[], object], times: int = 1) -> None:
        with patch("headstart.data.device_views.default_kind", return_value=kind):
            found[f"{name}, {kind}"] = work.rate(step, count, times, 0)
        print(json.dumps({name: found[f"{name}, {kind}"], "readers": kind}), flush=True)

    for kind, workers in (("threads", 4), ("processes", 8), ("processes", None)):
        measure(f"views, {workers or 'default'}", kind, lambda workers=workers: consume(work.decoder, workers))  # type: ignore[misc]
        measure(f"extraction, {workers or 'default'}", kind, lambda workers=workers: extraction(workers))  # type: ignore[misc]
    with patch("headstart.inference.engine._MIN_RECORDED", 1 << 30):
        eager = open_engine(work.parts.prefix, work.spec, batch_size=work.batch, device=work.device, engine="torch")
    for kind in ("threads", "processes"):
        measure("extraction, not recorded", kind, lambda: extraction(engine=eager))
    with patch("headstart.data.device_views.default_kind", return_value="processes"):
        threads = shares_of_threads(extraction)
    return found | {"threads": {name: threads[name] for name in list(threads)[:5]}}


def pixels(work: Work) -> Figures:
    """How far the device's pixels are from Pillow's, and the features with them."""
    contents = work.sample[: work.batch]
    images = [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]
    (theirs,) = _stacked(work, contents)
    ours = np.stack([evaluation_view(image, work.spec) for image in images])
    decoded = decode_files(contents, torch.device(work.device))
    whole = [
        np.abs(image.permute(1, 2, 0).cpu().numpy().astype(int) - np.asarray(other, int))
        for image, other in zip(decoded, images, strict=True)
    ]
    resized = evaluation_views(
        [torch.from_numpy(np.array(image)).movedim(2, 0).to(work.device) for image in images], work.spec
    )
    exact = np.abs(resized.cpu().numpy().astype(int) - ours.astype(int))
    differences = np.abs(theirs.astype(int) - ours.astype(int))
    one, other = (work.engine(each).reshape(len(contents), -1) for each in (theirs, ours))
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    again = work.engine(theirs).reshape(len(contents), -1)
    alone = np.concatenate([_stacked(work, [content])[0] for content in contents[:8]])
    return {
        "decoding: largest, mean difference": [
            int(max(map(np.max, whole))),
            float(np.mean([each.mean() for each in whole])),
        ],
        "resizing alone: largest, mean difference": [int(exact.max()), float(exact.mean())],
        "views: largest, mean difference": [int(differences.max()), float(differences.mean())],
        "cosine of features: least, median": [float(cosines.min()), float(np.median(cosines))],
        "same features in a second run": bool((again == one).all()),
        "same pixels alone as in a batch": bool((alone == theirs[:8]).all()),
    }


def _stacked(work: Work, contents: Sequence[bytes]) -> tuple[np.ndarray]:
    decoder = DeviceDecoder(work.decoder, work.spec)
    made = decoder.views(contents)
    if work.device == "cuda":
        torch.cuda.synchronize()
    return (made.cpu().numpy(),)


def inspection(work: Work) -> Figures:
    """Images per second of what a fit does before the features: reading and checking each file."""
    images = work.plain.select(range(min(FIT_IMAGES, len(work.plain))))
    found: Figures = {}
    for kind, workers in (("threads", 8), ("threads", 32), ("processes", 16)):
        with patch("headstart.data.inspection.default_kind", return_value=kind):
            start = time.perf_counter()
            inspect_all(images, workers=workers)
        found[f"{workers} {kind}, per_s"] = round(len(images) / (time.perf_counter() - start))
    return found


def prediction(work: Work) -> Figures:
    """Images per second of a pretrained network's predictions, in one process: by the GPU's decoder, and by Pillow."""
    classifier, count = Classifier.pretrained(MODEL), len(work.plain)
    settings = EngineSettings(device=work.device)
    found: Figures = {}
    for name in ("device", "pillow"):
        with ExitStack() as stack:
            if name == "pillow":
                stack.enter_context(patch("headstart.inference.pipeline.choose_decoder", return_value="pillow"))
            found[f"{name}, per_s"] = work.rate(lambda: classifier.infer(work.plain, settings=settings), count, 1, 0)
    return found


def imports(_: Work) -> Figures:
    """Seconds that importing takes before a fit begins, and which packages they belong to."""
    code = "import headstart.workflow.reading, headstart.workflow.fit, headstart.workflow.runs"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], check=True, capture_output=True, text=True)
    found: Figures = {"seconds": round(time.perf_counter() - start, 2)}
    seconds: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            seconds[".".join(parts[2].strip().split(".")[:1])] += int(parts[0])
    return found | {"by_package_s": {name: round(each / 1e6, 2) for name, each in seconds.most_common(12)}}


def commands(work: Work) -> Figures:
    """``headstart fit`` of 8,000 images from nothing and warm, and ``headstart predict``: main threads, sampled."""
    found: Figures = {}
    folder = empty_folder("gpu-fit")
    images = _some_images(work.folder, folder / "photos", FIT_IMAGES)
    device = ("--device", work.device)
    fit = ("fit", images, "--out", folder / "run", "--cache-dir", folder / "store", *device)
    predict = ("predict", folder / "run", work.folder, "--csv", folder / "predictions.csv", *device)
    for name, words in (("from nothing", fit), ("warm", fit), ("predict, all images", predict)):
        start, out = time.perf_counter(), folder / "sampled.json"
        try:
            run(sys.executable, "-m", "benchmarks.speed.sampled", out, *words, cwd=ROOT)
        except SystemExit as failure:  # the figures of the others are worth having
            found[name] = f"failed: {failure}"
            continue
        sampled = read_json(out)
        found[name] = {
            "seconds": round(time.perf_counter() - start, 2),
            "within python": sampled["seconds"],
            "importing": sampled["importing"],
        }
        if words is fit:
            found[name]["stages_s"] = read_json(folder / "run" / "evaluation.json")["summary"]["seconds"]
        found[name] |= {"top": sampled["top"][:25], "timeline": sampled["timeline"][:60]}
        print(name, json.dumps({key: found[name][key] for key in found[name] if key not in ("top", "timeline")}))
        for line in found[name]["top"][:16]:
            print("   ", *line, sep="  ", flush=True)
    return found


def _some_images(folder: Path, target: Path, count: int) -> Path:
    for path in sorted(folder.rglob("*.jpg"), key=lambda path: path.name)[:count]:
        place = target / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, place)
    return target


SECTIONS: dict[str, tuple[Callable[[Work], Figures], int]] = {  # with the seconds that each may take
    "stress": (stress, 80),
    "first_times": (first_times, 20),
    "imports": (imports, 15),
    "chain": (chain, 40),
    "prediction": (prediction, 15),
    "commands": (commands, 65),
    "pixels": (pixels, 10),
    "device_parts": (device_parts, 20),
    "inspection": (inspection, 15),
    "reading": (reading, 20),
    "cause": (cause, 12),  # the last one, since it may end the process
}


def main() -> None:
    """Section by section, while there is time."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=260)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--sections", nargs="*", default=list(SECTIONS))
    parser.add_argument("--device", choices=DECODERS.values(), default="cuda")
    parser.add_argument("--quick", action="store_true", help="few images: shows only that the script runs")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: nothing is measured")
        return
    if given.quick:
        given.images = 60
    start = time.monotonic()
    given.images_folder = write_images(empty_folder("gpu-images"), given.images)
    figures: Figures = {
        "gpu": torch.cuda.get_device_name() if given.device == "cuda" else "none",
        "images": f"{given.images} JPEGs of {SIZE[0]}×{SIZE[1]}",
        "cores": len(os.sched_getaffinity(0)),
        "making_images_s": round(time.monotonic() - start, 1),
    }
    work = Work(given)
    for name, (section, needed) in _chosen(given.sections):
        began = time.monotonic()
        left = given.seconds - (began - start)
        if needed > left:
            figures[name] = f"skipped: {left:.0f} s were left, and it may take {needed} s"
            continue
        try:
            figures[name] = section(work)
        except (Exception, SystemExit) as failure:  # the figures of the other sections are worth having
            figures[name] = f"failed: {type(failure).__name__}: {failure}"
            traceback.print_exc()
        if name not in ("stress", "commands"):  # which have shown theirs
            print(json.dumps({name: figures[name]}))
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        path = save("speed/gpu_extraction", figures, quick=given.quick or given.device != "cuda", show=False)
        if out := os.environ.get("OUT"):
            (Path(out) / path.name).write_bytes(path.read_bytes())
    print(f"saved: {path}")


def _chosen(names: Iterable[str]) -> list[tuple[str, tuple[Callable[[Work], Figures], int]]]:
    return [(name, SECTIONS[name]) for name in names]


if __name__ == "__main__":
    main()
