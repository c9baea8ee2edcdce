"""Cutting a network in two, at the point where training starts.

The network is traced once. The candidates are the points where a single tensor carries everything that later operations
need; the cut is the last candidate before the first trainable parameter. Everything before it is the **prefix**:
frozen, run once per image and view. Everything after it is the **tail**, an ordinary module that is trained on stored
features. The pooled stages before the cut, where a stage head wants them, are stored in the same row.

Both share the modules and parameters of the network: nothing is copied, and training the tail trains the network.
"""

from __future__ import annotations

import copy
import math
import operator
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from headstart.errors import CutError
from headstart.models.importers.graphs import ImportedNetwork
from headstart.models.stage_head import Unpack, pack, stage_head
from headstart.models.trace import Trace, TracingError, remove_unused, trace
from headstart.models.trainable import head_parameter_names, select_parameters

__all__ = ["Cut", "cut"]

_UNPACK = "unpack_row"  # the module of a tail that takes rows apart


@dataclass(frozen=True)
class Cut:
    """A network in two parts, with ``tail(prefix(x)) == network(x)``, bit for bit in float32.

    With a stage head ``network(x)`` means its logits together with those of the stage head.
    """

    prefix: nn.Module  # normalized images (B, 3, H, W) -> rows (B, *row_shape)
    tail: nn.Module  # rows (B, *row_shape) -> logits (B, C)
    name: str  # the operation whose output is stored, for example "add_8"; "" for the image itself
    feature_shape: tuple[int, ...]  # of one image, without the batch
    trainable: tuple[str, ...]  # names of the network parameters that are trained
    stage_widths: tuple[int, ...] = ()  # of the pooled stages that are stored beside the features

    @property
    def row_shape(self) -> tuple[int, ...]:
        """What is stored of one image: the features, or if there are stages, one vector of both."""
        if not self.stage_widths:
            return self.feature_shape
        return (math.prod(self.feature_shape) + sum(self.stage_widths),)

    @property
    def at_image(self) -> bool:
        """Whether training starts so early that pixels are stored; the tail is then the whole network."""
        return not self.name

    @property
    def bytes_per_image(self) -> int:
        """Size of one image in the store: two bytes per value, or one per value for pixels."""
        return (1 if self.at_image else 2) * math.prod(self.row_shape)


def cut(network: nn.Module, train: str, *, input_shape: Sequence[int]) -> Cut:
    """Put ``network`` into evaluation mode, and cut it before the first parameter that ``train`` selects.

    :param train: "head", "last:N" blocks, "layers:N", "from:MODULE", or "all".
    :param input_shape: of one image, (3, H, W).
    :raises CutError: the network cannot be cut there; the message says what to use instead.

    >>> from headstart.models.backbone import build
    >>> parts = cut(build("test_resnet", classes=10), "last:1", input_shape=(3, 64, 64))
    >>> x = torch.rand(2, 3, 64, 64)
    >>> parts.tail(parts.prefix(x)).shape
    torch.Size([2, 10])
    """
    network.eval()
    if isinstance(network, ImportedNetwork):
        return _cut_imported(network, train)
    if train == "all":
        if stage_head(network) is not None:
            raise CutError("--train all: where all is trained, no stage is frozen: use it without a stage head")
        return _cut_at_image(network, select_parameters(network, train), input_shape)
    try:
        traced = trace(network, input_shape)
        trainable = select_parameters(network, train, order=traced.order, layers=traced.layers)
        parts = _split(traced, _last_cut_point(traced, trainable), trainable)
        if not _is_equivalent_to_trace(parts, traced, input_shape):
            raise TracingError("the traced network computes other values")
    except TracingError as failure:
        if train != "head" or stage_head(network) is not None:
            raise CutError(
                f"--train {train}: this network cannot be traced and therefore not be cut; use --train head or "
                f"--train all ({failure})"
            ) from failure
        return _cut_before_head(network, input_shape)
    return parts


@dataclass(frozen=True)
class _Point:
    """Where a network can be cut."""

    features: fx.Node
    stages: tuple[fx.Node, ...]  # pooled stages that later operations need as well
    last: fx.Node  # the last operation before the cut


def _last_cut_point(traced: Trace, trainable: Sequence[str]) -> _Point:
    """The last operation before anything trainable whose result is, with pooled stages, all that is needed later."""
    trained = {id(traced.network.get_parameter(name)) for name in trainable}
    best: _Point | None = None
    varying: set[fx.Node] = set()  # results that change during training
    alive: dict[fx.Node, int] = {}  # results that depend on the image, with their number of remaining uses
    for node in traced.graph.nodes:
        if varying.intersection(node.all_input_nodes) or any(id(each) in trained for each in traced.parameters(node)):
            if node in traced.from_image:
                break
            varying.add(node)
        elif node in traced.from_image and not traced.is_static(node):
            _count_use(alive, node)
            if uses := sum(not traced.is_static(user) for user in node.users):
                alive[node] = uses
            stages = tuple(each for each in traced.pooled_stages if each in alive)
            others = [each for each in alive if each not in stages]
            if len(others) == 1 and traced.is_batched(others[0]):
                best = _Point(others[0], stages, node)
    else:
        raise CutError("the parameters to train do not affect the output of this network")
    if best is None:
        raise CutError("in this network no single tensor separates the parameters to train; use --train all")
    return best


def _count_use(alive: dict[fx.Node, int], node: fx.Node) -> None:
    for used in alive.keys() & set(node.all_input_nodes):
        alive[used] -= 1
        if not alive[used]:
            del alive[used]


