"""Published accuracy of pretrained networks: the table ``published.csv`` next to this file, which names its sources."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import timm

from headstart import paths
from headstart.models import catalog
from headstart.models.downloads import is_published_file
from headstart.models.importers.keras import ARCHITECTURES
from headstart.models.weights import is_embedded

__all__ = ["COLUMNS", "TABLE_PATH", "PublishedResults", "published_results"]

TABLE_PATH = Path(__file__).with_name("published.csv")
COLUMNS = ("name", "input", "parameters", "top1", "top5", "v2_top1")


@dataclass(frozen=True)
class PublishedResults:
    """Results of a network with the weights that its name loads; None where nothing is published."""

    parameters: float | None = None  # millions
    top1: float | None = None  # percent, ImageNet validation set
    top5: float | None = None  # percent, ImageNet validation set
    v2_top1: float | None = None  # percent, ImageNetV2 (matched frequency)


def published_results(info: catalog.ModelInfo) -> PublishedResults:
    """Look up the results of exactly the weights that ``--model NAME`` loads.

    A name without a tag stands for its default tag. Weights from a package have the results of that package. For a
    file that was placed in the cache folder by hand, only the number of parameters is known.

    >>> tv = catalog.model_info("resnet50.tv_in1k")
    >>> published_results(tv).top1, published_results(catalog.model_info("keras:MobileNetV2")).top1
    (76.156, 71.3)
    """
    row = _table().get((_key(info.name), info.spec.height))
    if row is None:
        return PublishedResults()
    if info.name in ARCHITECTURES:
        custom = not is_published_file(info.name)
    else:
        custom = (paths.weights() / f"{info.name}.safetensors").exists() and not is_embedded(info.name)
    return PublishedResults(row.parameters) if custom else row


def _key(name: str) -> str:
    """The name of a model's weights in the table."""
    if is_embedded(name):
        return f"package:{name.partition('.')[0]}"
    config = None if ":" in name else timm.get_pretrained_cfg(name)
    return f"{config.architecture}.{config.tag}" if config is not None and config.tag else name


@lru_cache(maxsize=1)
def _table() -> Mapping[tuple[str, int], PublishedResults]:
    with TABLE_PATH.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {
            (row["name"], int(row["input"])): PublishedResults(*(_number(row[name]) for name in COLUMNS[2:]))
            for row in rows
        }


def _number(text: str) -> float | None:
    return float(text) if text else None
