"""An OpenVINO graph, of whatever framework it came from, as a frozen prefix and a linear head.

The prefix takes images (B, 3, H, W) and gives features (B, D), both float32. Where the graph ends in a linear layer
(and perhaps a softmax), the features are that layer's input, and the layer becomes the head.

The errors raised here do not name the file; who calls knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ModelError
from headstart.models.foreign.image import take_image
from headstart.models.openvino_library import openvino

__all__ = ["Linear", "Parts", "compiled", "split"]

_IMAGENET = (1000, 1001)  # columns that mean ImageNet's classes, the second with TensorFlow's background in front
_SAME = 1e-3  # relative difference of two ways to compute one value
_LINEAR = frozenset(
    ["Add", "Subtract", "Multiply", "Divide", "Convert", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity"]
)
_SOFTMAX = frozenset(["Softmax", "LogSoftmax"])


@dataclass(frozen=True)
class Linear:
    """``logits = features @ weight.T + bias``."""

    weight: NDArray[np.float32]  # (C, D)
    bias: NDArray[np.float32]  # (C,)


@dataclass(frozen=True)
class Parts:
    """What :func:`split` makes of a graph."""

    prefix: Any  # OpenVINO's model; where it takes one image at a time, its batch is fixed to 1
    features: int  # D
    head: Linear | None  # None: what it gives are features, and no classes are known
    size: tuple[int, int]  # height and width, pixels
    wants_bytes: bool  # its first operation scales pixels down: it is to be given 0 to 255


def split(model: Any, *, channels_first: bool) -> Parts:
    """Cut a graph before its last linear layer.

    :param model: as OpenVINO read it; it is changed.
    :param channels_first: which layout is meant where its input's shape does not tell.
    :raises ModelError: its input is no picture, or no output is (B, D); the text names what there is.
    """
    size, channels_first, wants_bytes = take_image(model, channels_first=channels_first)
    graph = _Graph(model, _output(model, channels_first=channels_first)).batched(size)
    kind = graph.output.get_node().get_type_name()
    logits = graph.until(graph.output.get_node().input_value(0)) if kind in (*_SOFTMAX, "Sigmoid") else graph
    if (found := _linear(logits)) is not None:
        prefix, head = found
        # After a sigmoid each class is a question of its own; the features before it are as good as any.
        classes = head if kind != "Sigmoid" and len(head.bias) > 1 else None
        return Parts(prefix.model, prefix.columns, classes, size, wants_bytes)
    scores = kind in _SOFTMAX or graph.columns in _IMAGENET
    if kind not in _SOFTMAX and _are_probabilities(graph, size):
        logits, scores = graph.until(_logarithm(graph.output)), True
    chosen = graph if kind == "Sigmoid" else logits
    same = Linear(np.eye(graph.columns, dtype=np.float32), np.zeros(graph.columns, np.float32))
    return Parts(chosen.model, graph.columns, same if scores else None, size, wants_bytes)


def compiled(model: Any, precision: str) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """A graph of one input and one output as a function.

    :param precision: "float32" or "bfloat16".
    """
    kind = "bf16" if precision == "bfloat16" else "f32"
    program = openvino().Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": kind})

    def run(images: NDArray[Any]) -> NDArray[np.float32]:
        # A request of its own for each call: threads must not share one.
        result = program.create_infer_request().infer({0: np.ascontiguousarray(images)}, share_outputs=False)
        return np.asarray(result[0], np.float32)

    return run


class _Graph:
    """What leads from a model's one input to one of its results."""

    def __init__(self, model: Any, output: Any) -> None:
        self.parameter = model.get_parameters()[0]
        self.output = output
        self.model = openvino().Model([openvino().opset13.result(output)], [self.parameter], "prefix")

    @property
    def columns(self) -> int:
        return int(self.output.get_partial_shape()[1].get_length())

    def until(self, output: Any) -> _Graph:
        """The same, ended earlier or later."""
        return _Graph(self.model, output)

    def from_image(self) -> set[str]:
        """Names of the operations whose results depend on the image."""
        reached = {self.parameter.get_name()}
        for node in self.model.get_ordered_ops():
            if any(each.get_source_output().get_node().get_name() in reached for each in node.inputs()):
                reached.add(node.get_name())
        return reached

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return compiled(self.model, "float32")(images)

    def batched(self, size: tuple[int, int]) -> _Graph:
        """The same for any number of images; for one at a time where its operations allow no more.

        Exporters that follow an example of one image write a 1 where the batch is meant: into shapes that something
        is brought to, and into constants that something is put beside (a transformer's class token).
        """
        one = [1, 3, *size]
        self.model.reshape(one)
        written = _written_batches(self)
        run, noise = compiled(self.model, "float32"), _noise(2, size)
        alone = np.concatenate([run(each[None]) for each in noise])
        for reshape, pattern in written:
            reshape.input(1).replace_source_output(openvino().opset13.constant(pattern).output(0))
        _repeat_constants(self)
        try:
            self.model.reshape([-1, *one[1:]])
            if _differ(self.run(noise), alone) <= _SAME:
                return self._checked()
        except RuntimeError:
            pass
        self.model.reshape(one)
        if _differ(self.run(noise[:1]), alone[:1]) > _SAME:
            raise ModelError("its operations depend on the number of images; export it with a batch that may vary")
        return self._checked()

    def _checked(self) -> _Graph:
        shape = self.output.get_partial_shape()
        if shape.rank.get_length() != 2 or shape[1].is_dynamic:
            raise ModelError(f"its output has the shape {shape}; one row of values an image is needed")
        return self


