"""Writes ONNX files, and a TensorFlow graph as a SavedModel, operation by operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

Shape = Sequence[int | str | None]


def write_onnx(
    path: Path,
    *nodes: tuple[str, Sequence[str], Sequence[str], Mapping[str, object]],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    kind: int = TensorProto.FLOAT,
    **constants: np.ndarray,
) -> Path:
    """Nodes are (operation, inputs, outputs, attributes)."""
    graph = helper.make_graph(
        [
            helper.make_node(name, list(sources), list(results), **settings)
            for name, sources, results, settings in nodes
        ],
        "net",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, path)
    return path


# -- TensorFlow: a SavedModel of constants, as protocol buffers (tensorflow/core/protobuf/saved_model.proto) ---------


def write_saved_model(
    pb: ModuleType, folder: Path, kernel: np.ndarray, dense: np.ndarray, *, dropout: bool = False
) -> Path:
    """images (B, 8, 8, 3) -> relu(convolution) -> mean over positions -> dense -> softmax.

    :param pb: the module tests/keras/writer.py.
    :param kernel: (3, 3, 3, D); ``dense``: (D, C).
    :param dropout: whether random numbers are multiplied in before the dense layer, as in a graph for training.
    """

    def shape(*sides: int) -> bytes:
        return b"".join(pb.field(2, pb.field(1, side & (1 << 64) - 1)) for side in sides)

    def tensor(value: np.ndarray, kind: int) -> bytes:
        return pb.field(1, kind) + pb.field(2, shape(*value.shape)) + pb.field(4, value.tobytes())

    def node(name: str, kind: str, *sources: str, **settings: bytes) -> bytes:
        content = pb.field(1, name.encode()) + pb.field(2, kind.encode())
        content += b"".join(pb.field(3, each.encode()) for each in sources)
        attributes = (pb.field(1, key.encode()) + pb.field(2, value) for key, value in settings.items())
        return pb.field(1, content + b"".join(pb.field(5, each) for each in attributes))

    def constant(name: str, value: np.ndarray, kind: int) -> bytes:
        return node(name, "Const", dtype=pb.field(6, kind), value=pb.field(8, tensor(value, kind)))

    number, whole = pb.field(6, 1), pb.field(6, 3)
    graph = b"".join(
        [
            node("images", "Placeholder", dtype=number, shape=pb.field(7, shape(-1, 8, 8, 3))),
            constant("kernel", kernel, 1),
            node(
                "conv",
                "Conv2D",
                "images",
                "kernel",
                T=number,
                strides=pb.field(1, b"".join(pb.field(3, each) for each in (1, 1, 1, 1))),
                padding=pb.field(2, b"SAME"),
                data_format=pb.field(2, b"NHWC"),
            ),
            node("relu", "Relu", "conv", T=number),
            constant("axes", np.array([1, 2], np.int32), 3),
            node("pool", "Mean", "relu", "axes", T=number, Tidx=whole, keep_dims=pb.field(5, 0)),
            constant("weights", dense, 1),
            constant("size", np.array([1, len(dense)], np.int32), 3),
            node("dropout/random", "RandomUniform", "size", dtype=number, T=whole),
            node("dropped", "Mul", "pool", "dropout/random", T=number),
            node("logits", "MatMul", "dropped" if dropout else "pool", "weights", T=number),
            node("prob", "Softmax", "logits", T=number),
        ]
    )

    def named(name: str, of: str) -> bytes:
        return pb.field(1, name.encode()) + pb.field(2, pb.field(1, f"{of}:0".encode()) + pb.field(2, 1))

    signature = pb.field(1, named("images", "images")) + pb.field(2, named("prob", "prob"))
    signature += pb.field(3, b"tensorflow/serving/predict")
    information = pb.field(4, b"serve")
    meta = pb.field(1, information) + pb.field(2, graph)
    meta += pb.field(5, pb.field(1, b"serving_default") + pb.field(2, signature))
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(pb.field(1, 1) + pb.field(2, meta))
    return folder
