"""The two lanes of decoding: what is large, who waits for whom, and what is refused."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from headstart.serve import decoding
from headstart.serve.decoding import decoding_work

Open = Callable[..., TestClient]
Make = Callable[..., bytes]
PNG = {"Content-Type": "image/png"}


def blank(width: int, height: int) -> bytes:
    """A PNG of one color: many pixels in few bytes."""
    buffer = io.BytesIO()
    Image.new("L", (width, height), 200).save(buffer, "PNG")
    return buffer.getvalue()


def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan is there again and again."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + last * scans + content[-2:]


class Gate:
    """Holds large images at the door of the decoder until it is opened."""

    def __init__(self) -> None:
        self.begun, self.opened = threading.Event(), threading.Event()

    def hold(self) -> None:
        self.begun.set()
        assert self.opened.wait(60)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setattr(decoding, "available_cores", lambda: 2)  # the number of threads, on any machine
    made, decoded = Gate(), decoding.decoded

    def held(content: bytes, **options: Any) -> Any:
        if content == LARGE:
            made.hold()
        return decoded(content, **options)

    monkeypatch.setattr(decoding, "decoded", held)
    yield made
    made.opened.set()


LARGE = blank(2500, 2000)


def test_small_images_are_answered_while_large_ones_wait(open_client: Open, make_jpeg: Make, gate: Gate) -> None:
    """More large images than there are threads; none of them is decoded before the small ones are answered."""
    client = open_client(timeout=120.0)

    def ask(content: bytes) -> Any:
        return client.post("/predict", content=content, headers=PNG)

    with ThreadPoolExecutor(12) as pool:
        large: list[Future[Any]] = [pool.submit(ask, LARGE) for _ in range(12)]
        assert gate.begun.wait(60)
        small = [ask(make_jpeg("cup", seed)) for seed in range(5)]
        assert [each.status_code for each in small] == [200] * 5
        assert not any(each.done() for each in large)
        gate.opened.set()
        assert [each.result().status_code for each in large] == [200] * 12


def test_large_images_of_others_are_refused_when_many_wait(open_client: Open, make_jpeg: Make, gate: Gate) -> None:
    client = open_client(timeout=120.0, max_pixels=5_000_000)  # so that two of five megapixels wait at most
    form = [("images", (f"{number}.png", LARGE)) for number in range(4)]
    with ThreadPoolExecutor(1) as pool:
        alone = pool.submit(client.post, "/predict", files=form)  # no other waits: it is answered in full
        assert gate.begun.wait(60)
        while "headstart_queue_images 4.0" not in client.get("/metrics").text:
            pass
        refused = client.post("/predict", content=LARGE, headers=PNG)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["detail"] == "too many large images are waiting: try again later"
        assert client.post("/predict", content=make_jpeg(), headers=PNG).status_code == 200
        gate.opened.set()
        assert [each["problem"] for each in alone.result().json()["images"]] == [None] * 4
    assert client.post("/predict", content=LARGE, headers=PNG).status_code == 200  # the places are free again


def test_the_header_alone_refuses_too_many_pixels_and_scans(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "decoded", None)  # nothing may be decoded
    client = open_client(max_pixels=10_000_000)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    pixels = client.post("/predict", content=head + chunk(b"IDAT", b""), headers=PNG)
    sentence = "image: 100000 × 100000 pixels are more than the 10,000,000 that this server accepts"
    assert (pixels.status_code, pixels.json()["detail"]) == (413, sentence)
    scans = client.post("/predict", content=many_scans(500, 2000), headers=PNG)
    sentence = "image: 500 × 500 pixels in 2,006 scans take longer to decode than this server allows"
    assert (scans.status_code, scans.json()["detail"]) == (413, sentence)
    cut = client.post("/predict", content=head[:20], headers=PNG)
    assert cut.status_code == 422


def test_work() -> None:
    photograph = io.BytesIO()
    Image.new("RGB", (4000, 3000)).save(photograph, "JPEG")
    assert decoding_work(photograph.getvalue(), 12_000_000) < decoding._LARGE  # of a phone: not large
    assert decoding_work(LARGE, 5_000_000) >= decoding._LARGE
    assert decoding_work(many_scans(1000, 1000), 1_000_000) > 30 * decoding_work(many_scans(1000, 1), 1_000_000) / 2
    assert decoding_work(b"\x00\x00\x00\x0cjP  \r\n", 1_000_000) == 8_000_000
