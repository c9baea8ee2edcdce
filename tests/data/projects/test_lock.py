"""One writer per project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headstart.data.projects import Project, ProjectInUse


def test_a_second_writer_is_told_where_the_first_is(project: Project) -> None:
    project.tell_address("http://127.0.0.1:8010/")
    with pytest.raises(ProjectInUse, match=r"open already at http://127\.0\.0\.1:8010/"):
        Project.open(project.folder)


def test_the_lock_ends_with_close(project: Project) -> None:
    project.close()
    with Project.open(project.folder) as again:
        assert again.counts().images == 6


def test_the_lock_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from headstart.data.projects import Project\n"
        "project = Project.open(sys.argv[1], create=True)\n"
        "project.tell_address('http://gone/'); project.add_class('x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert ended.returncode == -9
    with Project.open(tmp_path) as project:
        assert [each.name for each in project.classes()] == ["x"]
