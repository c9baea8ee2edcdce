"""MobileNetV2 (https://arxiv.org/abs/1801.04381): which variable of Keras's is which of timm's.

The errors raised here do not name the file; who calls knows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import ModelError
from headstart.models.keras.hdf5 import Layers, Variables

__all__ = ["alpha_of", "by_known_names", "head_of", "state_dict"]

_ALPHAS: Mapping[int, float] = {112: 0.35, 160: 0.5, 240: 0.75, 320: 1.0, 448: 1.4}  # by channels into Conv_1
_LISTED = "112, 160, 240, 320 or 448"
_BLOCKS = (2, 3, 4, 3, 3, 1)  # in each of timm's stages after the first
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_PLAIN = {"kernel": "weight", "bias": "bias"}


def head_of(layers: Layers) -> str | None:
    """Name of the dense layer; None where there is none, as in Keras's files without top.

    :raises ModelError: there are more.
    """
    found = [name for name, each in layers.items() if "kernel" in each and each["kernel"].ndim == 2]
    if len(found) > 1:
        raise ModelError(f"its layers {' and '.join(found[:2])} are dense; MobileNetV2, which is converted, has one")
    return found[0] if found else None


def by_known_names(layers: Layers) -> Layers:
    """The layers by the names that Keras gives them now.

    Files of other names go by order within each kind of layer, as Keras itself loads them: Keras 3 numbers layers by
    type, and the first files of MobileNetV2 had names of their own.
    """
    known = [name for name, _ in _modules()]
    if any(name.startswith("block_") for name in layers):
        missing = [name for name in known if name not in layers]
        strange = [name for name in layers if name not in known]
        if missing or strange:
            raise ModelError(f"its layers are not those of MobileNetV2: {_differences(missing, strange)}")
        return dict(layers)
    named: Layers = {}
    for kind in ("convolution", "depthwise convolution", "BatchNorm"):
        wanted = [name for name in known if _kind_by_name(name) == kind]
        found = [name for name, variables in layers.items() if _kind(name, variables) == kind]
        if len(found) != len(wanted):
            raise ModelError(
                f"only MobileNetV2 is converted today, which has {len(wanted)} layers of the kind {kind}; "
                f"this has {len(found)}{f', for example {found[0]}' if found else ''}"
            )
        named.update(zip(wanted, (layers[name] for name in found), strict=True))
    return named


def _differences(missing: list[str], strange: list[str]) -> str:
    told = [("without ", missing), ("with ", strange)]
    return "; ".join(
        f"{word}{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for word, names in told
        if names
    )


def _kind_by_name(name: str) -> str:
    if "bn" in name.lower():
        return "BatchNorm"
    return "depthwise convolution" if "depthwise" in name else "convolution"


def _kind(name: str, variables: Variables) -> str:
    if "gamma" in variables:
        return "BatchNorm"
    kernel = variables.get("kernel")
    if kernel is None or kernel.ndim != 4:
        what = ", ".join(variables) or "no variables"
        raise ModelError(f"only MobileNetV2 is converted today, which has no layer as {name} ({what})")
    return "depthwise convolution" if kernel.shape[3] == 1 else "convolution"


def alpha_of(layers: Layers) -> float:
    """The width of the layers, which Keras calls alpha: by the channels that go into the last convolution.

    :param layers: as :func:`by_known_names` gives them.
    """
    kernel = layers["Conv_1"].get("kernel", np.empty(0))
    channels = kernel.shape[2] if kernel.ndim == 4 else 0
    if channels not in _ALPHAS:
        raise ModelError(f"its layer Conv_1 takes {channels} channels; in a MobileNetV2 they are {_LISTED}")
    return _ALPHAS[channels]


def state_dict(layers: Layers, head: Variables | None, expected: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Each variable at its place in timm's state dict: all of them, each once, each with the right shape.

    :param layers: as :func:`by_known_names` gives them.
    :param head: the variables of the dense layer.
    :param expected: the shapes in the state dict of timm's model.
    :raises ModelError: the text names the first variables that do not fit.
    """
    state: dict[str, Tensor] = {}
    wrong: list[str] = []
    places = [(layer, module, layers[layer]) for layer, module in _modules()]
    for layer, module, variables in [*places, ("head", "classifier", head or {})]:
        names = _PLAIN if "kernel" in variables else _NORM
        for name, values in variables.items():
            place = f"{module}.{names.get(name, name)}"
            if place in expected:
                state[place] = _to_torch(values, depthwise=module.endswith("conv_dw"))
            else:
                wrong.append(f"{layer}/{name} is none of its variables")
    state.update({place: torch.tensor(0) for place in expected if place.endswith("num_batches_tracked")})
    wrong.extend(_misfits(state, expected))
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelError(f"does not fit MobileNetV2 (by timm's names): {'; '.join(wrong[:3])}{more}")
    return {place: state[place] for place in expected}


def _misfits(state: Mapping[str, Tensor], expected: Mapping[str, Sequence[int]]) -> Iterator[str]:
    for place, shape in expected.items():
        if place not in state:
            yield f"{place} is missing"
        elif tuple(state[place].shape) != tuple(shape):
            yield f"{place} is {tuple(state[place].shape)}, must be {tuple(shape)}"


def _to_torch(values: NDArray[np.float32], *, depthwise: bool) -> Tensor:
    """Kernels (H, W, in, out) -> (out, in, H, W); depthwise (H, W, C, 1) -> (C, 1, H, W); dense -> (out, in)."""
    if values.ndim == 4:
        values = values.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
    elif values.ndim == 2:
        values = values.T
    return torch.from_numpy(np.ascontiguousarray(values))


def _modules() -> Iterator[tuple[str, str]]:
    """Keras's name of each layer with variables and timm's name of the module, from the input on; without the head."""
    yield from [("Conv1", "conv_stem"), ("bn_Conv1", "bn1")]
    yield from [("expanded_conv_depthwise", "blocks.0.0.conv_dw"), ("expanded_conv_depthwise_BN", "blocks.0.0.bn1")]
    yield from [("expanded_conv_project", "blocks.0.0.conv_pw"), ("expanded_conv_project_BN", "blocks.0.0.bn2")]
    blocks = [f"blocks.{stage}.{block}" for stage, count in enumerate(_BLOCKS, start=1) for block in range(count)]
    parts = [("expand", "conv_pw", "bn1"), ("depthwise", "conv_dw", "bn2"), ("project", "conv_pwl", "bn3")]
    for number, block in enumerate(blocks, start=1):
        for part, convolution, norm in parts:
            yield f"block_{number}_{part}", f"{block}.{convolution}"
            yield f"block_{number}_{part}_BN", f"{block}.{norm}"
    yield from [("Conv_1", "conv_head"), ("Conv_1_bn", "bn2")]