def _split(traced: Trace, point: _Point, trainable: Sequence[str]) -> Cut:
    features, widths = point.features, tuple(traced.shape(stage)[0] for stage in point.stages)
    if features.op == "placeholder":
        whole = traced.network
        if traced.pooled_stages:  # the operations of its stage head are in the graph alone
            whole = fx.GraphModule(traced.network, traced.graph, class_name="Tail")
        return _cut_at_image(whole, trainable, traced.shape(features))
    prefix = fx.GraphModule(traced.network, _prefix_graph(traced, point), class_name="Prefix")
    if widths:  # for the moment: the tail takes it over
        traced.network.add_module(_UNPACK, Unpack(traced.shape(features), widths))
    tail = fx.GraphModule(traced.network, _tail_graph(traced, point), class_name="Tail")
    if widths:
        delattr(traced.network, _UNPACK)
    name = features.name + (f"+{len(widths)} stages" if widths else "")
    return Cut(prefix.eval(), tail.eval(), name, traced.shape(features), tuple(trainable), widths)


def _prefix_graph(traced: Trace, point: _Point) -> fx.Graph:
    prefix = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in traced.graph.nodes:
        copies[node] = prefix.node_copy(node, copies.__getitem__)
        if node is point.last:
            break
    result = copies[point.features]
    if point.stages:
        result = prefix.call_function(pack, (result, *(copies[stage] for stage in point.stages)))
    prefix.output(result)
    return remove_unused(prefix)


def _tail_graph(traced: Trace, point: _Point) -> fx.Graph:
    tail = fx.Graph()
    features = tail.placeholder("features")
    given: dict[fx.Node, Any] = {point.features: features}
    if point.stages:
        parts = tail.call_module(_UNPACK, (features,))
        names = (point.features, *point.stages)
        given = {node: tail.call_function(operator.getitem, (parts, row)) for row, node in enumerate(names)}
        features = given[point.features]
    copies: dict[fx.Node, Any] = {}
    passed = False
    for node in traced.graph.nodes:
        passed = passed or node is point.features
        if node in given:
            copies[node] = given[node]
        elif traced.is_static(node):
            copies[node] = traced.static_value(node, features)
        elif passed or node not in traced.from_image:
            copies[node] = tail.node_copy(node, copies.__getitem__)
    return remove_unused(tail)


def _cut_at_image(network: nn.Module, trainable: Sequence[str], input_shape: Sequence[int]) -> Cut:
    return Cut(nn.Identity(), network, "", tuple(input_shape), tuple(trainable))


def _cut_imported(network: ImportedNetwork, train: str) -> Cut:
    """Cut a network of another framework, whose body stays frozen, before its head."""
    if train != "head":
        raise CutError(
            f"--train {train}: a network from an ONNX file, a SavedModel or a Keras file stays frozen; use --train head"
        )
    if not network.num_classes:
        raise CutError("this network ends in features and has no head to train; headstart summary --classes N adds one")
    names = tuple(head_parameter_names(network))
    tail = nn.Sequential(OrderedDict(head=network.get_classifier()))  # under its name in the network
    return Cut(network.prefix, tail, "features", (network.prefix.features,), names)


def _cut_before_head(network: nn.Module, input_shape: Sequence[int]) -> Cut:
    """Cut a network that cannot be traced between its pooled features and its head."""
    tail = network.get_classifier()  # type: ignore[operator]
    if not (hasattr(network, "forward_head") and isinstance(tail, nn.Module)):
        raise CutError("this network cannot be traced and has no access to its pooled features; use --train all")
    prefix = _PooledFeatures(_without_head(network, tail))
    features = _evaluate(prefix, _noise(network, input_shape))
    parts = Cut(prefix.eval(), tail, "pre_logits", tuple(features.shape[1:]), tuple(head_parameter_names(network)))
    if not _is_equivalent(parts, network, input_shape):
        raise CutError("this network can neither be traced nor cut before its head; use --train all")
    return parts


class _PooledFeatures(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.network.forward_head(self.network.forward_features(x), pre_logits=True)  # type: ignore[operator]
        return pooled


def _without_head(network: nn.Module, head: nn.Module) -> nn.Module:
    """The same parameters in a network with an identity as head: the prefix must not contain trained parameters."""
    tensors = {id(each): each for each in (*network.parameters(), *network.buffers())}
    headless = copy.deepcopy(network, tensors)  # entries of the memo are not copied
    for name, module in network.named_modules():
        if module is head:
            headless.set_submodule(name, nn.Identity())
    return headless


def _is_equivalent_to_trace(parts: Cut, traced: Trace, input_shape: Sequence[int]) -> bool:
    """Whether the two parts together compute what the operations compute, and these what the network computes."""
    network = traced.network
    if not traced.pooled_stages:  # the operations are those of the network
        return _is_equivalent(parts, network, input_shape)
    image = _noise(network, input_shape)
    with torch.no_grad():
        operations = fx.Interpreter(network, garbage_collect_values=False, graph=traced.graph)
        logits = operations.run(image)
        # Its forward, since a network with a stage head refuses to be called.
        as_traced = torch.equal(operations.env[traced.network_output], network.forward(image))
    return as_traced and torch.equal(_evaluate(parts.tail, _evaluate(parts.prefix, image)), logits)


def _is_equivalent(parts: Cut, network: nn.Module, input_shape: Sequence[int]) -> bool:
    """Whether the two parts together compute what the network computes."""
    image = _noise(network, input_shape)
    return torch.equal(_evaluate(parts.tail, _evaluate(parts.prefix, image)), _evaluate(network, image))


def _noise(network: nn.Module, input_shape: Sequence[int]) -> Tensor:
    """One image, the same each time."""
    image = torch.rand(1, *input_shape, generator=torch.Generator().manual_seed(0))
    return image.to(next(network.parameters()).device)


def _evaluate(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        values: Tensor = module(x)
    return values
