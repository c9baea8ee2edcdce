"""A network as a list of operations, and what is known of each one's result.

A network for a fixed input size has results that are no tensors: shapes, the size of the batch, a device. They are
known beforehand, or can be read off any tensor that has the batch in front; so they never have to be carried from one
part of the network to another.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, fx, nn

__all__ = ["Trace", "Untraceable", "drop_unused", "trace"]


class Untraceable(Exception):  # noqa: N818 - a finding, handled in this folder
    """The network's control flow depends on its input, or its operations cannot be told apart."""


@dataclass(frozen=True)
class Trace:
    """The operations of a network in evaluation mode, in the order in which they run."""

    network: nn.Module
    graph: fx.Graph
    from_image: frozenset[fx.Node]  # those whose results depend on the image; the others can be run again anywhere
    results: dict[fx.Node, tuple[Any, Any]]  # for 2 and for 3 images; of tensors, the shape without the values

    @property
    def order(self) -> list[str]:
        """Qualified names of modules, and of parameters used by themselves, in the order in which they first run."""
        return list(
            dict.fromkeys(str(each.target) for each in self.graph.nodes if each.op in ("call_module", "get_attr"))
        )

    @property
    def layers(self) -> list[tuple[str, int]]:
        """Modules in the order in which they run, and how many layers each is as Keras counts.

        An activation that a normalisation brings along is a second layer, an addition is one without a module ("");
        what only passes on or flattens is none.
        """
        counted: list[tuple[str, int]] = []
        for node in self.graph.nodes:
            if node.op == "call_module":
                module = self.network.get_submodule(str(node.target))
                counted.append((str(node.target), _layers(module)))
            elif node.op == "call_function" and getattr(node.target, "__name__", "") in ("add", "iadd"):
                counted.append(("", 1))
        return [(name, count) for name, count in counted if count]

    def parameters(self, node: fx.Node) -> Iterator[nn.Parameter]:
        """The parameters that an operation uses by itself."""
        if node.op not in ("call_module", "get_attr"):
            return
        owner: object = reduce(getattr, str(node.target).split("."), self.network)
        if isinstance(owner, nn.Module):
            yield from owner.parameters()
        elif isinstance(owner, nn.Parameter):
            yield owner

    def is_known(self, node: fx.Node) -> bool:
        """Whether the result is no tensor, and can be written down or read off the batch's size."""
        return node in self.from_image and _is_known(*self.results[node])

    def known(self, node: fx.Node, batch: fx.Node) -> Any:
        """The result of a known operation as an argument for others, read off a tensor with the batch in front."""
        return _written_down(*self.results[node], batch)

    def is_batched(self, node: fx.Node) -> bool:
        """Whether the result is one tensor of floats with the batch in front."""
        two, three = self.results[node]
        if not (isinstance(two, Tensor) and isinstance(three, Tensor) and two.is_floating_point()):
            return False
        return two.shape[:1] == (2,) and three.shape[:1] == (3,) and two.shape[1:] == three.shape[1:]

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """Of a batched tensor, without the batch."""
        return tuple(self.results[node][0].shape[1:])


def trace(network: nn.Module, input_shape: Sequence[int]) -> Trace:
    """Follow a network once, and run it on 2 and on 3 images.

    :param input_shape: of one image, (3, H, W).
    :raises Untraceable: it cannot be followed; the text has the reason.
    """
    try:
        graph = _graph(network)
        two, three = (_results(network, graph, (count, *input_shape)) for count in (2, 3))
    except Exception as failure:  # what fx raises for control flow that it cannot follow is not one type
        reason = str(failure).strip().split("\n")[0]
        raise Untraceable(f"{type(failure).__name__}: {reason}") from failure
    return Trace(network, graph, _from_image(graph), {node: (two[node], three[node]) for node in two})


def drop_unused(graph: fx.Graph) -> fx.Graph:
    """Without the operations that nothing uses, the inputs excepted."""
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    return graph


class _Tracer(fx.Tracer):
    """Keeps as one operation what timm and torch.nn keep whole, and what acts differently in training."""

    def __init__(self) -> None:
        from timm.layers import get_notrace_functions, get_notrace_modules

        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self.whole = (*get_notrace_modules(), nn.modules.batchnorm._BatchNorm)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.whole) or super().is_leaf_module(m, module_qualified_name)


def _layers(module: nn.Module) -> int:
    if isinstance(module, nn.Identity | nn.Flatten | nn.Dropout):
        return 0
    return 1 + isinstance(module, nn.modules.batchnorm._BatchNorm) * _layers(getattr(module, "act", nn.Identity()))


def _graph(network: nn.Module) -> fx.Graph:
    arguments = list(inspect.signature(network.forward).parameters.values())[1:]
    options = {each.name: each.default for each in arguments if each.default is not inspect.Parameter.empty}
    graph = _Tracer().trace(network, concrete_args=options)
    for node in reversed(graph.nodes):
        # The input's size is fixed by the InputSpec: an assertion on it would only be one more thing to carry.
        if node.op == "call_function" and getattr(node.target, "__name__", "").startswith("_assert"):
            graph.erase_node(node)
    drop_unused(graph)
    for option in [node for node in graph.nodes if node.op == "placeholder"][1:]:
        graph.erase_node(option)  # its value is fixed
    return graph


def _from_image(graph: fx.Graph) -> frozenset[fx.Node]:
    reached: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or reached.intersection(node.all_input_nodes):
            reached.add(node)
    return frozenset(reached)


class _Recorder(fx.Interpreter):
    """Keeps what each operation gave; of tensors, all but the values."""

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        super().__init__(network, graph=graph)
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.seen[n] = fx.node.map_aggregate(value, lambda each: each.to("meta") if isinstance(each, Tensor) else each)
        return value


def _results(network: nn.Module, graph: fx.Graph, shape: Sequence[int]) -> dict[fx.Node, Any]:
    recorder = _Recorder(network, graph)
    with torch.no_grad():
        recorder.run(torch.zeros(shape, device=next(network.parameters()).device))
    return recorder.seen


def _is_known(two: Any, three: Any) -> bool:
    if isinstance(two, tuple | list) and isinstance(three, tuple | list):
        return len(two) == len(three) and all(map(_is_known, two, three))
    if isinstance(two, Tensor) or isinstance(three, Tensor):
        return False
    return bool(two == three) or _images(two, three) is not None


def _images(two: Any, three: Any) -> int | None:
    """How many there are for each image, of something that grows with the batch."""
    counts = type(two) is int and type(three) is int
    return two // 2 if counts and two % 2 == 0 and three * 2 == two * 3 else None


def _written_down(two: Any, three: Any, batch: fx.Node) -> Any:
    if isinstance(two, tuple | list):
        return tuple(_written_down(*each, batch) for each in zip(two, three, strict=True))
    graph = batch.graph
    if isinstance(two, torch.device):
        return graph.call_function(getattr, (batch, "device"))
    if two == three:
        return two
    return graph.call_function(_times, (batch, _images(two, three)))


def _times(batch: Tensor, each: int) -> int:
    """The size of a batch times what each image has."""
    return batch.shape[0] * each
