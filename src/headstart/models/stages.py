"""The stages of a network: which of its modules a head may see, by timm's own names of its features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, fx, nn

from headstart.models.importers.graphs import ImportedNetwork
from headstart.models.stage_head import Stage, pool
from headstart.models.trace import Trace, TracingError, own_head, trace

__all__ = ["find_stages"]

_MOST = 8  # stages; of a network with more blocks of one kind, such as a transformer, evenly spaced ones are taken
_OF_MANY = 4


def find_stages(network: nn.Module, input_shape: Sequence[int]) -> tuple[Stage, ...]:
    """The stages whose pooled outputs can go into the head, from the last to the first.

    A stage whose pooled output is what the head is given already, as the last one of a ResNet, is left out.

    :param input_shape: of one image, (3, H, W).
    :returns: empty where timm names no features of the network, it cannot be traced, or its head is not one linear
        layer.

    >>> from headstart.models.backbone import build
    >>> [(stage.name, stage.width) for stage in find_stages(build("test_resnet", classes=10), (3, 64, 64))]
    [('layer3', 192), ('layer2', 48), ('layer1', 32), ('act1', 32)]
    """
    features = getattr(network, "feature_info", None)
    if isinstance(network, ImportedNetwork) or not features or not isinstance(own_head(network), nn.Linear):
        return ()
    try:
        traced = trace(network, input_shape)
    except TracingError:
        return ()
    if traced.head_input is None:
        return ()
    channels = {str(each["module"]): int(each["num_chs"]) for each in features}
    layout = _layout(traced, channels)
    tokens = int(getattr(network, "num_prefix_tokens", 0))
    names = [name for name in _module_names(network, list(channels)) if name in traced.outputs]
    stages = [stage for name in names if (stage := _stage(traced, name, layout, tokens)) is not None]
    if len(stages) > _MOST:
        stages = [stages[len(stages) * (number + 1) // _OF_MANY - 1] for number in range(_OF_MANY)]
    return tuple(reversed(list(_without_repetition(traced, stages, traced.head_input, input_shape))))


def _module_names(network: nn.Module, named: Sequence[str]) -> list[str]:
    """The modules with features, and those beside them: timm names only the last stage of each resolution."""
    folders = [name.rpartition(".")[0] for name in named]
    names: list[str] = []
    for name, folder in zip(named, folders, strict=True):
        if folder and folders.count(folder) > 1:
            names += [f"{folder}.{child}" for child, _ in network.get_submodule(folder).named_children()]
        else:
            names.append(name)
    return list(dict.fromkeys(names))


def _layout(traced: Trace, channels: dict[str, int]) -> Literal["NCHW", "NHWC"]:
    """Where the channels of the network's maps are."""
    maps = [
        (traced.results[traced.outputs[name]][0], count) for name, count in channels.items() if name in traced.outputs
    ]
    shapes = [(x.shape, count) for x, count in maps if isinstance(x, Tensor) and x.ndim == 4]
    return "NCHW" if all(shape[1] == count for shape, count in shapes) else "NHWC"


def _stage(traced: Trace, name: str, layout: Literal["NCHW", "NHWC"], prefix_tokens: int) -> Stage | None:
    node = traced.outputs[name]
    if node not in traced.from_image or not traced.is_batched(node):
        return None
    shape = traced.shape(node)
    if len(shape) == 3:
        return Stage(name, shape[0] if layout == "NCHW" else shape[2], layout)
    return Stage(name, shape[1], "NLC", prefix_tokens) if len(shape) == 2 else None


def _without_repetition(
    traced: Trace, stages: Sequence[Stage], given: fx.Node, input_shape: Sequence[int]
) -> Iterator[Stage]:
    """The stages whose pooled output is not what the head is given."""
    image = torch.rand(1, *input_shape, generator=torch.Generator().manual_seed(0))
    run = fx.Interpreter(traced.network, garbage_collect_values=False, graph=traced.graph)
    with torch.no_grad():
        run.run(image.to(next(traced.network.parameters()).device))
    features = run.env[given]
    for stage in stages:
        vector = pool(run.env[traced.outputs[stage.name]], stage.layout, stage.prefix_tokens)
        if not (vector.shape == features.shape and torch.allclose(vector, features, rtol=1e-4, atol=1e-5)):
            yield stage
