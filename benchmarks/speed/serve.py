"""``headstart serve`` under load: requests per second, latency, share of the rate of ``headstart predict``, memory.

    python -m benchmarks.speed.serve [--seconds 300] [--clients 32] [--workers 1] [--peers torch litserve] [--quick]

Clients and server are on one machine and share its cores. Each client sends one image per request over a connection of
its own, and waits for the answer; the images are originals of ../shared/data/kaggle-dogs-240. The network is
EfficientNet-Lite0 in bfloat16 where the processor computes with it. The bulk rate is that of the same images and the
same number of them, from files, with the network loaded. Memory is the resident memory of the server and its worker
processes, each second; the slope is that of least squares over the second half, with its standard error. The peers
are a server of 40 lines (peers/serve_torch.py) and LitServe (peers/serve_litserve.py), which gets the images in JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from benchmarks.harness import HERE, SHARED, Figures, peer_python, save

IMAGES = SHARED / "kaggle-dogs-240"
MODEL = "tf_efficientnet_lite0"


def request_of(contents: list[bytes]) -> bytes:
    """A request with one or more images, as the bytes of a connection."""
    edge = b"headstart-benchmark"
    part = b'--%b\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n%b\r\n'
    body = b"".join(part % (edge, content) for content in contents) + b"--%b--\r\n" % edge
    head = (
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
        b"Content-Type: multipart/form-data; boundary=%b\r\nContent-Length: %d\r\n\r\n"
    )
    return head % (edge, len(body)) + body


def json_request_of(contents: list[bytes]) -> bytes:
    """A request with one image in base64, for LitServe."""
    (content,) = contents
    body = json.dumps({"image": base64.b64encode(content).decode()}).encode()
    head = (
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    return head % len(body) + body


def peer_command(name: str) -> list[object]:
    """The command of a peer, but for its port."""
    python: str | Path = sys.executable
    if name == "litserve":
        python = peer_python("litserve", "litserve", shared=True)
    return [python, HERE / "peers" / f"serve_{name}.py"]


PEERS = {"torch": request_of, "litserve": json_request_of}  # how an image is sent to each


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> int:
    """Send a request, read the answer, and return its status."""
    writer.write(data)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


async def load(port: int, requests: list[bytes], *, clients: int, seconds: float) -> tuple[list[float], list[int]]:
    """Let the clients ask for some seconds; return the seconds and the status of each answer."""
    taken: list[float] = []
    statuses: list[int] = []
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = number
        while (began := time.perf_counter()) < end:
            statuses.append(await ask(reader, writer, requests[count % len(requests)]))
            taken.append(time.perf_counter() - began)
            count += clients
        writer.close()

    await asyncio.gather(*map(client, range(clients)))
    return taken, statuses


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*"):
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def resident(pid: int) -> float:
    """Megabytes of a process and its descendants; what they share is counted in each."""
    total = 0
    for each in family(pid):
        with suppress(OSError):
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total / 1e6


async def watch(pid: int, samples: list[tuple[float, float]]) -> None:
    """Note the memory each second."""
    while True:
        samples.append((time.perf_counter(), resident(pid)))
        await asyncio.sleep(1)


def slope(samples: list[tuple[float, float]]) -> dict[str, float]:
    """Megabytes per minute in the second half, with the standard error of the least squares."""
    second = np.array(samples[len(samples) // 2 :])
    x, y = (second[:, 0] - second[:, 0].mean()) / 60, second[:, 1]
    if len(x) < 3:
        return {"mb_per_minute": 0.0, "error": float("inf")}
    rate = float(x @ y / (x @ x))
    rest = y - y.mean() - rate * x
    return {"mb_per_minute": rate, "error": float(np.sqrt(rest @ rest / (len(x) - 2) / (x @ x)))}


@contextmanager
def served(*command: object) -> Iterator[tuple[int, int]]:
    """Start a server; yield its process and its port, once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # A session of its own: worker processes that outlive the server are ended with it.
    process = subprocess.Popen([*map(str, command), str(port)], start_new_session=True)
    try:
        wait_until_ready(process, port)
        yield process.pid, port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_until_ready(process: subprocess.Popen[bytes], port: int, seconds: float = 180) -> None:
    """Ask a server until it is ready; end if it has ended, or takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            if b" 200 " in connection.recv(64):
                return
        time.sleep(0.2)
    raise SystemExit(f"{process.args!r} is not ready: it ended, or took more than {seconds:g} seconds")


async def measure(pid: int, port: int, requests: list[bytes], *, clients: int, seconds: float) -> Figures:
    """The figures of one server."""
    await load(port, requests, clients=clients, seconds=min(5.0, seconds))
    samples: list[tuple[float, float]] = []
    watching = asyncio.create_task(watch(pid, samples))
    began = time.perf_counter()
    taken, statuses = await load(port, requests, clients=clients, seconds=seconds)
    wall = time.perf_counter() - began
    watching.cancel()
    return {
        "requests": len(statuses),
        "errors": sum(status != 200 for status in statuses),
        "per_second": len(statuses) / wall,
        "p50_ms": float(np.percentile(taken, 50)) * 1000,
        "p99_ms": float(np.percentile(taken, 99)) * 1000,
        "memory_mb": samples[-1][1],
        "memory_slope": slope(samples),
    }


def bulk(images: list[Path]) -> float:
    """Images per second of ``predict`` from files, the network loaded, the better of two."""
    script = """
import sys, time
from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings
from headstart.data.manifest import Manifest
from headstart.inference.engine import choose_precision
from pathlib import Path
manifest = Manifest.from_rows([Path(each) for each in sys.stdin.read().split("\\n")])
classifier, rates = Classifier.pretrained(sys.argv[1]), []
settings = EngineSettings(device="cpu", engine="openvino", precision=choose_precision("auto", "cpu"))
for _ in range(3):
    began = time.perf_counter()
    classifier.infer(manifest, settings=settings)
    rates.append(len(manifest) / (time.perf_counter() - began))
print(max(rates[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, MODEL],
        input="\n".join(map(str, images)),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    seconds = 5.0 if given.quick else given.seconds
    images = sorted(path for path in IMAGES.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    contents = [image.read_bytes() for image in images]
    requests = [request_of([content]) for content in contents]
    options = {"clients": given.clients, "seconds": seconds}
    from headstart.inference.engine import choose_precision

    command = [sys.executable, "-m", "headstart.cli", "serve", MODEL, "--precision", choose_precision("auto", "cpu")]
    figures: Figures = {
        "images": len(images),
        "mean_kb": sum(path.stat().st_size for path in images) / len(images) / 1000,
        **options,
        "bulk_per_second": bulk(images),
    }
    with served(*command, "--workers", given.workers, "--port") as (pid, port):
        figures["headstart"] = asyncio.run(measure(pid, port, requests, **options))
    figures["share_of_bulk"] = figures["headstart"]["per_second"] / figures["bulk_per_second"]
    save("speed/serve", figures, quick=given.quick, show=False)  # should a peer fail
    for peer in given.peers:
        asked = [PEERS[peer]([content]) for content in contents]
        with served(*peer_command(peer)) as (pid, port):
            figures[peer] = asyncio.run(measure(pid, port, asked, **options))
        save("speed/serve", figures, quick=given.quick, show=False)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
