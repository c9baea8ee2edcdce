"""What networks there are, and their facts as timm's pretrained configurations state them."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass

import timm

from headstart.data.spec import InputSpec
from headstart.errors import ModelError
from headstart.models.keras import ARCHITECTURES, SPEC

__all__ = ["ModelInfo", "list_models", "require"]


@dataclass(frozen=True)
class ModelInfo:
    """A model's facts, known without building it."""

    name: str
    spec: InputSpec
    classes: int  # of its pretrained head; 0 where it was published without one
    licence: str
    hub_id: str | None
    head: str  # name of the last layer; of the first where there are two; "" where there is none


def require(name: str) -> ModelInfo:
    """The facts of the model called ``name``, with or without a tag ("resnet50", "resnet50.a1_in1k").

    :raises ModelError: no such model, or no such tag; the text has the nearest names.

    >>> require("mobilenetv2_100").spec.resize
    256
    """
    if name in ARCHITECTURES:
        return ModelInfo(name, SPEC, 1000, "apache-2.0", None, "classifier")
    architecture, dot, _ = name.partition(".")
    known = timm.list_models()
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ModelError(
            f'no model is called {name}; {hint}"headstart models" lists them, with patterns such as "mobilenet*"'
        )
    tagged = timm.list_pretrained(f"{architecture}.*") if dot else []
    if dot and name not in tagged:
        raise ModelError(f"no pretrained weights are called {name}; there are: {', '.join(tagged) or 'none'}")
    return _info(name)


def list_models(pattern: str = "*") -> Iterator[ModelInfo]:
    """The models whose name fits a shell pattern, by name; those of Keras last. A dot in it asks for tags.

    >>> [each.name for each in list_models("tf_efficientnet_lite?")][:2]
    ['tf_efficientnet_lite0', 'tf_efficientnet_lite1']
    """
    yield from map(_info, timm.list_pretrained(pattern) if "." in pattern else timm.list_models(pattern))
    yield from (require(name) for name in ARCHITECTURES if fnmatch.fnmatchcase(name.lower(), pattern.lower()))


def _info(name: str) -> ModelInfo:
    facts = timm.get_pretrained_cfg(name)
    height, width = facts.input_size[1:]
    spec = InputSpec(
        height=height,
        width=width,
        crop=facts.crop_pct,
        # Three models (deepseek_vit) want the whole picture with borders of one colour: shown whole, but squeezed.
        crop_mode="squash" if facts.crop_mode == "border" else facts.crop_mode,
        interpolation=facts.interpolation,
        mean=tuple(facts.mean),
        std=tuple(facts.std),
    )
    heads = facts.classifier if isinstance(facts.classifier, tuple) else (facts.classifier or "",)
    return ModelInfo(name, spec, facts.num_classes, facts.license or "not stated", facts.hf_hub_id, heads[0])
