"""Where training starts decides where the network is cut.

The network is traced once. Among the points where one tensor carries all that later operations need, the cut is the
latest that comes before the first trainable parameter. What lies before it is the **prefix**: frozen, run once an image
and view. What lies after it is the **tail**, an ordinary module that is trained on stored features.

The two share the network's own modules and parameters: nothing is copied, and training the tail trains the network.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from headstart.errors import CutError
from headstart.models.trace import Trace, Untraceable, drop_unused, trace
from headstart.models.trainable import head_names, select

__all__ = ["Cut", "cut"]


@dataclass(frozen=True)
class Cut:
    """A network in two parts: ``tail(prefix(x)) == network(x)``, bit for bit in float32."""

    prefix: nn.Module  # images (B, 3, H, W), normalised -> features (B, *feature_shape)
    tail: nn.Module  # features (B, *feature_shape) -> logits (B, C)
    name: str  # the operation whose output is stored, for example "add_8"; "" is the image itself
    feature_shape: tuple[int, ...]  # of one image, without the batch
    trainable: tuple[str, ...]  # names of the network's parameters that are trained

    @property
    def at_image(self) -> bool:
        """Whether training starts so early that pixels are what is stored; the tail is then the whole network."""
        return not self.name

    @property
    def bytes_per_image(self) -> int:
        """What one image takes in the store: two bytes a value, one where pixels are stored."""
        return (1 if self.at_image else 2) * math.prod(self.feature_shape)


def cut(network: nn.Module, train: str, *, input_shape: Sequence[int]) -> Cut:
    """Put ``network`` into evaluation mode, and cut it before the first parameter that ``train`` names.

    :param train: "head", "last:N" blocks, "layers:N", "from:MODULE", or "all".
    :param input_shape: of one image, (3, H, W).
    :raises CutError: the network cannot be cut there; the text says what can.

    >>> from headstart.models.backbone import build
    >>> parts = cut(build("test_resnet", classes=10), "last:1", input_shape=(3, 64, 64))
    >>> x = torch.rand(2, 3, 64, 64)
    >>> parts.tail(parts.prefix(x)).shape
    torch.Size([2, 10])
    """
    network.eval()
    if train == "all":
        return _at_image(network, select(network, train), input_shape)
    try:
        traced = trace(network, input_shape)
        trainable = select(network, train, order=traced.order, layers=traced.layers)
        parts = _split(traced, _latest_point(traced, trainable), trainable)
        if not _is_whole(parts, network, input_shape):
            raise Untraceable("what was traced gives other values")
    except Untraceable as failure:
        if train != "head":
            raise CutError(
                f"--train {train}: this network cannot be traced, and so not be cut; use --train head or --train all "
                f"({failure})"
            ) from failure
        return _cut_at_logits(network, input_shape)
    return parts


def _latest_point(traced: Trace, trainable: Sequence[str]) -> fx.Node:
    """The operation whose result alone is needed later, the last before anything trainable has its say."""
    trained = {id(traced.network.get_parameter(name)) for name in trainable}
    best: fx.Node | None = None
    moving: set[fx.Node] = set()  # what changes in training
    alive: dict[fx.Node, int] = {}  # results from the image, and by how many operations they are still to be used
    for node in traced.graph.nodes:
        if moving.intersection(node.all_input_nodes) or any(id(each) in trained for each in traced.parameters(node)):
            if node in traced.from_image:
                break
            moving.add(node)
        elif node in traced.from_image and not traced.is_known(node):
            _use(alive, node)
            if uses := sum(not traced.is_known(user) for user in node.users):
                alive[node] = uses
            if len(alive) == 1 and traced.is_batched(only := next(iter(alive))):
                best = only
    else:
        raise CutError("what is to be trained has no part in what this network gives")
    if best is None:
        raise CutError("this network has no point that one tensor passes before what is to be trained; use --train all")
    return best


def _use(alive: dict[fx.Node, int], node: fx.Node) -> None:
    for used in alive.keys() & set(node.all_input_nodes):
        alive[used] -= 1
        if not alive[used]:
            del alive[used]


def _split(traced: Trace, point: fx.Node, trainable: Sequence[str]) -> Cut:
    if point.op == "placeholder":
        return _at_image(traced.network, trainable, traced.shape(point))
    prefix = fx.GraphModule(traced.network, _prefix(traced, point), class_name="Prefix")
    tail = fx.GraphModule(traced.network, _tail(traced, point), class_name="Tail")
    return Cut(prefix.eval(), tail.eval(), point.name, traced.shape(point), tuple(trainable))


def _prefix(traced: Trace, point: fx.Node) -> fx.Graph:
    prefix = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in traced.graph.nodes:
        copies[node] = prefix.node_copy(node, copies.__getitem__)
        if node is point:
            break
    prefix.output(copies[point])
    return drop_unused(prefix)


def _tail(traced: Trace, point: fx.Node) -> fx.Graph:
    tail = fx.Graph()
    features = tail.placeholder("features")
    copies: dict[fx.Node, Any] = {}
    passed = False
    for node in traced.graph.nodes:
        if node is point:
            copies[node], passed = features, True
        elif traced.is_known(node):
            copies[node] = traced.known(node, features)
        elif passed or node not in traced.from_image:
            copies[node] = tail.node_copy(node, copies.__getitem__)
    return drop_unused(tail)


def _at_image(network: nn.Module, trainable: Sequence[str], input_shape: Sequence[int]) -> Cut:
    return Cut(nn.Identity(), network, "", tuple(input_shape), tuple(trainable))


def _cut_at_logits(network: nn.Module, input_shape: Sequence[int]) -> Cut:
    """For what cannot be traced: the pooled features, and the network's own head after them."""
    tail = network.get_classifier()  # type: ignore[operator]
    if not (hasattr(network, "forward_head") and isinstance(tail, nn.Module)):
        raise CutError("this network can neither be traced nor tell its pooled features; use --train all")
    prefix = _PooledFeatures(_without_head(network, tail))
    features = _evaluated(prefix, _noise(network, input_shape))
    parts = Cut(prefix.eval(), tail, "pre_logits", tuple(features.shape[1:]), tuple(head_names(network)))
    if not _is_whole(parts, network, input_shape):
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
    """The same parameters in a network whose head does nothing: what is trained has no place in what is frozen."""
    tensors = {id(each): each for each in (*network.parameters(), *network.buffers())}
    bare = copy.deepcopy(network, tensors)  # what stands in the memo is not copied
    for name, module in network.named_modules():
        if module is head:
            bare.set_submodule(name, nn.Identity())
    return bare


def _is_whole(parts: Cut, network: nn.Module, input_shape: Sequence[int]) -> bool:
    """Whether the two parts give what the network gives."""
    image = _noise(network, input_shape)
    return torch.equal(_evaluated(parts.tail, _evaluated(parts.prefix, image)), _evaluated(network, image))


def _noise(network: nn.Module, input_shape: Sequence[int]) -> Tensor:
    """One image, the same each time."""
    image = torch.rand(1, *input_shape, generator=torch.Generator().manual_seed(0))
    return image.to(next(network.parameters()).device)


def _evaluated(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        values: Tensor = module(x)
    return values
