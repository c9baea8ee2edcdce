"""A table of a network's layers, with the trained ones and the position of the cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headstart.data.spec import InputSpec
from headstart.models.cut import Cut
from headstart.models.importers.graphs import FrozenGraph

__all__ = ["Layer", "Summary", "summarize"]


@dataclass(frozen=True)
class Layer:
    """One layer of a network."""

    name: str
    kind: str
    shape: tuple[int, ...]  # of the output for one image
    values: int  # parameters and BatchNorm statistics
    trainable: int  # the part of ``values`` that is trained
    in_tail: bool


@dataclass(frozen=True)
class Summary:
    """The layers in execution order, and totals counted as in Keras: BatchNorm statistics are untrained parameters."""

    layers: tuple[Layer, ...]
    total: int
    trainable: int
    cut: Cut

    def lines(self) -> list[str]:
        """Format the table for a terminal, with a line at the cut."""
        width = max(len("layer"), *(len(layer.name) for layer in self.layers))
        kind = max(len(layer.kind) for layer in self.layers)
        lines = [f"{'layer':{width}}  {'kind':{kind}}  {'output':>14}  {'values':>11}  trained"]
        cut_name = self.cut.name or "the image"
        cut_line = f"-- cut at {cut_name}: {self.cut.bytes_per_image:,} bytes per image in the store "
        for position, layer in enumerate(self.layers):
            if layer.in_tail and not (position and self.layers[position - 1].in_tail):
                lines.append(cut_line.ljust(len(lines[0]), "-"))
            shape = "x".join(map(str, layer.shape))
            trained = f"{layer.trainable:,}" if layer.trainable else ""
            lines.append(
                f"{layer.name:{width}}  {layer.kind:{kind}}  {shape:>14}  {layer.values:>11,}  {trained}".rstrip()
            )
        return [
            *lines,
            f"total {self.total:,}, trainable {self.trainable:,}, not trainable {self.total - self.trainable:,}",
        ]


def summarize(network: nn.Module, parts: Cut, spec: InputSpec) -> Summary:
    """Run one image through the network and record each layer.

    :param parts: the cut of this network.

    >>> from headstart.models.backbone import build
    >>> from headstart.models.cut import cut
    >>> network = build("mobilenetv2_100", classes=120)
    >>> summary = summarize(network, cut(network, "from:blocks.5.2.conv_dw", input_shape=(3, 224, 224)), InputSpec())
    >>> summary.total, summary.trainable, summary.total - summary.trainable
    (2411704, 1204280, 1207424)
    """
    trained = set(parts.trainable)
    tail = {name for name, module in parts.tail.named_modules() if _is_layer(module)}
    modules = {name: module for name, module in network.named_modules() if _is_layer(module)}
    shapes = _output_shapes(network, modules, spec)
    layers = tuple(
        Layer(
            name or "(network)",
            type(modules[name]).__name__,
            shape,
            _count_values(modules[name], recurse=False),
            sum(
                value.numel()
                for key, value in modules[name].named_parameters(recurse=False)
                if f"{name}.{key}".lstrip(".") in trained
            ),
            parts.at_image or name in tail,
        )
        for name, shape in shapes.items()
    )
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    return Summary(layers, _count_values(network), sum(sizes[name] for name in trained), parts)


def _is_layer(module: nn.Module) -> bool:
    """Whether a module has parameters of its own, or is a leaf other than the identity."""
    if next(module.parameters(recurse=False), None) is not None:
        return True
    return not list(module.children()) and not isinstance(module, nn.Identity)


def _output_shapes(network: nn.Module, modules: dict[str, nn.Module], spec: InputSpec) -> dict[str, tuple[int, ...]]:
    """The output shape of each module without the batch, in the order in which the modules start."""
    shapes: dict[str, tuple[int, ...]] = {}

    def on_start(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            shapes.setdefault(name, ())

        return hook

    def on_end(name: str) -> Callable[..., None]:
        def hook(*arguments: object) -> None:
            if isinstance(arguments[2], Tensor):
                shapes[name] = tuple(arguments[2].shape[1:])

        return hook

    hooks = [module.register_forward_pre_hook(on_start(name)) for name, module in modules.items()]
    hooks += [module.register_forward_hook(on_end(name)) for name, module in modules.items()]
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, spec.height, spec.width))
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _count_values(module: nn.Module, *, recurse: bool = True) -> int:
    graphs = (each.num_values for each in (module.modules() if recurse else [module]) if isinstance(each, FrozenGraph))
    statistics = (value for name, value in module.named_buffers(recurse=recurse) if "running_" in name)
    parameters = module.parameters(recurse=recurse)
    return sum(value.numel() for value in parameters) + sum(value.numel() for value in statistics) + sum(graphs)
