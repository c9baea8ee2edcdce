"""A network traced into a graph of operations, with the properties of each operation's result.

For a fixed input size, some results are not tensors: shapes, the batch size, a device. They are known in advance or can
be derived from any tensor with a batch dimension, so they never have to be passed from one part of the network to
another.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, fx, nn

from headstart.execution.forks import new_lock
from headstart.models.stage_head import StageHead, extend_graph, stage_head

__all__ = ["TRACING", "Trace", "TracingError", "own_head", "remove_unused", "trace"]

TRACING = new_lock()
"""Held while a network is traced, here or in torch.jit: for that time torch's modules are patched in all threads."""


class TracingError(Exception):
    """The network cannot be traced, for example because its control flow depends on the input.

    Handled in this folder.
    """


@dataclass(frozen=True)
class Trace:
    """The operations of a network in evaluation mode, in execution order."""

    network: nn.Module
    graph: fx.Graph
    from_image: frozenset[fx.Node]  # operations whose results depend on the image; the others can be rerun anywhere
    results: dict[fx.Node, tuple[Any, Any]]  # for 2 and for 3 images; tensors are on the meta device, without values
    outputs: dict[str, fx.Node]  # the operation that computes a module's output, by the module's name
    head_input: fx.Node | None  # computes what the last layer is given; None where it is not one module
    network_output: fx.Node  # what the network's own forward returns
    pooled_stages: tuple[fx.Node, ...] = ()  # where there is a stage head

    @property
    def order(self) -> list[str]:
        """Qualified names of modules, and of parameters used directly, in order of first execution."""
        return list(
            dict.fromkeys(str(each.target) for each in self.graph.nodes if each.op in ("call_module", "get_attr"))
        )

    @property
    def layers(self) -> list[tuple[str, int]]:
        """Modules in execution order, each with its number of layers as Keras counts.

        An activation inside a normalization module is a second layer; an addition is a layer without a module (""); an
        identity, dropout or flattening is none.
        """
        counted: list[tuple[str, int]] = []
        for node in self.graph.nodes:
            if node.op == "call_module":
                module = self.network.get_submodule(str(node.target))
                if not isinstance(module, StageHead):
                    counted.append((str(node.target), _count_layers(module)))
            elif node.op == "call_function" and getattr(node.target, "__name__", "") in ("add", "iadd"):
                counted.append(("", 1))
        return [(name, count) for name, count in counted if count]

    def parameters(self, node: fx.Node) -> Iterator[nn.Parameter]:
        """Yield the parameters that an operation uses directly."""
        if node.op not in ("call_module", "get_attr"):
            return
        owner: object = reduce(getattr, str(node.target).split("."), self.network)
        if isinstance(owner, nn.Module):
            yield from owner.parameters()
        elif isinstance(owner, nn.Parameter):
            yield owner

    def is_static(self, node: fx.Node) -> bool:
        """Whether the result is not a tensor, and is a constant or a multiple of the batch size."""
        return node in self.from_image and _is_static(*self.results[node])

    def static_value(self, node: fx.Node, batch: fx.Node) -> Any:
        """The result of a static operation as an argument of others, derived from a tensor with a batch dimension."""
        return _as_argument(*self.results[node], batch)

    def is_batched(self, node: fx.Node) -> bool:
        """Whether the result is a single floating-point tensor whose first dimension is the batch."""
        two, three = self.results[node]
        if not (isinstance(two, Tensor) and isinstance(three, Tensor) and two.is_floating_point()):
            return False
        return two.shape[:1] == (2,) and three.shape[:1] == (3,) and two.shape[1:] == three.shape[1:]

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """The shape of a batched tensor, without the batch."""
        return tuple(self.results[node][0].shape[1:])


def trace(network: nn.Module, input_shape: Sequence[int]) -> Trace:
    """Trace a network once, with its stage head if it has one, and run it on 2 and on 3 images.

    :param input_shape: of one image, (3, H, W).
    :raises TracingError: the network cannot be traced; the message has the reason.
    """
    try:
        graph, tracer = _trace_graph(network)
        (end,) = (node for node in graph.nodes if node.op == "output")
        network_output = end.args[0]
        outputs, given = tracer.outputs, tracer.input_of(own_head(network))
        head = stage_head(network)
        pooled = () if head is None or given is None else extend_graph(graph, outputs, given, head)
        two, three = (_record_results(network, graph, (count, *input_shape)) for count in (2, 3))
    except Exception as failure:  # fx raises several types for control flow that it cannot follow
        reason = str(failure).strip().split("\n")[0]
        raise TracingError(f"{type(failure).__name__}: {reason}") from failure
    results = {node: (two[node], three[node]) for node in two}
    return Trace(network, graph, _image_dependent(graph), results, outputs, given, network_output, pooled)


def remove_unused(graph: fx.Graph) -> fx.Graph:
    """Remove the operations whose results are not used, except inputs; return the same graph."""
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    return graph


