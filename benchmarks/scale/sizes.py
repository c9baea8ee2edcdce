"""What a fit on a cluster takes at a million, a hundred million and a billion images: docs/scale.md prints this table.

    python -m benchmarks.scale.sizes [--measure] [--workers 16 256 2048] [--core-hour 0.04] [--gpu-hour 2.50]

Rates come from measured results; :data:`ASSUMED` are assumptions. ``--measure`` measures what this process keeps per
image while workers compute features, on 2 and 5 million made-up rows of which no features are stored.
"""

from __future__ import annotations

import argparse
import json

from benchmarks.harness import Figures, empty_folder, module, read_json, result_path, run, save

ROWS = (2_000_000, 5_000_000)
IMAGES = (10**6, 10**8, 10**9)
ASSUMED = {
    "bytes_per_image": 110_000,  # of a JPEG file; the mean of ImageNet
    "classes": 1000,
    "validation_share": 0.2,
    "passes": 300,  # of the head over the training images, as its forecast assumes
    "flops_per_core_second": 40e9,  # of float32 products, on one core with AVX2
    "inspected_per_second": 2300,  # on two cores: reading and hashing are 13.6 % of benchmarks.speed.extraction
    "gpu_images_per_second": 5201,  # one process on an H200 with 16 cores, benchmarks.speed.gpu_extraction
}
VALUES, ROW_OVERHEAD = 2064, 24  # EfficientNet-Lite0 with its stages in float16; key, view and checksum of a row
SHARD, SECONDS_PER_COMMIT = 512, 5.0
HEAD_SHARDS, KEPT = 256, 1 << 30  # at most: of the head, and bytes of them that a worker keeps
STEP = 20_000  # rows that are made at a time
BYTES_PER_FRAGMENT = 87  # of a version's manifest, which lists all fragments; measured on 50 to 200 of them


