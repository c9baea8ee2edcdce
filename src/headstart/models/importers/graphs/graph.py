"""Splitting an OpenVINO graph from any framework into a frozen prefix and a linear head.

The prefix maps images (B, 3, H, W) to features (B, D), both float32. If the graph ends in a linear layer (optionally
followed by a softmax), the features are the input of that layer, and the layer becomes the head.

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ModelError
from headstart.models.importers.graphs.image_input import ImageInput, standardize_input
from headstart.models.importers.graphs.inference_form import check_inference_form
from headstart.models.openvino_library import core, openvino

__all__ = ["LinearLayer", "SplitGraph", "compile_graph", "split_graph"]

_IMAGENET_OUTPUTS = (1000, 1001)  # taken to be ImageNet classes; 1001 includes TensorFlow's background
_TOLERANCE = 1e-3  # relative difference between two ways to compute the same value
_LINEAR_OPS = frozenset(
    ["Add", "Subtract", "Multiply", "Divide", "Convert", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity"]
)
_SOFTMAX_OPS = frozenset(["Softmax", "LogSoftmax"])


@dataclass(frozen=True)
class LinearLayer:
    """``logits = features @ weight.T + bias``."""

    weight: NDArray[np.float32]  # (C, D)
    bias: NDArray[np.float32]  # (C,)


@dataclass(frozen=True)
class SplitGraph:
    """The result of :func:`split_graph`."""

    prefix: Any  # OpenVINO model; with a fixed batch size of 1 if it accepts only one image at a time
    features: int  # D
    head: LinearLayer | None  # None: the outputs are features, and no classes are known
    image: ImageInput
    output: str  # the name and shape of the original output, and what its values are


def split_graph(model: Any, *, channels_first: bool) -> SplitGraph:
    """Split a graph before its last linear layer.

    :param model: an OpenVINO model; it is modified.
    :param channels_first: the layout to assume where the input shape is ambiguous.
    :raises ModelError: the input is not an image, no output has the shape (B, D) (the message lists what there is), or
        the graph is random or has a state.
    """
    outputs = [_described(result) for result in model.get_results()]
    image = standardize_input(model, channels_first=channels_first)
    output, described = _select_output(model, outputs, channels_first=image.channels_first)
    graph = _Graph(model, output)
    graph.model.reshape([1, 3, *image.size])
    check_inference_form(graph.model, _noise(2, image.size))
    graph = graph.with_any_batch(image.size)
    kind = graph.output.get_node().get_type_name()
    ends_in_activation = kind in (*_SOFTMAX_OPS, "Sigmoid")
    logits = graph.until(graph.output.get_node().input_value(0)) if ends_in_activation else graph
    if (found := _split_linear(logits)) is not None:
        prefix, linear = found
        # After a sigmoid, each class is a separate binary decision: that is no head of the kind trained here.
        head = linear if kind != "Sigmoid" and len(linear.bias) > 1 else None
        meaning = _meaning(kind, gives_scores=head is not None)
        return SplitGraph(prefix.model, prefix.columns, head, image, f"{described}, {meaning}")
    gives_scores = kind in _SOFTMAX_OPS or graph.columns in _IMAGENET_OUTPUTS
    if kind not in _SOFTMAX_OPS and _gives_probabilities(graph, image.size):
        logits, gives_scores = graph.until(_logarithm(graph.output)), True
    prefix = graph if kind == "Sigmoid" else logits
    identity = LinearLayer(np.eye(graph.columns, dtype=np.float32), np.zeros(graph.columns, np.float32))
    head = identity if gives_scores else None
    meaning = _meaning("Softmax" if logits is not graph else kind, gives_scores=gives_scores)
    return SplitGraph(prefix.model, graph.columns, head, image, f"{described}, {meaning}")


def _meaning(kind: str, *, gives_scores: bool) -> str:
    """What the values of an output are, in words; ``kind`` is the last operation."""
    if kind == "Sigmoid":
        return "a sigmoid, which is no choice between classes: the values before it are features"
    if not gives_scores:
        return "features without classes"
    return "probabilities of the classes" if kind in _SOFTMAX_OPS else "logits of the classes"


def compile_graph(model: Any, precision: str) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Compile a graph with one input and one output into a function.

    :param precision: "float32" or "bfloat16".
    """
    kind = "bf16" if precision == "bfloat16" else "f32"
    program = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": kind})

    def run(images: NDArray[Any]) -> NDArray[np.float32]:
        # A new request for each call: threads must not share one.
        result = program.create_infer_request().infer({0: np.ascontiguousarray(images)}, share_outputs=False)
        return np.asarray(result[0], np.float32)

    return run


