"""``headstart labels``: what it writes, and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.data.projects import NewImage, Project

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of two images, of which the first is labeled."""
    with Project.open(tmp_path / "project", create=True) as project:
        images = [NewImage(f"/photos/{n}.jpg", f"{n}.jpg", f"{n:032x}", 20, 10, 100) for n in (1, 2)]
        project.add_images(images)
        project.add_class("=cat")
        project.set_labels({1: 1})
    return tmp_path / "project"


@pytest.mark.parametrize("options", [(), ("--csv", "-")])
def test_the_table_is_printed(run: Run, folder: Path, options: tuple[str, ...]) -> None:
    code, out, err = run("labels", str(folder), *options)
    lines = out.splitlines()
    assert (code, err, lines[0]) == (0, "", "path,name,label,labeled_by,labeled_at")
    assert lines[1].startswith("/photos/1.jpg,1.jpg,'=cat,person,20")  # which no spreadsheet runs as a formula
    assert len(lines) == 2


def test_files_are_written(run: Run, folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("labels", str(folder), "--unlabeled", "--csv", str(tmp_path / "l.csv"))
    assert (code, out) == (0, f"{tmp_path / 'l.csv'}: 2 images\n")
    assert (tmp_path / "l.csv").read_text().splitlines()[2] == "/photos/2.jpg,2.jpg,,,"
    assert run("labels", str(folder), "--json-lines", str(tmp_path / "l.jsonl"))[0] == 0
    (line,) = (tmp_path / "l.jsonl").read_text().splitlines()
    assert json.loads(line)["label"] == "=cat"


def test_it_reads_while_another_process_writes(run: Run, folder: Path) -> None:
    with Project.open(folder) as project:
        project.set_labels({2: 1})
        assert len(run("labels", str(folder))[1].splitlines()) == 3


def test_mistakes_are_named(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run("labels", str(folder), "--csv", "-", "--json-lines", "-") == (
        2,
        "",
        "error: --csv and --json-lines: give one of both\n",
    )
    code, _, err = run("labels", str(tmp_path))
    assert (code, "no project of headstart studio" in err) == (1, True)
