"""The part of a head that is given the pooled outputs of a network's stages.

The last features of a network are made for the classes it was pretrained on; what its earlier stages compute often says
more about other classes (Evci, Dumoulin, Larochelle and Mozer, Head2Toe: Utilizing intermediate representations for
better transfer learning, ICML 2022, arXiv:2201.03529). The logits are those of the network's own head plus a linear
function of the pooled stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

__all__ = [
    "STAGE_HEAD",
    "Stage",
    "StageHead",
    "Unpack",
    "add_stage_head",
    "drop_unused_stages",
    "extend_graph",
    "pack",
    "remove_stage_head",
    "stage_head",
]

STAGE_HEAD = "stage_head"
"""The name of the stage head in the network, for example in the names of its parameters."""


@dataclass(frozen=True)
class Stage:
    """A module of a network whose output is pooled to one vector per image."""

    name: str  # of the module
    channels: int
    layout: Literal["NCHW", "NHWC", "NLC"]  # of its output
    prefix_tokens: int = 0  # NLC: tokens before those of the patches, of which the first is the class token

    @property
    def width(self) -> int:
        """Length of the pooled vector: the mean over positions, and the class token where there is one."""
        return self.channels * (1 + (self.prefix_tokens > 0))


class StageHead(nn.Linear):
    """Maps the pooled vectors of the stages, one after the other (B, width), to logits (B, C). It has no bias."""

    def __init__(self, stages: Sequence[Stage], classes: int) -> None:
        super().__init__(sum(stage.width for stage in stages), classes, bias=False)
        self.stages = tuple(stages)
        nn.init.zeros_(self.weight)


def stage_head(network: nn.Module) -> StageHead | None:
    """The stage head of a network, if it has one."""
    found = network._modules.get(STAGE_HEAD)
    return found if isinstance(found, StageHead) else None


def add_stage_head(network: nn.Module, stages: Sequence[Stage], classes: int) -> None:
    """Give a network a stage head of zeros.

    The network's own ``forward`` does not know it; it is part of both halves of :func:`headstart.models.cut.cut`. To
    call the network itself is refused from then on, so that nothing is predicted without it.
    """
    if stage_head(network) is None:
        network.register_forward_pre_hook(_refuse)
    network.add_module(STAGE_HEAD, StageHead(stages, classes))


def remove_stage_head(network: nn.Module) -> None:
    """Undo :func:`add_stage_head`, if there is a stage head."""
    if stage_head(network) is None:
        return
    delattr(network, STAGE_HEAD)
    for key, hook in list(network._forward_pre_hooks.items()):
        if hook is _refuse:
            del network._forward_pre_hooks[key]


def drop_unused_stages(network: nn.Module) -> None:
    """Leave out the stages whose weights are all zero, so that they are not computed any more."""
    head = stage_head(network)
    if head is None:
        return
    weights = torch.split(head.weight.detach(), [stage.width for stage in head.stages], 1)
    used = [(stage, weight) for stage, weight in zip(head.stages, weights, strict=True) if weight.any()]
    if not used:
        remove_stage_head(network)
    elif len(used) < len(head.stages):
        add_stage_head(network, [stage for stage, _ in used], len(head.weight))
        network.load_state_dict({f"{STAGE_HEAD}.weight": torch.cat([weight for _, weight in used], 1)}, strict=False)


def _refuse(network: nn.Module, _: tuple[Any, ...]) -> None:
    raise RuntimeError(f"{type(network).__name__} has a stage head: run the parts of headstart.models.cut.cut instead")


def extend_graph(graph: fx.Graph, outputs: Mapping[str, fx.Node], head: StageHead) -> tuple[fx.Node, ...]:
    """Pool the stages in the graph of a network, and add the logits of the stage head to those of the network.

    :param outputs: the operation that computes each module's output, by the module's name.
    :returns: the operations whose results are the pooled vectors.
    """
    pooled = []
    for stage in head.stages:
        source = outputs[stage.name]
        with graph.inserting_after(source):
            pooled.append(graph.call_function(pool, (source, stage.layout, stage.prefix_tokens)))
    (end,) = (node for node in graph.nodes if node.op == "output")
    (logits,) = end.args
    with graph.inserting_before(end):
        vectors = graph.call_function(torch.cat, (pooled, 1))
        end.args = (graph.call_function(sum_of_logits, (logits, graph.call_module(STAGE_HEAD, (vectors,)))),)
    return tuple(pooled)


def pool(x: Tensor, layout: str, prefix_tokens: int) -> Tensor:
    """Average a stage's output over the positions, (B, C); with prefix tokens, followed by the class token, (B, 2C).

    >>> pool(torch.arange(8.0).view(1, 2, 2, 2), "NCHW", 0)
    tensor([[1.5000, 5.5000]])
    >>> pool(torch.tensor([[[9.0], [1.0], [3.0]]]), "NLC", 1)
    tensor([[2., 9.]])
    """
    if layout == "NLC":
        mean = x[:, prefix_tokens:].mean(1)
        return torch.cat([mean, x[:, 0]], 1) if prefix_tokens else mean
    return x.mean((2, 3) if layout == "NCHW" else (1, 2))


def sum_of_logits(logits: Tensor, of_stages: Tensor) -> Tensor:
    """Not ``operator.add``, which :attr:`headstart.models.trace.Trace.layers` counts as a layer of the network."""
    return logits + of_stages


def pack(features: Tensor, *vectors: Tensor) -> Tensor:
    """One row per image: the features, flattened, then the vectors; (B, ...) and (B, n) each."""
    return torch.cat([features.flatten(1), *vectors], 1)


class Unpack(nn.Module):
    """The inverse of :func:`pack`: from rows (B, n) to the features (B, *shape) and the vectors."""

    def __init__(self, shape: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.shape, self.widths = tuple(shape), tuple(widths)
        self.channels_last = False  # whether features that are maps are converted to this memory format

    def forward(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Split the rows."""
        features, *vectors = torch.split(rows, [rows.shape[1] - sum(self.widths), *self.widths], 1)
        features = features.reshape(-1, *self.shape)
        if self.channels_last and features.ndim == 4:
            features = features.contiguous(memory_format=torch.channels_last)
        return features, *vectors
