"""Metrics, the report and ``headstart report`` work where torch cannot be imported."""

import subprocess
import sys

import pytest

BLOCKED = """
import sys
from importlib.abc import MetaPathFinder


class Block(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "timm"}:
            raise ImportError(f"{name} is blocked")


sys.meta_path.insert(0, Block())
"""


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code, *arguments], capture_output=True, text=True, check=False
    )


def test_torch_is_blocked():
    assert "ImportError: torch is blocked" in run("import torch").stderr


@pytest.mark.parametrize(
    "module",
    [
        "headstart.report",
        "headstart.evaluate",
        "headstart.artifacts.run_folder",
        "headstart.workflow.compare",
        "headstart.workflow.report",
        "headstart.workflow.show",
    ],
)
def test_a_module_can_be_imported(module):
    done = run(f"import {module}")
    assert done.returncode == 0, done.stderr


def test_the_command_renders_a_run(make_run):
    folder = make_run(["cat", "dog", "owl"], skill=0.5)
    done = run("from headstart.cli import main; main()", "report", str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder / "report.html")
    assert "</html>" in (folder / "report.html").read_text(encoding="utf-8")
