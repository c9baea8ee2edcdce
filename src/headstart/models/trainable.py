"""The parameters selected by a ``--train`` choice, for example "last:2"."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from torch import nn
from torch.nn import init

from headstart.errors import CutError
from headstart.models.stage_head import stage_head

__all__ = ["head_parameter_names", "init_head_glorot", "parameter_blocks", "select_parameters"]


def select_parameters(
    network: nn.Module, train: str, *, order: Sequence[str] = (), layers: Sequence[tuple[str, int]] = ()
) -> list[str]:
    """Return the names of the parameters to train.

    The stage head is trained with the head alone: what is trained deeper leaves it as it was solved.

    :param train: "head", "last:N", "layers:N", "from:MODULE" or "all".
    :param order: for "from:MODULE", the names of modules (and of parameters used directly) in execution order.
    :param layers: for "layers:N", the names of modules in execution order, each with its number of layers.
    :raises CutError: ``train`` selects nothing in this network.
    """
    of_stages = _stage_head_names(network)
    if train == "head":
        return [*head_parameter_names(network), *of_stages]
    return [name for name in _select(network, train, order, layers) if name not in of_stages]


def _select(network: nn.Module, train: str, order: Sequence[str], layers: Sequence[tuple[str, int]]) -> list[str]:
    kind, _, value = train.partition(":")
    if train == "all":
        return [name for name, _ in network.named_parameters()]
    if kind == "last" and value.isdecimal() and int(value):
        return _last_blocks(network, int(value))
    if kind == "layers" and value.isdecimal() and int(value):
        return _last_layers(network, int(value), layers)
    if kind == "from" and value:
        return _from_module(network, value, order)
    raise CutError(f"--train {train}: must be head, last:N (blocks), layers:N, from:MODULE or all")


def head_parameter_names(network: nn.Module) -> list[str]:
    """Return the parameter names of the head. Distilled networks have two heads."""
    wanted = {id(parameter) for layer in _heads(network) for parameter in layer.parameters()}
    names = [name for name, parameter in network.named_parameters() if id(parameter) in wanted]
    if not names:
        raise CutError("this network has no head with parameters")
    return names


def _stage_head_names(network: nn.Module) -> list[str]:
    wanted = stage_head(network)
    return [name for name, parameter in network.named_parameters() if wanted is not None and parameter is wanted.weight]


def init_head_glorot(network: nn.Module) -> None:
    """Initialize the head as Keras's Dense does: weights uniform within ±sqrt(6 / (inputs + outputs)), bias zero.

    Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html. torch's Linear uses ±1 / sqrt(inputs): for
    1280 inputs and 120 classes, less than half that range.

    >>> from headstart.models.backbone import build
    >>> network = build("test_resnet", classes=10)
    >>> init_head_glorot(network)
    >>> int(network.get_classifier().bias.count_nonzero())
    0
    """
    for layer in (each for head in _heads(network) for each in head.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                init.zeros_(layer.bias)


def _heads(network: nn.Module) -> list[nn.Module]:
    heads = network.get_classifier()  # type: ignore[operator]
    return list(heads) if isinstance(heads, tuple | list) else [heads]


def parameter_blocks(network: nn.Module) -> list[list[str]]:
    """Return the parameter names block by block from the input on, grouped as timm defines for each network.

    The first group is the stem; the last one has everything after the last block (norm, last convolution, head).
    """
    from timm.models import group_parameters

    if not hasattr(network, "group_matcher"):
        raise CutError("timm defines no blocks for this network; use --train head, from:MODULE or all")
    matcher = network.group_matcher(coarse=False)  # type: ignore[operator]
    groups: dict[int, list[str]] = {}
    for name, group in group_parameters(network, matcher, reverse=True).items():
        groups.setdefault(int(group), []).append(name)
    return [groups[group] for group in sorted(groups)]


def _last_blocks(network: nn.Module, count: int) -> list[str]:
    groups = parameter_blocks(network)
    most = len(groups) - 1
    if count > most:
        raise CutError(f"--train last:{count}: this network has {most} blocks; use last:1 to last:{most}, or all")
    selected = {name for group in groups[most - count :] for name in group}.union(head_parameter_names(network))
    return [name for name, _ in network.named_parameters() if name in selected]


def _last_layers(network: nn.Module, count: int, layers: Sequence[tuple[str, int]]) -> list[str]:
    most = sum(size for _, size in layers)
    if count > most:
        raise CutError(f"--train layers:{count}: this network has {most} layers; use layers:1 to layers:{most}, or all")
    remaining, selected = count, set()
    for name, size in reversed(layers):
        remaining -= size
        if remaining < 0:
            break
        selected.add(name)
    names = [name for name, _ in network.named_parameters() if name.rpartition(".")[0] in selected]
    if not names:
        raise CutError(f"--train layers:{count}: these layers have no parameters; use a larger number")
    return names


def _from_module(network: nn.Module, start: str, order: Sequence[str]) -> list[str]:
    position = next((i for i, name in enumerate(order) if name == start or name.startswith(f"{start}.")), None)
    if position is None:
        known = [name for name, _ in network.named_modules() if name]
        near = difflib.get_close_matches(start, known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else f"; use for example from:{known[-1]}"
        raise CutError(f"--train from:{start}: no module {start} is executed in this network{hint}")
    selected = tuple(order[position:])
    return [
        name
        for name, _ in network.named_parameters()
        if name in selected or any(name.startswith(f"{module}.") for module in selected)
    ]
