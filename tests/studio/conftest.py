"""A project and its application in this process, and behind a real socket."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from skimage import data
from starlette.testclient import TestClient

from headstart.config import FitSettings, StudioSettings
from headstart.data.projects import Project
from headstart.serve.access import Access, allowed_hosts
from headstart.studio.app import create_app
from headstart.studio.context import Studio

PHOTOGRAPHS = {"cat": data.chelsea, "cup": data.coffee, "rocket": data.rocket}
HOST = "http://127.0.0.1:8010"


def jpeg(name: str = "cat", seed: int = 0, side: int = 120) -> bytes:
    """A crop of the photograph of a class, as a JPEG."""
    whole, rng = Image.fromarray(PHOTOGRAPHS[name]()), np.random.default_rng(seed)
    left, top = (int(rng.integers(0, size - side)) for size in whole.size)
    buffer = io.BytesIO()
    whole.crop((left, top, left + side, top + side)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def make_jpeg() -> Callable[..., bytes]:
    """make_jpeg("cat", seed=3): a crop of one of the photographs."""
    return jpeg


def make_studio(folder: Path, folders: tuple[Path, ...] = (), **given: Any) -> Studio:
    settings = replace(StudioSettings(browser=False, learn=False, timeout=20.0), **given)
    fit = FitSettings(model="test_resnet.r160_in1k", weights="random", device="cpu", cache_dir=str(folder / "cache"))
    return Studio(Project.open(folder, create=True), settings, folders, fit)


Open = Callable[..., TestClient]


def entered(
    stack: ExitStack, folder: Path, *, token: str | None = None, folders: tuple[Path, ...] = (), **given: Any
) -> TestClient:
    """A project behind a client until the stack ends."""
    studio = make_studio(folder, folders, **given)
    app = create_app(studio, Access(token, allowed_hosts("127.0.0.1", ()), "headstart-studio"))
    stack.callback(studio.project.close)
    client = stack.enter_context(TestClient(app, base_url=HOST))
    client.app_state["studio"] = studio
    return client


@pytest.fixture(scope="session")
def open_studio() -> Open:
    """open_studio(stack, folder, learn=True): a project behind a client until the stack ends."""
    return entered


@pytest.fixture
def open_client(tmp_path: Path) -> Iterator[Open]:
    """open_client(max_files=2): an empty project behind a client, which learns nothing."""
    with ExitStack() as stack:
        yield partial(entered, stack, tmp_path / "project")


@pytest.fixture
def client(open_client: Open) -> TestClient:
    """An empty project with the default settings."""
    return open_client()


@contextmanager
def running(studio: Studio) -> Iterator[str]:
    """The address of a studio behind a real socket."""
    app = create_app(studio, Access(None, allowed_hosts("127.0.0.1", ())))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none", lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        studio.hub.close()  # as the signal does
        server.should_exit = True
        thread.join()
    studio.project.close()


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a project with ten images, of which five are labeled."""
    studio = make_studio(tmp_path_factory.mktemp("studio") / "project", timeout=5.0, max_megabytes=1)
    with running(studio) as address:
        import httpx2

        files = [("images", (f"cat/{seed}.jpg", jpeg("cat", seed))) for seed in range(5)]
        httpx2.post(f"{address}/api/images?labels=subfolders", files=files).raise_for_status()
        files = [("images", (f"{seed}.jpg", jpeg("cup", seed))) for seed in range(5)]
        httpx2.post(f"{address}/api/images", files=files).raise_for_status()
        yield address
