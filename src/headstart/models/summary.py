"""A network as a table of layers, with what is trained and where it is cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headstart.data.spec import InputSpec
from headstart.models.cut import Cut
from headstart.models.foreign import FrozenGraph

__all__ = ["Layer", "Summary", "summarise"]


@dataclass(frozen=True)
class Layer:
    """One layer, in the order in which they run."""

    name: str
    kind: str
    shape: tuple[int, ...]  # of the output for one image
    values: int  # parameters and BatchNorm statistics
    trainable: int  # of these
    in_tail: bool


@dataclass(frozen=True)
class Summary:
    """The layers and their sums, counted as Keras counts: BatchNorm statistics are parameters that are not trained."""

    layers: tuple[Layer, ...]
    total: int
    trainable: int
    cut: Cut

    def lines(self) -> list[str]:
        """For a terminal; the cut is a line in the table."""
        width = max(len("layer"), *(len(layer.name) for layer in self.layers))
        kind = max(len(layer.kind) for layer in self.layers)
        told = [f"{'layer':{width}}  {'kind':{kind}}  {'output':>14}  {'values':>11}  trained"]
        where = self.cut.name or "the image"
        line = f"-- cut at {where}: {self.cut.bytes_per_image:,} bytes an image in the store "
        for position, layer in enumerate(self.layers):
            if layer.in_tail and not (position and self.layers[position - 1].in_tail):
                told.append(line.ljust(len(told[0]), "-"))
            shape = "x".join(map(str, layer.shape))
            trained = f"{layer.trainable:,}" if layer.trainable else ""
            told.append(
                f"{layer.name:{width}}  {layer.kind:{kind}}  {shape:>14}  {layer.values:>11,}  {trained}".rstrip()
            )
        return [
            *told,
            f"total {self.total:,}, trainable {self.trainable:,}, not trainable {self.total - self.trainable:,}",
        ]


def summarise(network: nn.Module, parts: Cut, spec: InputSpec) -> Summary:
    """Run one image through the network and note each layer.

    :param parts: the network's own cut.

    >>> from headstart.models.backbone import build
    >>> from headstart.models.cut import cut
    >>> network = build("mobilenetv2_100", classes=120)
    >>> told = summarise(network, cut(network, "from:blocks.5.2.conv_dw", input_shape=(3, 224, 224)), InputSpec())
    >>> told.total, told.trainable, told.total - told.trainable
    (2411704, 1204280, 1207424)
    """
    trained = set(parts.trainable)
    tail = {name for name, module in parts.tail.named_modules() if _is_layer(module)}
    shown = {name: module for name, module in network.named_modules() if _is_layer(module)}
    shapes = _shapes(network, shown, spec)
    layers = tuple(
        Layer(
            name or "(network)",
            type(shown[name]).__name__,
            shape,
            _values(shown[name], recurse=False),
            sum(
                value.numel()
                for key, value in shown[name].named_parameters(recurse=False)
                if f"{name}.{key}".lstrip(".") in trained
            ),
            parts.at_image or name in tail,
        )
        for name, shape in shapes.items()
    )
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    return Summary(layers, _values(network), sum(sizes[name] for name in trained), parts)


def _is_layer(module: nn.Module) -> bool:
    """What has values of its own, or does something without any."""
    if next(module.parameters(recurse=False), None) is not None:
        return True
    return not list(module.children()) and not isinstance(module, nn.Identity)


def _shapes(network: nn.Module, shown: dict[str, nn.Module], spec: InputSpec) -> dict[str, tuple[int, ...]]:
    """Of the outputs, in the order in which the layers begin."""
    shapes: dict[str, tuple[int, ...]] = {}

    def begins(name: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            shapes.setdefault(name, ())

        return note

    def ends(name: str) -> Callable[..., None]:
        def note(*given: object) -> None:
            if isinstance(given[2], Tensor):
                shapes[name] = tuple(given[2].shape[1:])

        return note

    hooks = [module.register_forward_pre_hook(begins(name)) for name, module in shown.items()]
    hooks += [module.register_forward_hook(ends(name)) for name, module in shown.items()]
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, spec.height, spec.width))
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _values(module: nn.Module, *, recurse: bool = True) -> int:
    frozen = (each.values for each in (module.modules() if recurse else [module]) if isinstance(each, FrozenGraph))
    statistics = (value for name, value in module.named_buffers(recurse=recurse) if "running_" in name)
    parameters = module.parameters(recurse=recurse)
    return sum(value.numel() for value in parameters) + sum(value.numel() for value in statistics) + sum(frozen)
