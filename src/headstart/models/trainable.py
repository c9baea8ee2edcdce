"""Which parameters a choice such as "last:2" names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from torch import nn
from torch.nn import init

from headstart.errors import CutError

__all__ = ["blocks", "glorot", "head_names", "select"]


def select(
    network: nn.Module, train: str, *, order: Sequence[str] = (), layers: Sequence[tuple[str, int]] = ()
) -> list[str]:
    """Names of the parameters to be trained.

    :param train: "head", "last:N", "layers:N", "from:MODULE" or "all".
    :param order: for "from:MODULE", names of modules (and of parameters used by themselves) in the order in which
        they run.
    :param layers: for "layers:N", names of modules in the order in which they run, and how many layers each is.
    :raises CutError: ``train`` names nothing of this network.
    """
    kind, _, value = train.partition(":")
    if train == "head":
        return head_names(network)
    if train == "all":
        return [name for name, _ in network.named_parameters()]
    if kind == "last" and value.isdecimal() and int(value):
        return _last_blocks(network, int(value))
    if kind == "layers" and value.isdecimal() and int(value):
        return _last_layers(network, int(value), layers)
    if kind == "from" and value:
        return _from_module(network, value, order)
    raise CutError(f"--train {train}: must be head, last:N (blocks), layers:N, from:MODULE or all")


def head_names(network: nn.Module) -> list[str]:
    """Names of the parameters of the last layer, or layers: distilled networks have two."""
    wanted = {id(parameter) for layer in _heads(network) for parameter in layer.parameters()}
    names = [name for name, parameter in network.named_parameters() if id(parameter) in wanted]
    if not names:
        raise CutError("this network has no head with parameters")
    return names


def glorot(network: nn.Module) -> None:
    """Begin the head as Keras's Dense does: uniform within ±sqrt(6 / (inputs + outputs)), the bias zero.

    Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html. torch's Linear begins within ±1 /
    sqrt(inputs): for 1280 inputs and 120 classes, less than half as wide.

    >>> from headstart.models.backbone import build
    >>> network = build("test_resnet", classes=10)
    >>> glorot(network)
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


def blocks(network: nn.Module) -> list[list[str]]:
    """Names of the parameters, block by block from the input on, as timm's authors group each network.

    The first group is the stem; the last holds what follows the last block (norm, last convolution, head).
    """
    from timm.models import group_parameters

    if not hasattr(network, "group_matcher"):
        raise CutError("this network does not tell its blocks; use --train head, from:MODULE or all")
    matcher = network.group_matcher(coarse=False)  # type: ignore[operator]
    groups: dict[int, list[str]] = {}
    for name, group in group_parameters(network, matcher, reverse=True).items():
        groups.setdefault(int(group), []).append(name)
    return [groups[group] for group in sorted(groups)]


def _last_blocks(network: nn.Module, count: int) -> list[str]:
    groups = blocks(network)
    most = len(groups) - 1
    if count > most:
        raise CutError(f"--train last:{count}: this network has {most} blocks; use last:1 to last:{most}, or all")
    chosen = {name for group in groups[most - count :] for name in group}.union(head_names(network))
    return [name for name, _ in network.named_parameters() if name in chosen]


def _last_layers(network: nn.Module, count: int, layers: Sequence[tuple[str, int]]) -> list[str]:
    most = sum(size for _, size in layers)
    if count > most:
        raise CutError(f"--train layers:{count}: this network has {most} layers; use layers:1 to layers:{most}, or all")
    left, chosen = count, set()
    for name, size in reversed(layers):
        left -= size
        if left < 0:
            break
        chosen.add(name)
    names = [name for name, _ in network.named_parameters() if name.rpartition(".")[0] in chosen]
    if not names:
        raise CutError(f"--train layers:{count}: none of these layers has parameters; use a larger number")
    return names


def _from_module(network: nn.Module, start: str, order: Sequence[str]) -> list[str]:
    position = next((i for i, name in enumerate(order) if name == start or name.startswith(f"{start}.")), None)
    if position is None:
        known = [name for name, _ in network.named_modules() if name]
        near = difflib.get_close_matches(start, known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else f"; for example {known[-1]}"
        raise CutError(f"--train from:{start}: this network has no module {start} that runs{hint}")
    chosen = tuple(order[position:])
    return [
        name
        for name, _ in network.named_parameters()
        if name in chosen or any(name.startswith(f"{module}.") for module in chosen)
    ]
