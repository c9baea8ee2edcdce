"""Requests that mean harm, sent to ``headstart serve``: whether it stays alive, answers others, and does not grow.

    python -m benchmarks.scale.hostile [--requests 10000] [--quick]

Truncated and damaged images, decompression bombs, wrong types, path names, too many parts, bodies of 100 MB, and bodies
that do not arrive, from 16 clients. Meanwhile another client asks for predictions of a good image. No answer may have a
status of 500 or above but 503, and every good image must get its prediction.

A slow body is waited for until ``--timeout``, which is 10 seconds here: 45 of 10,000 requests are slow ones.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import io
import json
import random
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

import numpy as np
from benchmarks.harness import Figures, save
from benchmarks.speed.serve import MODEL, ask, request_of, resident, served, slope, watch
from PIL import Image
from skimage import data

CLIENTS = 16
PATHS = ("../../../etc/passwd", "/etc/shadow", "a\0b", "C:\\windows", "/proc/self/environ", "x" * 5000)


@functools.cache
def zeros(count: int) -> bytes:
    """So many zeros, compressed; made once, since the client shares its thread with those that measure."""
    return zlib.compress(bytes(count), 9)


@functools.cache
def jpeg(seed: int) -> bytes:
    """A photograph, a little different for each seed."""
    buffer = io.BytesIO()
    Image.fromarray(data.chelsea()).rotate(seed % 360).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def bomb(rng: random.Random) -> bytes:
    """A PNG that promises more pixels than it has, or has many in few bytes."""
    side = rng.choice((6000, 20_000, 100_000))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0))
    pixels = zeros(rng.choice((1000, 6001 * 6000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def damaged(rng: random.Random) -> bytes:
    """A JPEG of which some bytes are others."""
    content = bytearray(jpeg(rng.randrange(8)))
    for _ in range(rng.randrange(1, 200)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)


def scans(rng: random.Random) -> bytes:
    """A progressive JPEG whose last scan is there thousands of times."""
    buffer = io.BytesIO()
    Image.fromarray(data.chelsea()).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content[content.rfind(b"\xff\xda") : content.rfind(b"\xff\xda") + 300]
    return content[:-2] + last * rng.choice((100, 3000)) + content[-2:]


def raw(body: bytes, kind: str = "image/jpeg", *, length: int | None = None, path: str = "/predict") -> bytes:
    """A request as bytes."""
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
    return head.encode("latin-1", "replace") + body


def by_path(rng: random.Random) -> bytes:
    """A request for a file of the server."""
    name = rng.choice(PATHS)
    if rng.random() < 0.5:
        return raw(json.dumps({"images": [{"path": name}]}).encode(), "application/json")
    target = quote(f"/static/{name}", safe="/.")
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "truncated": lambda rng: raw((content := jpeg(rng.randrange(8)))[: rng.randrange(len(content))]),
    "damaged": lambda rng: raw(damaged(rng)),
    "bomb": lambda rng: raw(bomb(rng), "image/png"),
    "scans": lambda rng: raw(scans(rng)),
    "wrong type": lambda rng: raw(
        rng.randbytes(500), rng.choice(("text/html", "application/json", "multipart/form-data", "x"))
    ),
    "no image": lambda rng: raw(rng.randbytes(rng.randrange(5000))),
    "path": by_path,
    "many parts": lambda rng: request_of([b"x"] * rng.choice((65, 500))),
    "100 MB": lambda _: raw(bytes(1_000_000), length=100_000_000),
    "slow": lambda _: raw(b"x", length=1000),
    "other host": lambda _: raw(b"x").replace(b"Host: 127.0.0.1", b"Host: evil.example"),
    "no HTTP": lambda rng: rng.randbytes(200) + b"\r\n\r\n",
}


async def attack(port: int, count: int, answers: Counter[tuple[str, int]]) -> None:
    """Send ``count`` requests of all kinds; 0 counts connections that end without an answer."""
    left = iter(range(count))

    async def client() -> None:
        for number in left:
            rng = random.Random(number)
            # Slow bodies are rare: each of them takes as long as the server waits.
            name = rng.choice([each for each in KINDS if each != "slow" or number % 20 == 0])
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                status = await asyncio.wait_for(ask(reader, writer, KINDS[name](rng)), 60)
                writer.close()
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError):
                status = 0
            answers[name, status] += 1

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def behave(port: int, statuses: list[int], taken: list[float]) -> None:
    """Ask for predictions of a good image, again and again."""
    good = request_of([jpeg(0)])
    while True:
        began = time.perf_counter()
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            statuses.append(await ask(reader, writer, good))
            writer.close()
            taken.append(time.perf_counter() - began)
        await asyncio.sleep(0.2)


async def measure(pid: int, port: int, count: int) -> Figures:
    """The figures of the attack."""
    answers: Counter[tuple[str, int]] = Counter()
    statuses: list[int] = []
    taken: list[float] = []
    samples: list[tuple[float, float]] = []
    await attack(port, min(200, count), Counter())  # until memory is as large as it becomes
    others = [asyncio.create_task(watch(pid, samples)), asyncio.create_task(behave(port, statuses, taken))]
    await attack(port, count, answers)
    for each in others:
        each.cancel()
    return {
        "requests": count,
        "answers": {f"{name}: {status or 'closed'}": number for (name, status), number in sorted(answers.items())},
        "server_errors": sum(number for (_, status), number in answers.items() if status >= 500 and status != 503),
        "good_requests": len(statuses),
        "good_answered": sum(status == 200 for status in statuses),
        "good_p99_ms": float(np.percentile(taken or [np.inf], 99)) * 1000,
        "good_slowest_ms": max(taken, default=np.inf) * 1000,
        "memory_mb": [samples[0][1], samples[-1][1], resident(pid)],
        "memory_slope": slope(samples),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    count = 300 if given.quick else given.requests
    command = [sys.executable, "-m", "headstart.cli", "serve", MODEL, "--timeout", "10", "--port"]
    with served(*command) as (pid, port):
        figures = asyncio.run(measure(pid, port, count))
    save("scale/hostile", figures, quick=given.quick)


if __name__ == "__main__":
    main()
