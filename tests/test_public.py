"""The public names, and what importing them costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import headstart

ROOT = Path(__file__).parent.parent


def test_public_names() -> None:
    assert headstart.__all__ == [
        "Classifier",
        "Evaluation",
        "Events",
        "FitSettings",
        "HeadstartError",
        "ImageClassifier",
        "InputSpec",
        "Manifest",
        "load",
        "read_images",
    ]
    assert dir(headstart) == headstart.__all__
    assert all(getattr(headstart, name).__doc__ for name in headstart.__all__)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'headstart' has no attribute 'Clasifier'"):
        headstart.Clasifier  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ["torch", "timm", "numpy", "sklearn", "pydantic", "pyarrow"]
    code = f"import sys, headstart; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_folder_has_a_layer() -> None:
    """lint-imports checks the contracts; this checks that they cover every folder."""
    contracts = (ROOT / "pyproject.toml").read_text()
    layers = contracts.partition("layers = [")[2].partition("]")[0]
    covered = set(re.findall(r"headstart\.(\w+)", layers))
    present = {path.stem for path in (ROOT / "src" / "headstart").iterdir() if not path.name.startswith("__")}
    assert covered == {name for name in present if name != "py"}