def _written_batches(graph: _Graph) -> list[tuple[Any, list[int]]]:
    """Operations on one image that bring it to a shape with a 1 in front, with the shape that was meant."""
    reached = graph.from_image()
    found = []
    for node in graph.model.get_ordered_ops():
        if node.get_type_name() != "Reshape" or node.get_name() not in reached:
            continue
        shape = node.input_value(1).get_node()
        if shape.get_type_name() == "Constant" and len(pattern := [int(each) for each in shape.get_data()]) > 1:
            whole = node.get_output_partial_shape(0)
            if pattern[0] == 1 and whole.is_static:
                found.append((node, [-1, *(int(side) for side in whole.to_shape()[1:])]))
    return found


def _repeat_constants(graph: _Graph) -> None:
    """Give constants that are put beside what comes of the images as many rows as there are images."""
    opset, reached = openvino().opset13, graph.from_image()
    zero = np.array([0], np.int64)
    images = opset.gather(opset.shape_of(graph.parameter), zero, np.array(0, np.int64))  # (1,): how many
    for node in graph.model.get_ordered_ops():
        if node.get_type_name() != "Concat" or node.get_name() not in reached or node.get_attributes()["axis"] == 0:
            continue
        for index, source in enumerate(_sources(node)):
            sides = source.get_partial_shape()
            if source.get_node().get_name() not in reached and sides.is_static and list(sides.to_shape())[:1] == [1]:
                shape = opset.concat([images, np.array(list(sides.to_shape())[1:], np.int64)], 0)
                node.input(index).replace_source_output(opset.broadcast(source, shape).output(0))


def _output(model: Any, *, channels_first: bool) -> Any:
    """The result that has a row of values an image; a map of them is averaged over its places."""
    outputs = [each.input_value(0) for each in model.get_results()]
    ranks = [each.get_partial_shape().rank for each in outputs]
    for wanted in (2, 4):
        fitting = [
            each for each, rank in zip(outputs, ranks, strict=True) if rank.is_static and rank.get_length() == wanted
        ]
        if len(fitting) == 1:
            return _as_float(fitting[0] if wanted == 2 else _averaged(fitting[0], channels_first=channels_first))
        if fitting:
            break
    told = ", ".join(f"{_name(result)} {result.get_output_partial_shape(0)}" for result in model.get_results())
    raise ModelError(f"one output with a row of values an image is needed; its outputs are: {told}")


def _name(result: Any) -> str:
    names = result.input_value(0).get_names()
    return min(names, key=len) if names else str(result.get_friendly_name())


