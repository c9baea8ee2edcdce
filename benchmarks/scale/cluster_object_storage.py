"""A fit and a prediction by machines of a Ray cluster that have object storage in common, and no folder.

    sudo python -m benchmarks.scale.cluster_object_storage [--quick]

The cluster has two nodes of one core, each in a network namespace of this machine (needs root and the command ``ip``).
The second one sees an empty folder where the first one has the cache and the run. Images, features and the run are in a
bucket of moto's server of S3's protocol, on the first node. The same is done by one process with a folder for its
features, and compared: the features of both byte for byte, and the figures.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.faults import state_of
from benchmarks.harness import HEADSTART, SHARED, Figures, run, save
from benchmarks.scale import cluster_faults
from benchmarks.scale.cluster_faults import SPACE, Nodes, address, network

S3_PORT, PER_CLASS = 9123, 100
IMAGES, FEATURES, RUN = "s3://bucket/photos", "s3://bucket/features", "s3://bucket/runs/trash"


def files() -> object:
    """The file system of the server."""
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False)


def upload(per_class: int) -> int:
    """Put images of trash6 into a new bucket; return their number."""
    system, count = files(), 0
    system.mkdir("bucket")
    for folder in sorted((SHARED / "trash6").iterdir()):
        for path in sorted(folder.glob("*.jpg"))[:per_class]:
            system.put_file(str(path), f"bucket/photos/{folder.name}/{path.name}")
            count += 1
    return count


def rows_of(place: str) -> tuple[int, str]:
    """The rows of the only table at a place as a number and a digest."""
    from headstart.features.location import feature_location
    from headstart.features.store import FeatureStore

    (table,) = FeatureStore(feature_location(feature_store=place)).tables()
    found = table._dataset().to_table().sort_by([("image", "ascending"), ("view", "ascending")])
    digest = hashlib.blake2b()
    for name in ("image", "view", "crc"):  # of the features
        digest.update(repr(found[name].to_pylist()).encode())
    assert table.verify() == 0
    return len(found), digest.hexdigest()


def predicted(path: Path) -> list[list[str]]:
    """The lines of a table of predictions."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


def inside(step: str, *words: object) -> str:
    """Run this script on the first node for one step, or headstart."""
    command = [sys.executable, "-m", "benchmarks.scale.cluster_object_storage", "--step", *words]
    if step == "headstart":
        command = [HEADSTART, *words]
    return run("ip", "netns", "exec", SPACE.format(0), *command).stdout


def compare(hidden: Path, nodes: Nodes, images: int) -> Figures:
    """By the cluster, and by one process."""
    nodes.start()
    cluster = ("--cluster", f"{address(0)}:{cluster_faults.PORT}", "--device", "cpu")
    fit = ("fit", IMAGES, "--train", "head", "--device", "cpu")
    start = time.monotonic()
    inside("headstart", *fit, *cluster[:2], "--feature-store", FEATURES, "--out", hidden / "run")
    seconds = time.monotonic() - start
    inside("headstart", "push", hidden / "run", RUN)
    inside("headstart", "predict", RUN, IMAGES, *cluster, "--csv", hidden / "far.csv")
    inside("headstart", *fit, "--feature-store", hidden / "features", "--out", hidden / "alone")
    inside("headstart", "predict", hidden / "alone", IMAGES, "--device", "cpu", "--csv", hidden / "near.csv")
    there, here = (inside("rows", "rows", place).split() for place in (FEATURES, hidden / "features"))
    return {
        "images": images,
        "rows": int(there[0]),
        "fit_s": round(seconds, 1),
        "same_features": there == here,
        "same_run": state_of(hidden / "run") == state_of(hidden / "alone"),
        "same_predictions": predicted(hidden / "far.csv") == predicted(hidden / "near.csv"),
        "features_in_the_cache": (hidden / "cache" / "features").exists(),
    }


def main() -> None:
    """Start all of it, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 images of each class")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        step, argument = given.step
        print(upload(int(argument)) if step == "upload" else " ".join(map(str, rows_of(argument))))
        return
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex())
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_REGION="us-east-1")
    os.environ["AWS_ENDPOINT_URL"] = f"http://{address(0)}:{S3_PORT}"
    with ExitStack() as stack:
        folder, hidden = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hs-", ignore_cleanup_errors=True)))
            for _ in range(2)
        )
        os.environ["HEADSTART_CACHE"] = str(hidden / "cache")
        stack.enter_context(network())
        words = [sys.executable, "-m", "moto.server", "-H", address(0), "-p", str(S3_PORT)]
        log = stack.enter_context((folder / "server.log").open("wb"))
        server = subprocess.Popen(["ip", "netns", "exec", SPACE.format(0), *words], stdout=log, stderr=log)
        stack.callback(server.kill)
        time.sleep(5)
        images = int(inside("upload", "upload", 20 if given.quick else PER_CLASS))
        nodes = Nodes(folder, hidden=hidden)
        stack.callback(nodes.stop)
        figures = compare(hidden, nodes, images)
    save("scale/cluster_object_storage", figures, quick=given.quick)
    same = all(found for name, found in figures.items() if name.startswith("same"))
    sys.exit(0 if same and not figures["features_in_the_cache"] else "the results differ")


if __name__ == "__main__":
    main()