class _Graph:
    """The operations between the single input of a model and one of its outputs."""

    def __init__(self, model: Any, output: Any) -> None:
        self.parameter = model.get_parameters()[0]
        self.output = output
        self.model = openvino().Model([openvino().opset13.result(output)], [self.parameter], "prefix")

    @property
    def columns(self) -> int:
        return int(self.output.get_partial_shape()[1].get_length())

    def until(self, output: Any) -> _Graph:
        """The same graph with another output."""
        return _Graph(self.model, output)

    def image_dependent(self) -> set[str]:
        """Names of the operations whose results depend on the image."""
        reached = {self.parameter.get_name()}
        for node in self.model.get_ordered_ops():
            if any(each.get_source_output().get_node().get_name() in reached for each in node.inputs()):
                reached.add(node.get_name())
        return reached

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return compile_graph(self.model, "float32")(images)

    def with_any_batch(self, size: tuple[int, int]) -> _Graph:
        """Make the batch size variable, or fix it to 1 where the operations allow nothing else.

        Exporters that trace an example of one image write a 1 where the batch size is meant: into the target shapes of
        reshapes, and into constants that are concatenated (the class token of a transformer).
        """
        one = [1, 3, *size]
        self.model.reshape(one)
        fixed_shapes = _batch_size_reshapes(self)
        run, noise = compile_graph(self.model, "float32"), _noise(2, size)
        expected = np.concatenate([run(each[None]) for each in noise])
        for reshape, shape in fixed_shapes:
            reshape.input(1).replace_source_output(openvino().opset13.constant(shape).output(0))
        _broadcast_constants(self)
        try:
            self.model.reshape([-1, *one[1:]])
            if _relative_difference(self.run(noise), expected) <= _TOLERANCE:
                return self._checked()
        except RuntimeError:
            pass
        self.model.reshape(one)
        if _relative_difference(self.run(noise[:1]), expected[:1]) > _TOLERANCE:
            raise ModelError("its operations depend on the batch size; export it with a dynamic batch size")
        return self._checked()

    def _checked(self) -> _Graph:
        shape = self.output.get_partial_shape()
        if shape.rank.get_length() != 2 or shape[1].is_dynamic:
            raise ModelError(f"its output has the shape {shape}; must be one row of values per image")
        return self


def _batch_size_reshapes(graph: _Graph) -> list[tuple[Any, list[int]]]:
    """Reshapes of image-dependent values to a shape with a leading 1, each with the shape for any batch size."""
    reached = graph.image_dependent()
    found = []
    for node in graph.model.get_ordered_ops():
        if node.get_type_name() != "Reshape" or node.get_name() not in reached:
            continue
        shape = node.input_value(1).get_node()
        if shape.get_type_name() == "Constant" and len(pattern := [int(each) for each in shape.get_data()]) > 1:
            full = node.get_output_partial_shape(0)
            if pattern[0] == 1 and full.is_static:
                found.append((node, [-1, *(int(side) for side in full.to_shape()[1:])]))
    return found


def _broadcast_constants(graph: _Graph) -> None:
    """Repeat constants that are concatenated with image-dependent values, once per image."""
    opset, reached = openvino().opset13, graph.image_dependent()
    zero = np.array([0], np.int64)
    batch = opset.gather(opset.shape_of(graph.parameter), zero, np.array(0, np.int64))  # (1,)
    for node in graph.model.get_ordered_ops():
        if node.get_type_name() != "Concat" or node.get_name() not in reached or node.get_attributes()["axis"] == 0:
            continue
        for index, source in enumerate(_operands(node)):
            sides = source.get_partial_shape()
            if source.get_node().get_name() not in reached and sides.is_static and list(sides.to_shape())[:1] == [1]:
                shape = opset.concat([batch, np.array(list(sides.to_shape())[1:], np.int64)], 0)
                node.input(index).replace_source_output(opset.broadcast(source, shape).output(0))


def _select_output(model: Any, described: Sequence[str], *, channels_first: bool) -> tuple[Any, str]:
    """The output with one row of values per image, and its description; a feature map is averaged over its positions.

    :param described: name and shape of each output, as in the file.
    """
    outputs = [each.input_value(0) for each in model.get_results()]
    ranks = [each.get_partial_shape().rank for each in outputs]
    for wanted in (2, 4):
        fitting = [
            each for each, rank in zip(outputs, ranks, strict=True) if rank.is_static and rank.get_length() == wanted
        ]
        if len(fitting) == 1:
            name = described[outputs.index(fitting[0])]
            value = fitting[0] if wanted == 2 else _global_average(fitting[0], channels_first=channels_first)
            return _as_float(value), name if wanted == 2 else f"{name}, averaged over its positions"
        if fitting:
            break
    raise ModelError(
        f"must have exactly one output with a row of values per image; its outputs are: {', '.join(described)}"
    )


