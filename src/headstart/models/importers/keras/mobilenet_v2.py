"""MobileNetV2 (https://arxiv.org/abs/1801.04381): mapping from the variables of Keras to the parameters of timm.

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import ModelError
from headstart.models.importers.keras.hdf5 import Layers, Variables

__all__ = ["find_alpha", "find_head", "to_state_dict", "with_current_names"]

_ALPHAS: Mapping[int, float] = {112: 0.35, 160: 0.5, 240: 0.75, 320: 1.0, 448: 1.4}  # by input channels of Conv_1
_CHANNELS = "112, 160, 240, 320 or 448"
_BLOCKS = (2, 3, 4, 3, 3, 1)  # in each stage of timm after the first
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_PLAIN = {"kernel": "weight", "bias": "bias"}


def find_head(layers: Layers) -> str | None:
    """Return the name of the dense layer; None for Keras files without top.

    :raises ModelError: there are several.
    """
    found = [name for name, each in layers.items() if "kernel" in each and each["kernel"].ndim == 2]
    if len(found) > 1:
        raise ModelError(f"its layers {' and '.join(found[:2])} are both dense; MobileNetV2 has one dense layer")
    return found[0] if found else None


def with_current_names(layers: Layers) -> Layers:
    """Return the layers under their current Keras names.

    In files with other names, layers are matched by order within each kind, as Keras itself does: Keras 3 numbers
    layers by type, and the first MobileNetV2 files had names of their own.
    """
    known = [name for name, _ in _modules()]
    if any(name.startswith("block_") for name in layers):
        missing = [name for name in known if name not in layers]
        unexpected = [name for name in layers if name not in known]
        if missing or unexpected:
            raise ModelError(f"its layers are not those of MobileNetV2: {_describe_difference(missing, unexpected)}")
        return dict(layers)
    renamed: Layers = {}
    for kind in ("convolution", "depthwise convolution", "BatchNorm"):
        wanted = [name for name in known if _kind_by_name(name) == kind]
        found = [name for name, variables in layers.items() if _kind(name, variables) == kind]
        if len(found) != len(wanted):
            raise ModelError(
                f"only MobileNetV2 is converted, which has {len(wanted)} layers of the kind {kind}; "
                f"this network has {len(found)}{f', for example {found[0]}' if found else ''}"
            )
        renamed.update(zip(wanted, (layers[name] for name in found), strict=True))
    return renamed


def _describe_difference(missing: list[str], unexpected: list[str]) -> str:
    return "; ".join(
        f"{word} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for word, names in (("missing", missing), ("unexpected", unexpected))
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
        raise ModelError(f"only MobileNetV2 is converted, which has no layer like {name} ({what})")
    return "depthwise convolution" if kernel.shape[3] == 1 else "convolution"


def find_alpha(layers: Layers) -> float:
    """Return the width multiplier, alpha in Keras, from the input channels of the last convolution.

    :param layers: as returned by :func:`with_current_names`.
    """
    kernel = layers["Conv_1"].get("kernel", np.empty(0))
    channels = kernel.shape[2] if kernel.ndim == 4 else 0
    if channels not in _ALPHAS:
        raise ModelError(f"its layer Conv_1 has {channels} input channels; MobileNetV2 has {_CHANNELS}")
    return _ALPHAS[channels]


def to_state_dict(layers: Layers, head: Variables | None, expected: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Convert the variables to timm's state dict; each entry must be present once, with the right shape.

    :param layers: as returned by :func:`with_current_names`.
    :param head: the variables of the dense layer.
    :param expected: the shapes in the state dict of timm's model.
    :raises ModelError: the message names the first variables that do not fit.
    """
    state: dict[str, Tensor] = {}
    wrong: list[str] = []
    modules = [(layer, module, layers[layer]) for layer, module in _modules()]
    for layer, module, variables in [*modules, ("head", "classifier", head or {})]:
        names = _PLAIN if "kernel" in variables else _NORM
        for name, values in variables.items():
            key = f"{module}.{names.get(name, name)}"
            if key in expected:
                state[key] = _to_torch(values, depthwise=module.endswith("conv_dw"))
            else:
                wrong.append(f"{layer}/{name} is unexpected")
    state.update({key: torch.tensor(0) for key in expected if key.endswith("num_batches_tracked")})
    wrong.extend(_misfits(state, expected))
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelError(f"does not fit MobileNetV2 (names as in timm): {'; '.join(wrong[:3])}{more}")
    return {key: state[key] for key in expected}


def _misfits(state: Mapping[str, Tensor], expected: Mapping[str, Sequence[int]]) -> Iterator[str]:
    for key, shape in expected.items():
        if key not in state:
            yield f"{key} is missing"
        elif tuple(state[key].shape) != tuple(shape):
            yield f"{key} has the shape {tuple(state[key].shape)}, must be {tuple(shape)}"


def _to_torch(values: NDArray[np.float32], *, depthwise: bool) -> Tensor:
    """Kernels (H, W, in, out) -> (out, in, H, W); depthwise (H, W, C, 1) -> (C, 1, H, W); dense -> (out, in)."""
    if values.ndim == 4:
        values = values.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
    elif values.ndim == 2:
        values = values.T
    return torch.from_numpy(np.ascontiguousarray(values))


def _modules() -> Iterator[tuple[str, str]]:
    """Yield Keras's name of each layer with variables and timm's module name, from the input on, without the head."""
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
