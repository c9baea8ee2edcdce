"""Graphs in their training form are refused, with the operation."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from headstart.errors import ModelError
from headstart.models.importers.graphs import import_network
from headstart.models.importers.graphs.inference_form import check_inference_form

KERNEL = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
DENSE = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)

Node = tuple[str, list[str], list[str], dict[str, Any]]


def write(writer: ModuleType, path: Path, *middle: Node, **constants: np.ndarray) -> Path:
    """A convolution and a mean over positions, "pool"; further nodes that end in "noisy"; and a linear layer."""
    nodes: list[Node] = [
        ("Conv", ["images", "kernel"], ["conv"], {}),
        ("ReduceMean", ["conv"], ["pool"], {"axes": [2, 3], "keepdims": 0}),
        *middle,
        ("MatMul", ["noisy", "dense"], ["y"], {}),
    ]
    sides = {"inputs": {"images": ["n", 3, 8, 8]}, "outputs": {"y": ["n", 6]}}
    return writer.write_onnx(path, *nodes, **sides, kernel=KERNEL, dense=DENSE, **constants)  # type: ignore[no-any-return]


RANDOM: dict[str, list[Node]] = {
    "RandomNormalLike": [("RandomNormalLike", ["pool"], ["noise"], {}), ("Add", ["pool", "noise"], ["noisy"], {})],
    "RandomUniformLike": [("RandomUniformLike", ["pool"], ["noise"], {}), ("Mul", ["pool", "noise"], ["noisy"], {})],
    "RandomUniform": [("RandomUniform", [], ["noise"], {"shape": [1, 4]}), ("Mul", ["pool", "noise"], ["noisy"], {})],
    "RandomNormal": [("RandomNormal", [], ["noise"], {"shape": [1, 4]}), ("Add", ["pool", "noise"], ["noisy"], {})],
    "seeded": [
        ("RandomUniform", [], ["noise"], {"shape": [1, 4], "seed": 3.0}),
        ("Mul", ["pool", "noise"], ["noisy"], {}),
    ],
    "Bernoulli": [
        ("Sigmoid", ["pool"], ["p"], {}),
        ("Bernoulli", ["p"], ["noise"], {}),
        ("Mul", ["pool", "noise"], ["noisy"], {}),
    ],
}


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_random_operations(writer: ModuleType, tmp_path: Path, name: str) -> None:
    path = write(writer, tmp_path / "net.onnx", *RANDOM[name])
    with pytest.raises(ModelError) as raised:
        import_network(path)
    text = str(raised.value).removeprefix(f"{path}: ")
    if name == "Bernoulli":  # OpenVINO does not know it
        assert text == "OpenVINO cannot read the ONNX file (No conversion rule found for operations: Bernoulli-17)"
        return
    assert text.startswith("its operation ")
    assert "draws random numbers in every prediction; export the network for inference" in text


def test_dropout(writer: ModuleType, tmp_path: Path) -> None:
    dropout: Node = ("Dropout", ["pool", "ratio", "training"], ["noisy"], {})
    ratio = np.array(0.5, np.float32)
    assert import_network(write(writer, tmp_path / "a.onnx", dropout, ratio=ratio, training=np.array(False)))
    path = write(writer, tmp_path / "b.onnx", dropout, ratio=ratio, training=np.array(True))
    with pytest.raises(ModelError, match="Dropout"):
        import_network(path)


def test_a_state() -> None:
    """A graph that adds up the images it has seen."""
    import openvino
    from openvino import opset8 as operations
    from openvino.op.util import Variable, VariableInfo

    information = VariableInfo()
    information.data_shape, information.data_type = openvino.PartialShape([1, 3, 8, 8]), openvino.Type.f32
    information.variable_id = "seen"
    variable = Variable(information)
    images = operations.parameter([1, 3, 8, 8], np.float32, "images")
    before = operations.read_value(operations.constant(np.zeros((1, 3, 8, 8), np.float32)), variable)
    total = operations.add(before, images)
    stored = operations.assign(total, variable)
    answer = operations.result(operations.reduce_mean(total, np.array([2, 3])))
    model = openvino.Model(results=[answer], sinks=[stored], parameters=[images], name="stateful")
    with pytest.raises(ModelError, match="has a state, so that an answer depends on earlier images; export the"):
        check_inference_form(model, np.ones((2, 3, 8, 8), np.float32))