def _averaged(output: Any, *, channels_first: bool) -> Any:
    axes = np.array([2, 3] if channels_first else [1, 2], np.int64)
    return openvino().opset13.reduce_mean(output, axes, False).output(0)


def _as_float(output: Any) -> Any:
    if output.get_element_type() == openvino().Type.f32:
        return output
    return openvino().opset13.convert(output, "f32").output(0)


def _linear(graph: _Graph) -> tuple[_Graph, Linear] | None:
    """What comes before the last matrix, and what it and all after it are as one linear layer."""
    matrix = _last_matrix(graph)
    if matrix is None:
        return None
    before = graph.until(_as_float(matrix))
    if not before.output.get_partial_shape()[1].is_static:
        return None
    after = _tail(graph, matrix)
    probe = np.random.default_rng(0).normal(size=(2, before.columns)).astype(np.float32)
    bias = after(np.zeros((1, before.columns), np.float32))[0]
    weight = (after(np.eye(before.columns, dtype=np.float32)) - bias).T
    if _differ(probe @ weight.T + bias, after(probe)) > _SAME:
        return None  # not linear after all
    return before, Linear(np.ascontiguousarray(weight), bias)


def _last_matrix(graph: _Graph) -> Any | None:
    """What is multiplied by a constant matrix, (B, D), where nothing but linear operations on constants follow."""
    reached = graph.from_image()
    node = graph.output.get_node()
    while True:
        from_image = [each for each in _sources(node) if each.get_node().get_name() in reached]
        kind = node.get_type_name()
        if len(from_image) != 1 or kind not in (*_LINEAR, "MatMul"):
            return None
        if kind == "MatMul":
            rank = from_image[0].get_partial_shape().rank
            first = node.input_value(0).get_node().get_name() == from_image[0].get_node().get_name()
            plain = first and not node.get_attributes()["transpose_a"] and rank.is_static and rank.get_length() == 2
            return from_image[0] if plain else None
        if kind == "Divide" and node.input_value(1).get_node().get_name() in reached:
            return None
        node = from_image[0].get_node()


def _sources(node: Any) -> Iterator[Any]:
    return (node.input_value(index) for index in range(node.get_input_size()))


def _tail(graph: _Graph, matrix: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """What comes after ``matrix`` as a function of it, row by row."""
    ov = openvino()
    many = not _is_single(graph.model)
    rows = ov.opset13.parameter([-1 if many else 1, matrix.get_partial_shape()[1].get_length()], np.float32)
    given = rows.output(0)
    if matrix.get_element_type() != ov.Type.f32:
        given = ov.opset13.convert(given, matrix.get_element_type().get_type_name()).output(0)
    uses = list(matrix.get_target_inputs())
    for use in uses:
        use.replace_source_output(given)
    run = compiled(ov.Model([ov.opset13.result(graph.output)], [rows], "tail"), "float32")
    for use in uses:  # which compiling has copied
        use.replace_source_output(matrix)
    if many:
        return run
    return lambda values: np.concatenate([run(row[None]) for row in values])


def _is_single(model: Any) -> bool:
    return bool(model.input(0).get_partial_shape()[0].is_static)


def _are_probabilities(graph: _Graph, size: tuple[int, int]) -> bool:
    values = np.concatenate([graph.run(each[None]) for each in _noise(2, size)])
    return values.shape[1] > 1 and bool((values >= 0).all() and np.abs(values.sum(1) - 1).max() < _SAME)


def _logarithm(output: Any) -> Any:
    opset = openvino().opset13
    return opset.log(opset.maximum(output, np.float32(1e-12))).output(0)


def _noise(count: int, size: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((count, 3, *size), np.float32)


def _differ(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Length of the difference as a share of the values' length; infinite for other shapes, and for NaN."""
    if one.shape != other.shape:
        return float("inf")
    difference = float(np.linalg.norm(one - other) / max(float(np.linalg.norm(other)), 1e-12))
    return difference if np.isfinite(difference) else float("inf")
