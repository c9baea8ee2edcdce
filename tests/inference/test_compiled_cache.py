"""Cached OpenVINO networks return the same values, and are read only if they are undamaged."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from headstart.data.spec import InputSpec
from headstart.inference import compiled_cache, openvino_engine
from headstart.inference.engine import Engine, open_engine

pytestmark = pytest.mark.usefixtures("one_thread")
SPEC = InputSpec(height=32, width=32)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


def network(seed: int = 0) -> nn.Module:
    import torch

    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def opened(module: nn.Module, folder: Path, precision: str = "float32") -> Engine:
    options = {"device": "cpu", "precision": precision, "engine": "openvino"}
    path = partial(compiled_cache.cache_path, folder, "small", module, SPEC, 2)
    return open_engine(module, SPEC, batch_size=2, compiled_path=path, **options)


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per converted network."""
    made: list[int] = []
    convert = openvino_engine._convert

    def counted(*arguments: object) -> object:
        made.append(1)
        return convert(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(openvino_engine, "_convert", counted)
    return made


def test_a_network_is_converted_once(tmp_path: Path, conversions: list[int]) -> None:
    first, second = opened(network(), tmp_path), opened(network(), tmp_path)
    assert len(conversions) == 1
    assert np.array_equal(first(IMAGES), second(IMAGES))
    coarse = opened(network(), tmp_path, "bfloat16")  # from the same file: the precision is chosen at compilation
    assert len(conversions) == 1
    assert coarse.precision == "bfloat16"
    assert np.allclose(coarse(IMAGES), first(IMAGES), atol=0.05)


def test_path_depends_on_weights_name_input_and_batch_size(tmp_path: Path) -> None:
    paths = {
        compiled_cache.cache_path(tmp_path, name, network(seed), spec, batch)
        for name in ("a", "b")
        for seed in (0, 1)
        for spec in (SPEC, replace(SPEC, mean=(0.0, 0.0, 0.0)))
        for batch in (1, 2)
    }
    assert len(paths) == 16
    assert compiled_cache.cache_path(tmp_path, "a", network(), SPEC, 1) in paths


@pytest.mark.parametrize("suffix", [".xml", ".bin", ".json"])
@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_a_damaged_network_is_converted_again(tmp_path: Path, conversions: list[int], suffix: str, how: str) -> None:
    expected = opened(network(), tmp_path)(IMAGES)
    (file,) = tmp_path.glob(f"*{suffix}")
    content = bytearray(file.read_bytes())
    if how == "gone":
        file.unlink()
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content if how == "changed" else content[: len(content) // 2])
    assert np.array_equal(opened(network(), tmp_path)(IMAGES), expected)
    assert len(conversions) == 2
    opened(network(), tmp_path)
    assert len(conversions) == 2


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, conversions: list[int]) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert opened(network(), tmp_path / "file")(IMAGES).shape == (3, 8)
    assert len(conversions) == 2


def test_the_oldest_networks_are_deleted(tmp_path: Path) -> None:
    for number in range(16):
        old = tmp_path / f"{number:02}"
        for suffix in (".xml", ".bin"):
            old.with_suffix(suffix).write_bytes(b"")
        old.with_suffix(".json").write_text(json.dumps({}))
        os.utime(old.with_suffix(".json"), (number, number))
    opened(network(), tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == len(list(tmp_path.glob("*.bin"))) == 16
    assert not list(tmp_path.glob("00.*"))


def test_torch_does_not_compute_the_path() -> None:
    def path() -> Path:
        raise AssertionError

    open_engine(network(), SPEC, batch_size=2, device="cpu", engine="torch", compiled_path=path)(IMAGES)
