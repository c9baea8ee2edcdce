"""The server as a process: its address, its signals, and bodies that do not arrive."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headstart.config import EngineSettings, InputSettings, ServeSettings
from headstart.errors import SettingsError
from headstart.serve.server import open_server

Make = Callable[..., bytes]
Open = Callable[..., "Serving"]


@dataclass
class Serving:
    """A server that is ready."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])


@pytest.fixture(scope="module")
def serving(fitted_run: Path) -> Iterator[Open]:
    """serving("--timeout", "2") starts headstart serve on a free port, and waits until it is ready."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> Serving:
        command = [sys.executable, "-m", "headstart.cli", "serve", str(fitted_run), "--port", "0", "--engine", "torch"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"serving \S+ at (http://127\.0\.0\.1:\d+/)", line)
        assert found, line
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                if httpx2.get(f"{found[1]}readyz", timeout=10).status_code == 200:
                    return Serving(process, found[1])
            except httpx2.TransportError:
                pass  # it imports torch
            time.sleep(0.2)
        raise AssertionError("not ready after 90 seconds")

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def impatient(serving: Open) -> Serving:
    """A server with short limits."""
    return serving("--timeout", "1.5", "--max-megabytes", "1")


def send(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """What a server answers to bytes that arrive one part after the other."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
            head, _, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            if length and len(body) >= int(length[1]):
                break
        return answer


def test_a_body_that_does_not_arrive(impatient: Serving) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\n"
    began = time.monotonic()
    answers: list[bytes] = []
    slow = [threading.Thread(target=lambda: answers.append(send(impatient.port, head, b"x"))) for _ in range(8)]
    for each in slow:
        each.start()
    time.sleep(0.2)
    assert httpx2.get(f"{impatient.url}healthz", timeout=1).status_code == 200  # others are answered meanwhile
    for each in slow:
        each.join()
    assert time.monotonic() - began < 10
    assert all(b" 408 " in answer.partition(b"\r\n")[0] for answer in answers)
    assert all(b"did not arrive within 1.5 seconds" in answer for answer in answers)


def test_a_body_that_ends_early_or_never(impatient: Serving) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", impatient.port)) as connection:
        connection.sendall(head + b"x")
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    endless = head.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked")
    assert b" 413 " in send(impatient.port, endless + 16 * chunk).partition(b"\r\n")[0]
    huge = head.replace(b"1000", b"100000000")
    assert b" 413 " in send(impatient.port, huge).partition(b"\r\n")[0]
    assert b" 400 " in send(impatient.port, b"rubbish\r\n\r\n").partition(b"\r\n")[0]
    assert httpx2.get(f"{impatient.url}healthz").status_code == 200


def test_sigterm_finishes_what_has_begun(serving: Open, make_jpeg: Make) -> None:
    server = serving("--batch-wait", "0")
    answers: list[Any] = []
    files = [("images", (f"{seed}.jpg", make_jpeg("cup", seed))) for seed in range(48)]

    def ask() -> None:
        answers.append(httpx2.post(f"{server.url}predict", files=files, timeout=60))

    asking = threading.Thread(target=ask)
    asking.start()
    while "headstart_queue_images 48.0" not in httpx2.get(f"{server.url}metrics").text:
        assert asking.is_alive(), "it was answered before it was seen to wait: send more images"
    server.process.send_signal(signal.SIGTERM)
    asking.join(60)
    assert [answer.status_code for answer in answers] == [200]
    assert [image["top"][0]["name"] for image in answers[0].json()["images"]] == ["cup"] * 48
    _, errors = server.process.communicate(timeout=30)
    assert errors == "stopped\n"
    assert server.process.returncode == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(server.url)


def test_several_processes(serving: Open, make_jpeg: Make) -> None:
    server = serving("--workers", "2")
    for seed in range(12):
        with httpx2.Client() as client:  # a new connection, which any of the processes may take
            read = client.post(
                f"{server.url}predict", files=[("images", ("a.jpg", make_jpeg("cat", seed)))], timeout=60
            )
            while read.status_code == 503:  # the other process may not be ready yet
                time.sleep(0.2)
                read = client.post(
                    f"{server.url}predict", files=[("images", ("a.jpg", make_jpeg("cat", seed)))], timeout=60
                )
            assert read.json()["images"][0]["top"][0]["name"] == "cat"
    assert 'headstart_images_total{outcome="predicted"} 12.0' in httpx2.get(f"{server.url}metrics").text
    server.process.send_signal(signal.SIGTERM)
    server.process.communicate(timeout=30)
    assert server.process.returncode == 0


def test_several_processes_of_no_classifier(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headstart.cli", "serve", str(tmp_path), "--port", "0", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "no classifier found" in done.stderr
    assert done.stderr.endswith(f"error: {tmp_path}: cannot be served; the reason is above\n")
    assert done.returncode == 1


def test_the_port_is_in_use(run: Callable[..., tuple[int, str, str]], fitted_run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = run("serve", fitted_run, "--port", port)
    assert code == 2
    assert errors == (
        f"error: cannot listen on 127.0.0.1, port {port} (Address already in use): choose another one with --port, or "
        "any free one with --port 0\n"
    )


def open_it(*, precision: str = "auto", paths: Path | None = None, **given: Any) -> Any:
    engine = EngineSettings(precision=precision)
    return open_server("run", ServeSettings(port=0, **given), engine, InputSettings(), paths=paths)


def test_a_token_beyond_this_machine() -> None:
    everywhere = open_it(host="0.0.0.0")
    with everywhere.socket:
        assert everywhere.new_token is not None
        assert everywhere.access.token == everywhere.new_token
        assert everywhere.settings.neighbors is False
    here = open_it()
    with here.socket:
        assert (here.new_token, here.access.token, here.settings.neighbors) == (None, None, True)


def test_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--host no\.such\.host\.invalid: no such address"):
        open_it(host="no.such.host.invalid")
    with pytest.raises(SettingsError, match="precision int8 is calibrated on images"):
        open_it(precision="int8")
    with pytest.raises(SettingsError, match=r"--allow-paths .*none: no such folder"):
        open_it(paths=tmp_path / "none")
    with pytest.raises(SettingsError, match="max_files must be"):
        open_it(max_files=0)


def test_a_missing_package(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.cli.serve.SERVER_PACKAGES", ("fastapi", "no_such_package"))
    code, _, errors = run("serve", "tf_efficientnet_lite0")
    assert (code, errors) == (
        2,
        'error: headstart serve needs no_such_package: run "pip install headstart[serve]"\n',
    )
