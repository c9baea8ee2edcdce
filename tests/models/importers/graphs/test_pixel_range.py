"""Pixel ranges from the operations of ONNX files, in any order of geometry and arithmetic."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.models.importers.graphs.pixel_range import PixelRange, read_pixel_range
from headstart.models.openvino_library import read_model

KERNEL = np.ones((2, 3, 1, 1), np.float32)
MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)

Node = tuple[str, list[str], list[str], dict[str, Any]]
GEOMETRY: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "crop": ("Slice", [np.array([1, 1]), np.array([7, 7]), np.array([2, 3])], {}),
    "pad": ("Pad", [np.array([0, 0, 1, 1, 0, 0, 1, 1])], {}),
    "resize": ("Resize", [np.array([], np.float32), np.array([1, 1, 2, 2], np.float32)], {"mode": "linear"}),
    "flip channels": ("Gather", [np.array([2, 1, 0])], {"axis": 1}),
    "transpose": ("Transpose", [], {"perm": [0, 1, 3, 2]}),
}
ARITHMETIC: dict[str, tuple[list[tuple[str, Any]], str]] = {
    "divide by 255": ([("Div", np.float32(255))], "0:255"),
    "multiply by 1/127.5, subtract 1": ([("Mul", np.float32(1 / 127.5)), ("Sub", np.float32(1))], "0:255"),
    "subtract the means of pixels": ([("Sub", 255 * MEAN)], "0:255"),
    "add their negatives": ([("Add", -255 * MEAN), ("Div", 255 * STD)], "0:255"),
    "mean and std of ImageNet": ([("Sub", MEAN), ("Div", STD)], "0:1"),
    "twice, minus one": ([("Mul", np.float32(2)), ("Sub", np.float32(1))], "0:1"),
    "divide by 255, mean and std of ImageNet": ([("Div", np.float32(255)), ("Sub", MEAN), ("Div", STD)], "0:255"),
    "nothing": ([], ""),
    "multiply by two": ([("Mul", np.float32(2))], ""),
}


def read(writer: ModuleType, path: Path, steps: list[tuple[str, list[Any], dict[str, Any]]]) -> PixelRange:
    nodes: list[Node] = []
    constants: dict[str, np.ndarray] = {"kernel": KERNEL}
    now = "images"
    for number, (kind, operands, attributes) in enumerate(steps):
        names = [f"c{number}_{index}" for index in range(len(operands))]
        constants |= {name: np.asarray(value) for name, value in zip(names, operands, strict=True)}
        nodes.append((kind, [now, *names], [f"x{number}"], attributes))
        now = f"x{number}"
    nodes.append(("Conv", [now, "kernel"], ["y"], {}))
    shape = ["n", 3, 16, 16]
    writer.write_onnx(path, *nodes, inputs={"images": shape}, outputs={"y": ["n", 2, None, None]}, **constants)
    model = read_model(path)  # OpenVINO forgets the users of a node when the model is gone
    return read_pixel_range(model.get_parameters()[0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(st.sampled_from(sorted(GEOMETRY)), max_size=3),
    after=st.lists(st.sampled_from(sorted(GEOMETRY)), max_size=2),
    chosen=st.sampled_from(sorted(ARITHMETIC)),
)
def test_arithmetic_tells_the_range_wherever_geometry_stands(
    writer: ModuleType, tmp_path: Path, before: list[str], after: list[str], chosen: str
) -> None:
    arithmetic, expected = ARITHMETIC[chosen]
    steps = [
        *(GEOMETRY[each] for each in before),
        *((kind, [value], {}) for kind, value in arithmetic),
        *(GEOMETRY[each] for each in after),
    ]
    found = read(writer, tmp_path / "net.onnx", steps)
    assert found.name == expected
    assert bool(found.evidence) == bool(expected)


@pytest.mark.parametrize(("limit", "expected"), [(255.0, "0:255"), (1.0, "0:1"), (6.0, "")])
def test_clipping_tells_the_range(writer: ModuleType, tmp_path: Path, limit: float, expected: str) -> None:
    step = ("Clip", [np.float32(0), np.float32(limit)], {})
    assert read(writer, tmp_path / "net.onnx", [step]).name == expected
