"""Fixtures that tests of several folders use."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: of several processes, none is left alone with a long file at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_module() -> Callable[[Path], ModuleType]:
    """Load a file as a module by its path: test folders are not packages."""
    return _load


@pytest.fixture(scope="session")
def nasty() -> ModuleType:
    """The module tests/nasty.py: make_nasty(folder) and its helpers."""
    return _load(_HERE / "nasty.py")


@pytest.fixture(scope="session")
def made_run() -> ModuleType:
    """The module tests/made_run.py."""
    return _load(_HERE / "made_run.py")


@pytest.fixture
def make_run(made_run: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a run folder with some images per class and returns its path."""
    return lambda names, **options: made_run.make_run(tmp_path, names, **options)


@pytest.fixture
def write_noise() -> Callable[[Path, dict[str, int]], Path]:
    """write_noise(folder, {"dark": 30}): one subfolder per class with 20 images of noise above this shade."""

    import numpy as np
    from PIL import Image

    def write(folder: Path, shades: dict[str, int]) -> Path:
        rng = np.random.default_rng(0)
        for label, shade in shades.items():
            (folder / label).mkdir(parents=True)
            for number in range(20):
                pixels = rng.integers(0, 60, (24, 32, 3), np.uint8) + np.uint8(shade)
                Image.fromarray(pixels).save(folder / label / f"{number}.png")
        return folder

    return write


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium, driven by Playwright: one for each file, as its event loop would hinder other tests that have one."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None and os.environ.get("HEADSTART_BROWSER") != "required":
        pytest.skip("no Chromium found: install the package chromium")
    assert found is not None, "HEADSTART_BROWSER=required, but no Chromium found"
    with sync_playwright() as playwright:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a moving test image
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", *camera])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The address of a local server of S3's protocol."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=True)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same server, which the environment names as the place of s3://."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return s3_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A local server (tests/served.py): put bytes into server.files["/name"] and fetch server.url + "/name"."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = _load(_HERE / "served.py").Server()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread for torch: on small networks, synchronization takes longer than the work.

    For one module only, since other modules test large networks.
    """
    import torch  # here, since tests of images and metrics do without it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def nasty_folder(nasty: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, str | None]]:
    """The folder that make_nasty fills, made once (do not write to it), and the expected problem of each file."""
    folder = tmp_path_factory.mktemp("nasty") / "photos"
    return folder, nasty.make_nasty(folder)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images: HEADSTART_SHARED, else ../shared/data beside the repository."""
    folder = Path(os.environ.get("HEADSTART_SHARED") or _HERE.parent.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set HEADSTART_SHARED to their folder")
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., Path]:
    """Write a small JPEG of one color: photo("cats/a.jpg", 200) -> its path below tmp_path."""
    from PIL import Image

    def write(name: str, shade: int = 0, size: tuple[int, int] = (16, 16)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (shade % 256, (shade * 7) % 256, shade // 256 % 256)).save(path, "JPEG")
        return path

    return write


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., list[Path]]:
    """pictures(10, seed=3) writes ten image files of noise, which differ from seed to seed."""
    import numpy as np
    from PIL import Image

    def write(count: int, *, seed: int = 0, folder: str = "photos") -> list[Path]:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (count, 40, 48, 3), np.uint8)
        paths = [root / f"{seed}_{number:03}.png" for number in range(count)]
        for path, pixels in zip(paths, noise, strict=True):
            Image.fromarray(pixels).save(path)
        return paths

    return write


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB, for tests of full disks; skips where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def fill_disk() -> Callable[[Path], Path]:
    """fill_disk(folder) writes a file that takes all free space of the disk; return its path."""

    def fill(folder: Path) -> Path:
        path = folder / "filler"
        with path.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        return path

    return fill


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature store for the whole session, so that tests on the same images share their features."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests away from the cache of the user."""
    before = os.environ.get("HEADSTART_CACHE")
    os.environ["HEADSTART_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["HEADSTART_CACHE"]
    else:
        os.environ["HEADSTART_CACHE"] = before


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """headstart(*words) -> exit code, standard output, standard error."""

    from headstart.cli import main

    def headstart(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headstart", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return headstart