def driver_peak(rows: int) -> float:
    """Peak memory in bytes of this process where it prepares the shards of so many images."""
    import resource

    import numpy as np
    import pyarrow as pa

    from headstart.data.manifest import Manifest
    from headstart.data.spec import InputSpec
    from headstart.features import distributed, extractor
    from headstart.features.key import FeatureSpace
    from headstart.features.missing import keys_from_hex
    from headstart.features.store import FeatureStore

    space = FeatureSpace("sizes", "0" * 32, "pool", InputSpec(), "float32", "float16", (VALUES,))
    store = FeatureStore(empty_folder("sizes-store")).table(space)
    parts = []
    for start in range(0, rows, STEP):  # as they are inspected: lists are for some rows at a time
        numbers = range(start, min(start + STEP, rows))
        part = Manifest.from_rows([f"file:///data/photos/class_{row % 1000:04}/{row:09}.jpg" for row in numbers])
        parts.append(part.with_column("hash", [f"{row:032x}" for row in numbers]).table)
    manifest = Manifest(pa.concat_tables(parts))
    del parts, part
    prepared = 0
    for _, block in extractor._blocks(manifest):
        missing = extractor.find_missing(store, keys_from_hex(block.table["hash"]), np.arange(len(block)), (0,))
        prepared += sum(len(each) for each in distributed._shards(block, missing, 512))
    assert prepared == rows, prepared
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def worked_out(
    images: int, workers: int, *, rate: float, driver_bytes: float, prices: tuple[float, float]
) -> list[str]:
    """A column of the table: for so many images on so many one-core workers.

    :param rate: images per second of a one-core worker.
    :param driver_bytes: memory per image of the process that was started.
    :param prices: of a core hour and a GPU hour.
    """
    core, gpu = prices
    extraction = images / rate / 3600  # core hours
    flops = 4 * VALUES * ASSUMED["classes"] * ASSUMED["passes"]
    trained = images * (1 - ASSUMED["validation_share"])
    head = trained * flops / ASSUMED["flops_per_core_second"] / 3600
    solving = min(workers, HEAD_SHARDS)
    hours = extraction / workers
    fragments = -(-images // SHARD)
    commits = max(1, min(fragments, round(hours * 3600 / SECONDS_PER_COMMIT)))
    logits = images * ASSUMED["validation_share"] * ASSUMED["classes"] * 4
    return [
        f"{workers:,}",
        size(2 * images * ASSUMED["bytes_per_image"]),
        size(images * (2 * VALUES + ROW_OVERHEAD)),
        duration(images / ASSUMED["inspected_per_second"] / 3600),
        f"{extraction:,.1f} core hours, {duration(hours)}",
        f"{fragments:,} in {commits:,} commits",
        size(commits * fragments * BYTES_PER_FRAGMENT / 2),
        f"{head:,.0f} core hours, {duration(head / solving)} by {solving} workers",
        size(max(0.0, trained * 2 * VALUES - solving * KEPT)),
        size(images * driver_bytes),
        size(logits),
        f"${extraction * core:,.2f} and ${head * core:,.2f}",
        f"${images / ASSUMED['gpu_images_per_second'] / 3600 * gpu:,.2f}",
    ]


LINES = [
    "one-core workers",
    "read: each file twice (inspection, features)",
    "feature store, float16",
    "inspection, in one process of two cores",
    "features",
    "fragments of 512 images",
    "written for the versions of the store",
    "head, 1,000 classes, 300 passes",
    "read from the store in each pass of the head",
    "memory of the process that was started, features",
    "logits of the validation images, which it holds",
    "cores for features and for the head",
    "one GPU for the features instead, if it reads as fast",
]


def size(value: float) -> str:
    """Bytes in a unit that suits.

    >>> size(4.2e9), size(2.2e14), size(0)
    ('4.2 GB', '220 TB', 'nothing')
    """
    if not value:
        return "nothing"
    for unit, one in (("TB", 1e12), ("GB", 1e9)):
        if value >= one:
            return f"{value / one:,.3g} {unit}"
    return f"{value / 1e6:,.3g} MB"


def duration(hours: float) -> str:
    """Hours in a unit that suits.

    >>> duration(0.05), duration(3), duration(121)
    ('3 min', '3 h', '5 days')
    """
    if hours < 1:
        return f"{hours * 60:.2g} min"
    return f"{hours:.2g} h" if hours < 48 else f"{hours / 24:.2g} days"


def lines(workers: list[int], measured: Figures, rate: float, prices: tuple[float, float]) -> list[str]:
    """The table as Markdown."""
    columns = [
        worked_out(images, count, rate=rate, driver_bytes=measured["driver_bytes_per_image"], prices=prices)
        for images, count in zip(IMAGES, workers, strict=True)
    ]
    head = ["", *(f"{images:,} images" for images in IMAGES)]
    rows = [[name, *cells] for name, cells in zip(LINES, zip(*columns, strict=True), strict=True)]
    return [f"| {' | '.join(each)} |" for each in [head, ["---"] * len(head), *rows]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--measure", action="store_true", help="measure the memory of this process per image again")
    parser.add_argument("--workers", nargs=3, type=int, default=[16, 256, 2048], metavar="N", help="at each size")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of a core for an hour, in dollars")
    parser.add_argument("--gpu-hour", type=float, default=2.50, help="price of a GPU with its cores for an hour")
    parser.add_argument("--quick", action="store_true", help="as --measure, on 1,000 and 2,000 rows")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps({"peak": driver_peak(given.one)}))
        return
    if given.measure or given.quick:
        rows = (1000, 2000) if given.quick else ROWS
        low, high = (run(*module("benchmarks.scale.sizes", "--one", each)).report()["peak"] for each in rows)
        per_image = round((high - low) / (rows[1] - rows[0]))
        save("scale/sizes", {"driver_bytes_per_image": per_image, "rows": rows}, quick=given.quick, show=False)
    measured = read_json(result_path("scale/sizes", quick=given.quick))
    rate = read_json(result_path("scale/cluster"))["one worker"]["images_per_s"]
    print("\n".join(lines(given.workers, measured, rate, (given.core_hour, given.gpu_hour))))


if __name__ == "__main__":
    main()
