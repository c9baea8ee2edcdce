"""The part of a head that is given the pooled outputs of a network's stages.

The last features of a network are made for the classes it was pretrained on; what its earlier stages compute often says
more about other classes (Evci, Dumoulin, Larochelle and Mozer, Head2Toe: Utilizing intermediate representations for
better transfer learning, ICML 2022, arXiv:2201.03529). The logits are those of the network's own head plus a linear
function of the pooled stages, plus a linear function of radial kernels of all of these features, where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

__all__ = [
    "STAGE_HEAD",
    "Stage",
    "StageHead",
    "Unpack",
    "add_stage_head",
    "drop_unused_stages",
    "extend_graph",
    "kernel_size",
    "pack",
    "radial_kernel",
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


class StageHead(nn.Module):
    """Maps the last features (B, D) and the pooled vectors of the stages (B, width) to logits (B, C), without a bias.

    The kernel is made of ``landmarks`` (m, K) and what describes the features that it is given: the first K of the last
    features followed by the vectors. It has no landmarks, (0, 0), until a state with some is loaded.
    """

    landmarks: Tensor  # (m, K), scaled
    kernel_mean: Tensor  # (K,)
    kernel_scale: Tensor  # (K,)
    kernel_weight: Tensor  # (C, m)

    def __init__(self, stages: Sequence[Stage], classes: int, features: int) -> None:
        super().__init__()
        self.stages = tuple(stages)
        self.features = features  # D
        self.weight = nn.Parameter(torch.zeros(classes, sum(stage.width for stage in stages)))
        # Buffers: they are set as a whole, never trained.
        self.register_buffer("landmarks", torch.zeros(0, 0))
        self.register_buffer("kernel_mean", torch.zeros(0))
        self.register_buffer("kernel_scale", torch.zeros(0))
        self.register_buffer("kernel_weight", torch.zeros(classes, 0))

    def forward(self, features: Tensor, vectors: Tensor) -> Tensor:
        """The logits to be added to those of the network's own head."""
        logits = functional.linear(vectors, self.weight)
        if not len(self.landmarks):
            return logits
        given = torch.cat([features, vectors], 1)[:, : self.landmarks.shape[1]]
        scaled = (given - self.kernel_mean) / self.kernel_scale
        return logits + functional.linear(radial_kernel(scaled, self.landmarks), self.kernel_weight)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        """As usual, but the number of landmarks is that of the state.

        :raises RuntimeError: the parts of the kernel do not fit together.
        """
        found = {name: state_dict[prefix + name] for name in _KERNEL if prefix + name in state_dict}
        if found:
            _check_kernel(found, len(self.weight), self.features + self.weight.shape[1])
        for name, value in found.items():
            setattr(self, name, getattr(self, name).new_empty(value.shape))
        super()._load_from_state_dict(state_dict, prefix, *others)


_KERNEL = ("landmarks", "kernel_mean", "kernel_scale", "kernel_weight")


def _check_kernel(parts: Mapping[str, Tensor], classes: int, features: int) -> None:
    if missing := [name for name in _KERNEL if name not in parts]:
        raise RuntimeError(f"{STAGE_HEAD}.{missing[0]} is missing")
    if parts["landmarks"].ndim != 2:
        raise RuntimeError(f"{STAGE_HEAD}.landmarks is {tuple(parts['landmarks'].shape)}, must have two dimensions")
    count, width = parts["landmarks"].shape
    if width > features:
        raise RuntimeError(f"{STAGE_HEAD}.landmarks have {width} features, but there are only {features}")
    expected = {"kernel_mean": (width,), "kernel_scale": (width,), "kernel_weight": (classes, count)}
    for name, shape in expected.items():
        if parts[name].shape != shape:
            raise RuntimeError(f"{STAGE_HEAD}.{name} is {tuple(parts[name].shape)}, must be {shape}")


def radial_kernel(x: Tensor, landmarks: Tensor) -> Tensor:
    """``exp(-|x - y|²)`` of each row of x (n, D) with each landmark (m, D): (n, m).

    >>> radial_kernel(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0], [1.0, 3.0]]))
    tensor([[1.0000, 0.3679]])
    """
    squares = x.square().sum(1, keepdim=True) + landmarks.square().sum(1) - 2 * functional.linear(x, landmarks)
    return torch.exp(-squares.clamp_min(0))


def stage_head(network: nn.Module) -> StageHead | None:
    """The stage head of a network, if it has one."""
    found = network._modules.get(STAGE_HEAD)
    return found if isinstance(found, StageHead) else None


def kernel_size(network: nn.Module) -> int:
    """How many numbers the kernel of a network's stage head consists of, landmarks included; 0 without a kernel."""
    head = stage_head(network)
    return 0 if head is None else sum(head.get_buffer(name).numel() for name in _KERNEL)


def add_stage_head(network: nn.Module, stages: Sequence[Stage], classes: int) -> None:
    """Give a network, whose own head is one linear layer, a stage head of zeros.

    The network's own ``forward`` does not know it; it is part of both halves of :func:`headstart.models.cut.cut`. To
    call the network itself is refused from then on, so that nothing is predicted without it.
    """
    if stage_head(network) is None:
        network.register_forward_pre_hook(_refuse)
    features = network.get_classifier().in_features  # type: ignore[operator]
    network.add_module(STAGE_HEAD, StageHead(stages, classes, features))


def remove_stage_head(network: nn.Module) -> None:
    """Undo :func:`add_stage_head`, if there is a stage head."""
    if stage_head(network) is None:
        return
    delattr(network, STAGE_HEAD)
    for key, hook in list(network._forward_pre_hooks.items()):
        if hook is _refuse:
            del network._forward_pre_hooks[key]


def drop_unused_stages(network: nn.Module) -> None:
    """Leave out the stages that neither a weight nor the kernel uses, so that they are not computed any more."""
    head = stage_head(network)
    if head is None:
        return
    widths = [stage.width for stage in head.stages]
    in_kernel = head.landmarks.shape[1] - head.features  # columns of the first vectors
    starts = [sum(widths[:number]) for number in range(len(widths))]
    weights = torch.split(head.weight.detach(), widths, 1)
    used = [number for number, weight in enumerate(weights) if weight.any() or starts[number] < in_kernel]
    if not used:
        remove_stage_head(network)
    elif len(used) < len(widths):
        add_stage_head(network, [head.stages[number] for number in used], len(head.weight))
        state = {**head.state_dict(), "weight": torch.cat([weights[number] for number in used], 1)}
        network.load_state_dict({f"{STAGE_HEAD}.{name}": value for name, value in state.items()}, strict=False)


def _refuse(network: nn.Module, _: tuple[Any, ...]) -> None:
    raise RuntimeError(f"{type(network).__name__} has a stage head: run the parts of headstart.models.cut.cut instead")


def extend_graph(
    graph: fx.Graph, outputs: Mapping[str, fx.Node], features: fx.Node, head: StageHead
) -> tuple[fx.Node, ...]:
    """Pool the stages in the graph of a network, and add the logits of the stage head to those of the network.

    :param outputs: the operation that computes each module's output, by the module's name.
    :param features: the operation that computes what the network's own head is given.
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
        of_stages = graph.call_module(STAGE_HEAD, (features, vectors))
        end.args = (graph.call_function(sum_of_logits, (logits, of_stages)),)
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
