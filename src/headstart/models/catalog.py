"""The available networks and their metadata, as stated in timm's pretrained configurations."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass

import timm

from headstart.data.spec import InputSpec
from headstart.errors import ModelError
from headstart.models.importers.keras import ARCHITECTURES, SPEC

__all__ = ["ModelInfo", "canonical_name", "list_models", "model_info"]


@dataclass(frozen=True)
class ModelInfo:
    """Metadata of a model, available without building it."""

    name: str
    spec: InputSpec
    classes: int  # of the pretrained head; 0 for models published without a head
    licence: str
    hub_id: str | None
    head: str  # name of the last layer; the first head's if there are two; "" if there is none


def canonical_name(name: str) -> str:
    """The name of a model without the prefix that it has on the Hugging Face Hub.

    >>> canonical_name("timm/resnet50.a1_in1k"), canonical_name("hf_hub:timm/resnet50"), canonical_name("resnet50")
    ('resnet50.a1_in1k', 'resnet50', 'resnet50')
    """
    return re.sub(r"^(hf[_-]hub:)?timm/", "", name)


def model_info(name: str) -> ModelInfo:
    """Look up a model by name, with or without a tag ("resnet50", "resnet50.a1_in1k").

    :raises ModelError: unknown model or tag; the message suggests the closest names.

    >>> model_info("mobilenetv2_100").spec.resize
    256
    """
    if name in ARCHITECTURES:
        return ModelInfo(name, SPEC, 1000, "apache-2.0", None, "classifier")
    name = canonical_name(name)
    if re.match(r"hf[_-]hub:", name):
        raise ModelError(
            f"{name}: of the Hugging Face Hub only the models of timm are loaded, hf_hub:timm/NAME; for another one, "
            "download its weights and use --model NAME --weights FILE"
        )
    architecture, dot, _ = name.partition(".")
    known = timm.list_models()
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ModelError(
            f'unknown model {name!r}; {hint}"headstart models" lists all models and accepts patterns, '
            'for example "mobilenet*"'
        )
    tagged = timm.list_pretrained(f"{architecture}.*") if dot else []
    if dot and name not in tagged:
        raise ModelError(
            f"unknown pretrained weights {name!r}; available for {architecture}: {', '.join(tagged) or 'none'}"
        )
    return _timm_info(name)


def list_models(pattern: str = "*") -> Iterator[ModelInfo]:
    """Yield the models whose name matches a shell pattern, sorted by name, Keras models last.

    A pattern with a dot matches tagged names.

    >>> [each.name for each in list_models("tf_efficientnet_lite?")][:2]
    ['tf_efficientnet_lite0', 'tf_efficientnet_lite1']
    """
    yield from map(_timm_info, timm.list_pretrained(pattern) if "." in pattern else timm.list_models(pattern))
    yield from (model_info(name) for name in ARCHITECTURES if fnmatch.fnmatchcase(name.lower(), pattern.lower()))


def _timm_info(name: str) -> ModelInfo:
    config = timm.get_pretrained_cfg(name)
    height, width = config.input_size[1:]
    spec = InputSpec(
        height=height,
        width=width,
        crop=config.crop_pct,
        # Three models (deepseek_vit) want the whole image with a border of one color. "squash" also shows the whole
        # image, but distorts it.
        crop_mode="squash" if config.crop_mode == "border" else config.crop_mode,
        interpolation=config.interpolation,
        mean=tuple(config.mean),
        std=tuple(config.std),
    )
    heads = config.classifier if isinstance(config.classifier, tuple) else (config.classifier or "",)
    return ModelInfo(name, spec, config.num_classes, config.license or "not stated", config.hf_hub_id, heads[0])
