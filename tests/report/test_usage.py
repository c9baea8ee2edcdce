"""The snippets run as they are, on a run whose name has to be quoted."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

import headstart as hs
from headstart.artifacts.run_folder import read_run
from headstart.report.usage import Snippet, name_for_user, run_snippets, usage_snippets

NAME = "-it's $HOME"  # an option, a quote and a variable, if it were not quoted


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Path:
    """A folder with a run and a photo, as that of a user."""
    folder = tmp_path_factory.mktemp("usage")
    for name, photograph in {"cat": data.chelsea, "cup": data.coffee}.items():
        (folder / "photos" / name).mkdir(parents=True)
        whole = Image.fromarray(photograph()).resize((160, 160))
        for number in range(20):
            whole.crop((number, number, number + 120, number + 120)).save(folder / "photos" / name / f"{number}.jpg")
    model = hs.ImageClassifier(train="head", stages="none", kernel="none", cache_dir=str(store)).fit(
        hs.read_images(str(folder / "photos"))
    )
    model.save(folder / "runs" / NAME)
    shutil.copy(folder / "photos" / "cup" / "3.jpg", folder / "photo.jpg")
    return folder


@pytest.fixture
def snippets(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Snippet]:
    """The snippets of the run by their titles, in the folder of the user."""
    monkeypatch.chdir(workspace)
    return {each.title: each for each in run_snippets(read_run(workspace / "runs" / NAME))}


def test_the_command_line(snippets: dict[str, Snippet], run: Callable[..., tuple[int, str, str]]) -> None:
    program, *words = shlex.split(snippets["Command line"].code)
    code, printed, _ = run(*words)
    assert (program, code) == ("headstart", 0)
    assert re.search(r"photo\.jpg\n +\d+\.\d%  cup\n", printed)


def test_python(snippets: dict[str, Snippet]) -> None:
    with redirect_stdout(StringIO()) as printed:
        exec(compile(snippets["Python"].code, "snippet", "exec"), {})
    lines = printed.getvalue().splitlines()
    assert re.fullmatch(r"\d+\.\d% cup", lines[0])
    assert lines[2:4] == ["90% prediction set:", "cup"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the snippet calls curl")
def test_the_http_api(snippets: dict[str, Snippet]) -> None:
    _, serve, _, curl = snippets["HTTP API"].code.splitlines()
    program, *words = shlex.split(serve)
    assert program == "headstart"
    command = [sys.executable, "-m", "headstart.cli", *words, "--port", "0", "--engine", "torch"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stderr is not None
            announced = re.search(r"at (http://127\.0\.0\.1:\d+)/", server.stderr.readline())
            assert announced
            request = shlex.split(curl.replace("http://127.0.0.1:8000", announced[1]))
            # It answers 503 with Retry-After until it is ready, which curl --retry waits for.
            done = subprocess.run([*request, "--silent", "--retry", "60"], capture_output=True, text=True, check=True)
        finally:
            server.kill()
    assert '"name":"cup"' in done.stdout.replace(" ", "")


def test_a_classifier_without_prediction_sets() -> None:
    _, python, _ = usage_snippets("hf:me/dogs")
    assert 'hs.load("hf:me/dogs")' in python.code
    assert "predict_sets" not in python.code


def test_an_evaluation_has_no_classifier(make_run: Callable[..., Path]) -> None:
    made = read_run(make_run(["cat", "dog"]))
    assert len(run_snippets(made)) == 3
    assert run_snippets(replace(made, info=replace(made.info, command="evaluate"))) == ()


def test_a_page_does_not_tell_where_its_maker_keeps_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "runs" / "dogs"
    run.mkdir(parents=True)
    assert name_for_user(run) == "dogs"
    monkeypatch.chdir(tmp_path)
    assert name_for_user(run) == "runs/dogs"
    monkeypatch.chdir(run)
    assert name_for_user(Path()) == "dogs"
    assert name_for_user(tmp_path / os.fsdecode(b"caf\xe9")) == "caf\\udce9"
