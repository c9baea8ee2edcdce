"""Networks that OpenVINO has converted before: the same values, read back only where they are whole."""

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
from headstart.models import openvino_engine, prepared
from headstart.models.engine import Engine, open_engine

pytestmark = pytest.mark.usefixtures("one_thread")
SPEC = InputSpec(height=32, width=32)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


def network(seed: int = 0) -> nn.Module:
    import torch

    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def opened(module: nn.Module, folder: Path, precision: str = "float32") -> Engine:
    options = {"device": "cpu", "precision": precision, "engine": "openvino"}
    place = partial(prepared.place, folder, "small", module, SPEC, 2)
    return open_engine(module, SPEC, batch=2, prepared=place, **options)


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each network that is converted."""
    made: list[int] = []
    convert = openvino_engine._converted

    def counted(*words: object) -> object:
        made.append(1)
        return convert(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(openvino_engine, "_converted", counted)
    return made


def test_it_is_converted_once_and_gives_the_same(tmp_path: Path, conversions: list[int]) -> None:
    first, second = opened(network(), tmp_path), opened(network(), tmp_path)
    assert len(conversions) == 1
    assert np.array_equal(first(IMAGES), second(IMAGES))
    coarse = opened(network(), tmp_path, "bfloat16")  # the same file: how exactly is said when it is compiled
    assert len(conversions) == 1
    assert coarse.precision == "bfloat16"
    assert np.allclose(coarse(IMAGES), first(IMAGES), atol=0.05)


def test_other_weights_names_inputs_and_batches_are_others(tmp_path: Path) -> None:
    places = {
        prepared.place(tmp_path, name, network(seed), spec, batch)
        for name in ("a", "b")
        for seed in (0, 1)
        for spec in (SPEC, replace(SPEC, mean=(0.0, 0.0, 0.0)))
        for batch in (1, 2)
    }
    assert len(places) == 16
    assert prepared.place(tmp_path, "a", network(), SPEC, 1) in places


@pytest.mark.parametrize("suffix", [".xml", ".bin", ".json"])
@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_what_is_damaged_is_converted_again(tmp_path: Path, conversions: list[int], suffix: str, how: str) -> None:
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


def test_that_it_cannot_be_kept_is_no_error(tmp_path: Path, conversions: list[int]) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert opened(network(), tmp_path / "file")(IMAGES).shape == (3, 8)
    assert len(conversions) == 2


def test_the_oldest_make_room(tmp_path: Path) -> None:
    for number in range(16):
        old = tmp_path / f"{number:02}"
        for suffix in (".xml", ".bin"):
            old.with_suffix(suffix).write_bytes(b"")
        old.with_suffix(".json").write_text(json.dumps({}))
        os.utime(old.with_suffix(".json"), (number, number))
    opened(network(), tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == len(list(tmp_path.glob("*.bin"))) == 16
    assert not list(tmp_path.glob("00.*"))


def test_torch_asks_for_no_place() -> None:
    def asked() -> Path:
        raise AssertionError

    open_engine(network(), SPEC, batch=2, device="cpu", engine="torch", prepared=asked)(IMAGES)
