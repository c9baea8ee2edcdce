"""What two cuts of one network compute of an image, as one network that computes it once."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from headstart.models.cut import Cut
from headstart.models.stage_head import pack

__all__ = ["joint_prefix"]


def joint_prefix(first: Cut, second: Cut) -> nn.Module | None:
    """The prefixes of two cuts of one network as one: images (B, 3, H, W) -> rows of both, flattened, (B, D1 + D2).

    Operations that both have are computed once, so that the second one costs nothing where it is the earlier cut.
    None for networks that cannot be traced, and for pixels.

    >>> import torch
    >>> from headstart.models.backbone import build
    >>> from headstart.models.cut import cut
    >>> network = build("test_resnet", classes=10)
    >>> first, second = (cut(network, train, input_shape=(3, 64, 64)) for train in ("head", "last:1"))
    >>> x = torch.rand(2, 3, 64, 64)
    >>> both = [part.prefix(x).flatten(1) for part in (first, second)]
    >>> torch.equal(joint_prefix(first, second)(x), torch.cat(both, 1))
    True
    """
    graphs = [each.prefix.graph for each in (first, second) if isinstance(each.prefix, fx.GraphModule)]
    if len(graphs) < 2:
        return None
    joint = fx.Graph()
    known: dict[str, fx.Node] = {}  # by what is computed
    rows = [joint.call_method("flatten", (_added(graph, joint, known), 1)) for graph in graphs]
    joint.output(joint.call_function(pack, tuple(rows)))
    assert isinstance(first.prefix, fx.GraphModule)
    return fx.GraphModule(first.prefix, joint, class_name="JointPrefix").eval()


def _added(graph: fx.Graph, joint: fx.Graph, known: dict[str, fx.Node]) -> Any:
    """Add the operations of a graph that are not there yet; return the one whose result is the graph's output."""
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node.op == "output":
            return copies[node.args[0]]
        arguments = fx.node.map_arg((node.args, node.kwargs), copies.__getitem__)
        computed = repr((node.op, node.target, arguments))  # of a node that is its name, which is unique
        if computed not in known:
            known[computed] = joint.node_copy(node, copies.__getitem__)
        copies[node] = known[computed]
    raise AssertionError("a graph has an output")
