"""Frozen graphs in the inference engine: OpenVINO takes decoded images directly."""

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
from headstart.inference import openvino_engine
from headstart.inference.engine import Normalized, open_engine
from headstart.models.importers.graphs import FrozenGraph, import_network

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_torch_and_openvino_engines_agree(exported: Callable[..., Path], channels: str) -> None:
    read = import_network(exported())
    spec = replace(read.spec, channels=channels)
    runs = [
        open_engine(read.network.prefix, spec, batch_size=2, precision="float32", engine=engine)
        for engine in ("torch", "openvino", "auto")
    ]
    assert [run.name for run in runs] == ["cpu", "openvino", "openvino"]
    x = (torch.from_numpy(IMAGES) / 255 - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    x = x.permute(0, 3, 1, 2)
    expected = read.network.prefix(x.flip(1) if channels == "BGR" else x).numpy()
    for run in runs:
        assert run(IMAGES).shape == (5, 96)
        assert np.abs(run(IMAGES) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_bfloat16(exported: Callable[..., Path]) -> None:
    read = import_network(exported())
    exact, coarse = (
        open_engine(read.network.prefix, read.spec, batch_size=5, precision=precision, engine="torch")(IMAGES)
        for precision in ("float32", "bfloat16")
    )
    cosines = (exact * coarse).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(coarse, axis=1)
    assert cosines.min() > 0.99


def test_a_copy_shares_the_graph(exported: Callable[..., Path]) -> None:
    prefix = import_network(exported()).network.prefix
    other = copy.deepcopy(prefix)
    assert other.graph is prefix.graph
    assert torch.equal(other.source_digest, prefix.source_digest)


def test_single_image_graphs_run_through_torch(exported: Callable[..., Path]) -> None:
    read = import_network(exported())
    graph = read.network.prefix.graph.clone()
    graph.reshape([1, 3, 64, 64])
    single = FrozenGraph(graph, source_digest=bytes(16), features=96)
    assert single.single_image_only
    run = open_engine(single, read.spec, batch_size=3, precision="float32")
    assert run.name == "cpu"
    whole = open_engine(read.network.prefix, read.spec, batch_size=3, precision="float32")
    assert np.abs(run(IMAGES) - whole(IMAGES)).max() <= 1e-4 * np.abs(whole(IMAGES)).max()
    with pytest.raises(ModelError, match="this network accepts only one image at a time; omit --engine"):
        openvino_engine.compile_network(Normalized(single, read.spec), read.spec, 3, "float32")


def test_pickle_round_trip(exported: Callable[..., Path]) -> None:
    network = import_network(exported()).network
    other = pickle.loads(pickle.dumps(network))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(other(x), network(x))
    assert torch.equal(other.prefix.source_digest, network.prefix.source_digest)
