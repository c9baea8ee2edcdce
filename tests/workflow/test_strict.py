"""A fit that stops where something has to be said of its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import DataError

Photos = Callable[..., Path]


def test_a_clean_set_is_fitted(photos: Photos, fitted: Callable[..., Any]) -> None:
    assert fitted(photos(red=8, green=8), strict=True).evaluation.top1.value > 0.5


def test_faults_of_the_data_are_listed(photos: Photos, fitted: Callable[..., Any], told: Any) -> None:
    folder = photos(red=8, green=8)
    (folder / "red" / "broken.png").write_bytes(b"")
    (folder / "green" / "also.png").write_bytes((folder / "red" / "0_00.png").read_bytes())
    face = told()
    with pytest.raises(DataError) as stopped:
        fitted(folder, events=face, strict=True, max_problems=0.5)
    assert str(stopped.value).startswith(
        "nothing was trained, since --strict allows no fault of the data, and there are 4:"
    )
    assert f"{folder / 'red' / 'broken.png'}: empty file" in str(stopped.value)
    assert "has the label 'red'" in str(stopped.value)
    assert "headstart check PHOTOS" in str(stopped.value)
    assert not [name for name in face.stages if "training" in name or "solving" in name]
    assert fitted(folder, max_problems=0.5).evaluation is not None
