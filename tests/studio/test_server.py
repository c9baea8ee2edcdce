"""``headstart studio`` as a process: its project, its lock, its end."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from headstart.config import FitSettings, StudioSettings
from headstart.data.projects import Project, ProjectImage
from headstart.data.value_range import ValueRange
from headstart.errors import SettingsError
from headstart.studio.learning import settings_of
from headstart.studio.server import open_studio
from headstart.studio.thumbnails import Thumbnails

SETTINGS = StudioSettings(port=0, browser=False)


@contextmanager
def studio(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command and its address."""
    command = [sys.executable, "-m", "headstart.cli", "studio", *arguments, "--port", "0", "--no-browser", "--no-learn"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("project "), line + process.stderr.read()
        try:
            yield process, line.split(" at ")[1].split(" ")[0]
        finally:
            process.kill()


def test_a_folder_of_images_becomes_a_project_beside(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "1.jpg").write_bytes(make_jpeg("cat", 1))
    with studio(tmp_path, "photos") as (process, address):
        # A page that is open does not hold up the end.
        with httpx2.stream("GET", f"{address}api/events", timeout=30) as events:
            lines = events.iter_lines()
            assert next(lines).startswith("retry")
            end, state = time.monotonic() + 30, httpx2.get(f"{address}api/project").json()
            while (state["importing"] or {}).get("state") != "done":
                assert time.monotonic() < end
                time.sleep(0.05)
                state = httpx2.get(f"{address}api/project").json()
            assert (state["name"], state["counts"]["labeled"]) == ("photos", 1)
            page = httpx2.get(address, headers={"Accept": "text/html"})
            assert "photos" in page.text
            # A second one is told where the first is.
            command = [
                sys.executable,
                "-m",
                "headstart.cli",
                "studio",
                "projects/photos",
                "--no-browser",
                "--port",
                "0",
            ]
            second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert second.returncode == 1
            assert f"open already at {address}" in second.stderr
            command = [sys.executable, "-m", "headstart.cli", "labels", "projects/photos"]
            labels = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
            assert labels.stdout.splitlines()[1].startswith(
                f"{tmp_path / 'photos' / 'cat' / '1.jpg'},cat/1.jpg,cat,folder,"
            )
            process.send_signal(signal.SIGTERM)
            for _ in lines:
                pass
        assert process.wait(20) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


def test_the_project_is_found_by_the_name_of_the_folder_but_not_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("a/photos", "b/photos"):
        Path(place).mkdir(parents=True)
    for _ in range(2):
        server = open_studio(Path("a/photos"), SETTINGS)
        assert server.studio.project.folder == tmp_path / "projects" / "photos"
        close(server)
    with pytest.raises(SettingsError, match="choose another one with --project"):
        open_studio(Path("b/photos"), SETTINGS)
    close(open_studio(Path("b/photos"), SETTINGS, project=Path("other")))
    assert (tmp_path / "other" / "project.sqlite").is_file()


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no such folder or file; for a new project"):
        open_studio(tmp_path / "missing", SETTINGS)
    with pytest.raises(SettingsError, match="--allow-paths"):
        open_studio(None, SETTINGS, project=tmp_path / "p", folders=[tmp_path / "missing"])
    server = open_studio(None, SETTINGS, project=tmp_path / "p")
    port = server.socket.getsockname()[1]
    with pytest.raises(SettingsError, match="choose another one with --port"):
        open_studio(None, StudioSettings(port=port, browser=False), project=tmp_path / "q")
    close(server)
    close(open_studio(tmp_path / "q", SETTINGS))  # it is not locked by the one that failed
    with pytest.raises(SettingsError, match="name one of both"):
        open_studio(tmp_path / "p", SETTINGS, project=tmp_path / "q")


def test_a_token_is_made_where_others_reach_the_address(tmp_path: Path) -> None:
    server = open_studio(None, StudioSettings(port=0, host="0.0.0.0", browser=False), project=tmp_path / "p")
    assert server.new_token is not None
    assert server.access.token == server.new_token
    close(server)


def close(server: object) -> None:
    server.socket.close()  # type: ignore[attr-defined]
    server.studio.close()  # type: ignore[attr-defined]
    server.studio.project.close()  # type: ignore[attr-defined]


def test_a_project_keeps_its_network_and_value_range(tmp_path: Path) -> None:
    with Project.open(tmp_path, create=True) as project:
        first = FitSettings(model="test_resnet", value_range="0,4095")
        assert settings_of(project, first, keep_model=False) == first
        assert settings_of(project, FitSettings(), keep_model=True) == first
        other = FitSettings(model="test_vit", value_range="0,1023")
        assert settings_of(project, other, keep_model=False) == other
        assert settings_of(project, FitSettings(), keep_model=True) == other


def test_thumbnails_have_the_value_range(tmp_path: Path) -> None:
    photo = tmp_path / "deep.png"
    Image.fromarray(np.full((40, 40), 2048, np.uint16)).save(photo)
    image = ProjectImage(1, str(photo), "deep.png", "ab" * 16, 40, 40, None, None, None)
    for ranges, shade in (((), 8), ((ValueRange("any", 0, 4095),), 128)):
        made = Thumbnails(tmp_path / "thumbnails", max_pixels=10**6, value_ranges=ranges).jpeg(image)
        assert np.asarray(Image.open(io.BytesIO(made))).mean() == pytest.approx(shade, abs=1)
