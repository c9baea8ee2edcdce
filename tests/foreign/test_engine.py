"""A frozen graph in the engine: OpenVINO takes the pictures as they are decoded."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.errors import ModelError
from headstart.models import openvino_engine
from headstart.models.engine import Normalised, open_engine
from headstart.models.foreign import FrozenGraph, load_foreign

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_both_ways_give_the_same(exported: Callable[..., Path], channels: str) -> None:
    read = load_foreign(exported())
    spec = replace(read.spec, channels=channels)
    runs = [
        open_engine(read.network.prefix, spec, batch=2, precision="float32", engine=engine)
        for engine in ("torch", "openvino", "auto")
    ]
    assert [run.name for run in runs] == ["cpu", "openvino", "openvino"]
    x = (torch.from_numpy(IMAGES) / 255 - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    x = x.permute(0, 3, 1, 2)
    expected = read.network.prefix(x.flip(1) if channels == "BGR" else x).numpy()
    for run in runs:
        assert run(IMAGES).shape == (5, 96)
        assert np.abs(run(IMAGES) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_less_precise_where_that_is_asked(exported: Callable[..., Path]) -> None:
    read = load_foreign(exported())
    exact, coarse = (
        open_engine(read.network.prefix, read.spec, batch=5, precision=precision, engine="torch")(IMAGES)
        for precision in ("float32", "bfloat16")
    )
    cosines = (exact * coarse).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(coarse, axis=1)
    assert cosines.min() > 0.99


def test_a_copy_shares_the_graph(exported: Callable[..., Path]) -> None:
    prefix = load_foreign(exported()).network.prefix
    other = copy.deepcopy(prefix)
    assert other.graph is prefix.graph
    assert torch.equal(other.identity, prefix.identity)


def test_one_at_a_time_goes_through_torch(exported: Callable[..., Path]) -> None:
    read = load_foreign(exported())
    graph = read.network.prefix.graph.clone()
    graph.reshape([1, 3, 64, 64])
    single = FrozenGraph(graph, identity=bytes(16), features=96)
    assert single.one_at_a_time
    run = open_engine(single, read.spec, batch=3, precision="float32")
    assert run.name == "cpu"
    whole = open_engine(read.network.prefix, read.spec, batch=3, precision="float32")
    assert np.abs(run(IMAGES) - whole(IMAGES)).max() <= 1e-4 * np.abs(whole(IMAGES)).max()
    with pytest.raises(ModelError, match="its operations hold for one image at a time; leave --engine away"):
        openvino_engine.compiled(Normalised(single, read.spec), read.spec, 3, "float32")


def test_it_goes_to_other_processes(exported: Callable[..., Path]) -> None:
    network = load_foreign(exported()).network
    other = pickle.loads(pickle.dumps(network))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(other(x), network(x))
    assert torch.equal(other.prefix.identity, network.prefix.identity)
