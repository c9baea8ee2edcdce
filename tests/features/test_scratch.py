from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from headstart.features import scratch
from headstart.features.scratch import scratch_array

needs_allocation = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system has no posix_fallocate")


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "LARGE", 100)


@needs_allocation
@pytest.mark.usefixtures("small_limit")
def test_a_large_array_is_in_a_file_without_a_name(tmp_path: Path) -> None:
    array = scratch_array((10, 8), np.float32, tmp_path)
    assert isinstance(array, np.memmap)
    array[:] = np.arange(80).reshape(10, 8)
    assert array[[9, 0], 7].tolist() == [79, 7]
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small_limit")
def test_a_small_one_is_in_memory(tmp_path: Path) -> None:
    assert not isinstance(scratch_array((5, 5), np.float32, tmp_path), np.memmap)


@needs_allocation
@pytest.mark.usefixtures("small_limit")
def test_without_space_it_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    array = scratch_array((10, 8), np.float32, tmp_path)
    assert (type(array), array.shape) == (np.ndarray, (10, 8))
    assert type(scratch_array((10, 8), np.float32, tmp_path / "none")) is np.ndarray