class _Tracer(fx.Tracer):
    """Keeps as single operations what timm and torch.nn treat as such, and what behaves differently in training."""

    def __init__(self) -> None:
        from timm.layers import get_notrace_functions, get_notrace_modules

        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self.leaf_types = (*get_notrace_modules(), nn.modules.batchnorm._BatchNorm)
        self.thread = threading.get_ident()
        self.outputs: dict[str, fx.Node] = {}
        self.inputs: dict[nn.Module, fx.Node] = {}  # the first argument of each module

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.leaf_types) or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        """A call of any module in any thread gets here, but only those of this thread are traced."""
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        output = super().call_module(m, forward, args, kwargs)
        if isinstance(output, fx.Proxy):
            self.outputs[self.path_of_module(m)] = output.node
            if args and isinstance(args[0], fx.Proxy):
                self.inputs[m] = args[0].node
        return output

    def input_of(self, module: object) -> fx.Node | None:
        """The operation that computes what a module is given; None if it was not called."""
        return self.inputs.get(module) if isinstance(module, nn.Module) else None

    def keep_only(self, nodes: Collection[fx.Node]) -> None:
        """Forget operations that are no longer in the graph."""
        self.outputs = {name: node for name, node in self.outputs.items() if node in nodes}
        self.inputs = {module: node for module, node in self.inputs.items() if node in nodes}

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """As :meth:`call_module`, for attributes of modules."""
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def _count_layers(module: nn.Module) -> int:
    if isinstance(module, nn.Identity | nn.Flatten | nn.Dropout):
        return 0
    is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    return 1 + is_norm * _count_layers(getattr(module, "act", nn.Identity()))


def own_head(network: nn.Module) -> object:
    """The last layer of a network, or a tuple of two for a distilled one; None where it names none."""
    return network.get_classifier() if hasattr(network, "get_classifier") else None  # type: ignore[operator]


def _trace_graph(network: nn.Module) -> tuple[fx.Graph, _Tracer]:
    """The operations, and which of them computes input and output of each module."""
    arguments = list(inspect.signature(network.forward).parameters.values())[1:]
    options = {each.name: each.default for each in arguments if each.default is not inspect.Parameter.empty}
    with TRACING:
        tracer = _Tracer()
        graph = tracer.trace(network, concrete_args=options)
    for node in reversed(graph.nodes):
        # The InputSpec fixes the input size: an assertion on it would be one more dependency across the cut.
        if node.op == "call_function" and getattr(node.target, "__name__", "").startswith("_assert"):
            graph.erase_node(node)
    remove_unused(graph)
    for option in [node for node in graph.nodes if node.op == "placeholder"][1:]:
        graph.erase_node(option)  # its value is fixed
    tracer.keep_only(set(graph.nodes))
    return graph, tracer


def _image_dependent(graph: fx.Graph) -> frozenset[fx.Node]:
    reached: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or reached.intersection(node.all_input_nodes):
            reached.add(node)
    return frozenset(reached)


class _Recorder(fx.Interpreter):
    """Records the result of each operation; tensors without their values."""

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        super().__init__(network, graph=graph)
        self.results: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.results[n] = fx.node.map_aggregate(
            value, lambda each: each.to("meta") if isinstance(each, Tensor) else each
        )
        return value


def _record_results(network: nn.Module, graph: fx.Graph, shape: Sequence[int]) -> dict[fx.Node, Any]:
    recorder = _Recorder(network, graph)
    # Computed, and not by meta tensors from the start: of a small network that takes three times as long.
    with torch.no_grad():
        recorder.run(torch.zeros(tuple(shape), device=next(network.parameters()).device))
    return recorder.results


def _is_static(two: Any, three: Any) -> bool:
    if isinstance(two, tuple | list) and isinstance(three, tuple | list):
        return len(two) == len(three) and all(map(_is_static, two, three))
    if isinstance(two, Tensor) or isinstance(three, Tensor):
        return False
    return bool(two == three) or _count_per_image(two, three) is not None


def _count_per_image(two: Any, three: Any) -> int | None:
    """The factor of a count that is proportional to the batch size, else None."""
    are_counts = type(two) is int and type(three) is int
    return two // 2 if are_counts and two % 2 == 0 and three * 2 == two * 3 else None


def _as_argument(two: Any, three: Any, batch: fx.Node) -> Any:
    if isinstance(two, tuple | list):
        return tuple(_as_argument(*each, batch) for each in zip(two, three, strict=True))
    graph = batch.graph
    if isinstance(two, torch.device):
        return graph.call_function(getattr, (batch, "device"))
    if two == three:
        return two
    return graph.call_function(_times_batch_size, (batch, _count_per_image(two, three)))


def _times_batch_size(batch: Tensor, per_image: int) -> int:
    return batch.shape[0] * per_image