def _described(result: Any) -> str:
    # OpenVINO's own names have numbers that say nothing.
    names = [name for name in result.input_value(0).get_names() if not name.startswith("Result_")]
    named = f"{min(names, key=len)} " if names else ""
    return f"{named}{result.get_output_partial_shape(0)}"


def _global_average(output: Any, *, channels_first: bool) -> Any:
    axes = np.array([2, 3] if channels_first else [1, 2], np.int64)
    return openvino().opset13.reduce_mean(output, axes, False).output(0)


def _as_float(output: Any) -> Any:
    if output.get_element_type() == openvino().Type.f32:
        return output
    return openvino().opset13.convert(output, "f32").output(0)


def _split_linear(graph: _Graph) -> tuple[_Graph, LinearLayer] | None:
    """The graph before its last matrix product, and the product with everything after it as one linear layer."""
    features = _last_product_input(graph)
    if features is None:
        return None
    before = graph.until(_as_float(features))
    if not before.output.get_partial_shape()[1].is_static:
        return None
    after = _compile_tail(graph, features)
    probe = np.random.default_rng(0).normal(size=(2, before.columns)).astype(np.float32)
    bias = after(np.zeros((1, before.columns), np.float32))[0]
    weight = (after(np.eye(before.columns, dtype=np.float32)) - bias).T
    if _relative_difference(probe @ weight.T + bias, after(probe)) > _TOLERANCE:
        return None  # not linear after all
    return before, LinearLayer(np.ascontiguousarray(weight), bias)


def _last_product_input(graph: _Graph) -> Any | None:
    """The operand (B, D) of the last product with a constant matrix, if only linear operations follow it."""
    reached = graph.image_dependent()
    node = graph.output.get_node()
    while True:
        from_image = [each for each in _operands(node) if each.get_node().get_name() in reached]
        kind = node.get_type_name()
        if len(from_image) != 1 or kind not in (*_LINEAR_OPS, "MatMul"):
            return None
        if kind == "MatMul":
            rank = from_image[0].get_partial_shape().rank
            first = node.input_value(0).get_node().get_name() == from_image[0].get_node().get_name()
            plain = first and not node.get_attributes()["transpose_a"] and rank.is_static and rank.get_length() == 2
            return from_image[0] if plain else None
        if kind == "Divide" and node.input_value(1).get_node().get_name() in reached:
            return None
        node = from_image[0].get_node()


def _operands(node: Any) -> Iterator[Any]:
    return (node.input_value(index) for index in range(node.get_input_size()))


def _compile_tail(graph: _Graph, features: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Everything after ``features`` as a function of its rows."""
    ov = openvino()
    any_batch = graph.model.input(0).get_partial_shape()[0].is_dynamic
    rows = ov.opset13.parameter([-1 if any_batch else 1, features.get_partial_shape()[1].get_length()], np.float32)
    value = rows.output(0)
    if features.get_element_type() != ov.Type.f32:
        value = ov.opset13.convert(value, features.get_element_type().get_type_name()).output(0)
    uses = list(features.get_target_inputs())
    for use in uses:
        use.replace_source_output(value)
    run = compile_graph(ov.Model([ov.opset13.result(graph.output)], [rows], "tail"), "float32")
    for use in uses:  # restored: compiling has made a copy
        use.replace_source_output(features)
    if any_batch:
        return run
    return lambda values: np.concatenate([run(row[None]) for row in values])


def _gives_probabilities(graph: _Graph, size: tuple[int, int]) -> bool:
    values = np.concatenate([graph.run(each[None]) for each in _noise(2, size)])
    return values.shape[1] > 1 and bool((values >= 0).all() and np.abs(values.sum(1) - 1).max() < _TOLERANCE)


def _logarithm(output: Any) -> Any:
    opset = openvino().opset13
    return opset.log(opset.maximum(output, np.float32(1e-12))).output(0)


def _noise(count: int, size: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((count, 3, *size), np.float32)


def _relative_difference(values: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The norm of the difference divided by the norm of ``expected``; infinite for other shapes and for NaN."""
    if values.shape != expected.shape:
        return float("inf")
    difference = float(np.linalg.norm(values - expected) / max(float(np.linalg.norm(expected)), 1e-12))
    return difference if np.isfinite(difference) else float("inf")
