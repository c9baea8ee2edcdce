"""What others have measured of pretrained networks: the table ``published.csv`` beside this file, with its sources."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import timm

from headstart import places
from headstart.models import catalog
from headstart.models.fetched import as_published
from headstart.models.keras import ARCHITECTURES
from headstart.models.weights import is_embedded

__all__ = ["COLUMNS", "PLACE", "Published", "published"]

PLACE = Path(__file__).with_name("published.csv")
COLUMNS = ("name", "input", "parameters", "top1", "top5", "v2_top1")


@dataclass(frozen=True)
class Published:
    """Figures of a network with the weights that its name stands for; None where nobody has told."""

    parameters: float | None = None  # millions
    top1: float | None = None  # percent of ImageNet's validation pictures
    top5: float | None = None
    v2_top1: float | None = None  # percent of ImageNetV2, matched frequency


def published(info: catalog.ModelInfo) -> Published:
    """What is known of the weights that ``--model NAME`` loads, and of no others.

    A name without a tag stands for its default tag; where weights come from a package, the figures are those of the
    package's. Of a file that somebody has put into the cache folder nobody knows what it reaches.

    >>> published(catalog.require("resnet50.tv_in1k")).top1, published(catalog.require("keras:MobileNetV2")).top1
    (76.156, 71.3)
    """
    row = _table().get((_key(info.name), info.spec.height))
    if row is None:
        return Published()
    if info.name in ARCHITECTURES:
        own = not as_published(info.name)
    else:
        own = (places.weights() / f"{info.name}.safetensors").exists() and not is_embedded(info.name)
    return Published(row.parameters) if own else row


def _key(name: str) -> str:
    """What the weights of a name are called in the table."""
    if is_embedded(name):
        return f"package:{name.partition('.')[0]}"
    facts = None if ":" in name else timm.get_pretrained_cfg(name)
    return f"{facts.architecture}.{facts.tag}" if facts is not None and facts.tag else name


@lru_cache(maxsize=1)
def _table() -> Mapping[tuple[str, int], Published]:
    with PLACE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {(row["name"], int(row["input"])): Published(*map(_number, _figures(row))) for row in rows}


def _figures(row: Mapping[str, str]) -> list[str]:
    return [row[name] for name in COLUMNS[2:]]


def _number(text: str) -> float | None:
    return float(text) if text else None
