"""What there is: pretrained networks, and the feature store's contents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headstart.errors import ModelError, StoreError
from headstart.features.store import FeatureStore, Space
from headstart.models import catalog, weights
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut
from headstart.models.summary import summarise

__all__ = ["models", "prune", "spaces", "summary", "verified"]


def models(pattern: str) -> Iterator[str]:
    """A line a model: input, classes, licence, whether its weights are on this machine."""
    found = list(catalog.list_models(pattern))
    if not found:
        raise ModelError(f"no model's name fits {pattern}; patterns are those of a shell, such as mobilenet*")
    width = max(len(info.name) for info in found)
    yield f"{'model':{width}}  {'input':>9}  {'classes':>7}  {'weights':7}  licence"
    for info in found:
        here = "here" if weights.at_hand(info.name) else "hub" if info.hub_id else "none"
        size = f"{info.spec.height}x{info.spec.width}"
        yield f"{info.name:{width}}  {size:>9}  {info.classes:>7}  {here:7}  {info.licence}"


def summary(model: str, *, weights_file: str | None, train: str, classes: int | None) -> list[str]:
    """A model's layers as a table, with the cut that ``train`` makes."""
    backbone = load_backbone(model, weights_file=weights_file)
    network, spec = backbone.module, backbone.spec
    if classes is not None:
        network.reset_classifier(classes)  # type: ignore[operator]
    return summarise(network, cut(network, train, input_shape=(3, spec.height, spec.width)), spec).lines()


def spaces(folder: Path) -> Iterator[str]:
    """A line for each feature space of the store."""
    found = list(FeatureStore(folder).spaces())
    yield f"{folder}: {len(found)} feature spaces, {sum(space.bytes for space in found) / 1e6:,.1f} MB"
    for space in found:
        yield f"{_name(space)}  {len(space):,} rows, {space.bytes / 1e6:,.1f} MB"


def verified(folder: Path) -> Iterator[str]:
    """Check every row of the store.

    :raises StoreError: at the end, if any row is wrong.
    """
    damaged = False
    for space in FeatureStore(folder).spaces():
        told, right = _verified(space)
        damaged = damaged or not right
        yield f"{_name(space)}  {told}"
    if damaged:
        raise StoreError(f"{folder}: rows are damaged; headstart cache prune --model NAME removes a model's rows")


def _verified(space: Space) -> tuple[str, bool]:
    try:
        bad = space.verify()
        return f"{len(space):,} rows, {bad} wrong", not bad
    except StoreError as failure:  # so damaged that it cannot be read; the others are looked at all the same
        return str(failure), False


def prune(folder: Path, *, model: str | None, everything: bool) -> str:
    """Make the store smaller, and say by how much."""
    found = list(FeatureStore(folder).spaces())
    before = sum(space.bytes for space in found)
    for space in found:
        if everything or model == space.facts["model"]:
            space.remove()
        elif model is None:
            space.prune()
    after = sum(space.bytes for space in FeatureStore(folder).spaces())
    return f"{folder}: {(before - after) / 1e6:,.1f} MB freed, {after / 1e6:,.1f} MB kept"


def _name(space: Space) -> str:
    facts = space.facts
    where = facts["cut"] or "image"
    return f"{space.path.stem[:8]}  {facts['model']} at {where} {tuple(facts['shape'])} {facts['precision']}"
