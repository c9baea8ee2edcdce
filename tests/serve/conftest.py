"""A fitted run of three photographs' crops, and the application in this process."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from skimage import data
from starlette.testclient import TestClient

import headstart as hs
from headstart.config import EngineSettings, ServeSettings
from headstart.serve.access import Access, allowed_hosts
from headstart.serve.app import create_app
from headstart.serve.service import Service

PHOTOGRAPHS = {"cat": data.chelsea, "cup": data.coffee, "rocket": data.rocket}
HOST = "http://127.0.0.1:8000"


def jpeg(name: str = "cat", seed: int = 0, side: int = 200) -> bytes:
    """A crop of the photograph of a class, as a JPEG."""
    whole, rng = Image.fromarray(PHOTOGRAPHS[name]()), np.random.default_rng(seed)
    left, top = (int(rng.integers(0, size - side)) for size in whole.size)
    buffer = io.BytesIO()
    whole.crop((left, top, left + side, top + side)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def make_jpeg() -> Callable[..., bytes]:
    """make_jpeg("cat", seed=3): a crop of one of the photographs."""
    return jpeg


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One subfolder per class, with crops of its photograph."""
    folder = tmp_path_factory.mktemp("serve") / "photos"
    for name in PHOTOGRAPHS:
        (folder / name).mkdir(parents=True)
        for seed in range(20):
            (folder / name / f"{seed}.jpg").write_bytes(jpeg(name, seed))
    return folder


@pytest.fixture(scope="session")
def fitted_run(photos: Path, store: Path) -> Path:
    """A run with classifier, report and features in the store."""
    model = hs.ImageClassifier(train="head", cache_dir=str(store)).fit(hs.read_images(str(photos)))
    model.save(photos.parent / "run")
    return photos.parent / "run"


@pytest.fixture(scope="session")
def classifier(fitted_run: Path) -> hs.Classifier:
    """The classifier of the run."""
    return hs.load(fitted_run)


@pytest.fixture
def open_client(classifier: hs.Classifier, fitted_run: Path) -> Iterator[Callable[..., TestClient]]:
    """open_client(max_files=2): the application with these settings, ready, behind a client."""
    opened: list[TestClient] = []

    def open_it(*, token: str | None = None, paths: Path | None = None, ready: bool = True, **given: Any) -> TestClient:
        settings = replace(ServeSettings(neighbors=True, timeout=20.0), **given)
        # torch, since it needs no preparation; a test of its own serves with the default engine.
        service = Service(classifier, settings, EngineSettings(engine="torch"), run=fitted_run)
        app = create_app(service, Access(token, allowed_hosts("127.0.0.1", ())), paths=paths, run=fitted_run)
        client = TestClient(app, base_url=HOST)
        client.__enter__()
        opened.append(client)
        if ready:
            assert service.ready.wait(60)
        return client

    yield open_it
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def client(classifier: hs.Classifier, fitted_run: Path) -> Iterator[TestClient]:
    """The application with the default settings, ready."""
    service = Service(classifier, ServeSettings(neighbors=True), EngineSettings(engine="torch"), run=fitted_run)
    app = create_app(service, Access(None, allowed_hosts("127.0.0.1", ())), run=fitted_run)
    with TestClient(app, base_url=HOST) as made:
        assert service.ready.wait(60)
        yield made


@pytest.fixture(scope="module")
def live(classifier: hs.Classifier, fitted_run: Path) -> Iterator[str]:
    """The address of the application behind a real socket, ready."""
    settings = ServeSettings(neighbors=True, max_pixels=10_000_000)
    service = Service(classifier, settings, EngineSettings(engine="torch"), run=fitted_run)
    app = create_app(service, Access(None, allowed_hosts("127.0.0.1", ())), run=fitted_run)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none", lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
        thread.start()
        assert service.ready.wait(60)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()
