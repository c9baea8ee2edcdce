"""What there is: pretrained networks, and the feature store's contents."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from headstart import places
from headstart.errors import ModelError, StoreError
from headstart.features.store import FeatureStore, Space
from headstart.models import catalog, weights
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut
from headstart.models.published import published
from headstart.models.summary import summarise

__all__ = ["models", "prune", "spaces", "summary", "verified"]


def models(pattern: str) -> Iterator[str]:
    """A line a model: parameters, input, classes, published accuracy, whether its weights are here, licence."""
    found = list(catalog.list_models(pattern))
    if not found:
        raise ModelError(f"no model's name fits {pattern}; patterns are those of a shell, such as mobilenet*")
    width = max(len(info.name) for info in found)
    yield f"{'model':{width}}      params      input  classes  top-1  top-5     V2  weights  licence"
    for info in found:
        size, known = f"{info.spec.height}x{info.spec.width}", published(info)
        figures = "  ".join(_figure(each) for each in (known.top1, known.top5, known.v2_top1))
        count = "-" if known.parameters is None else f"{known.parameters:,.2f} M"
        line = f"{info.name:{width}}  {count:>10}  {size:>9}  {info.classes:>7}  {figures}"
        yield f"{line}  {_where(info):7}  {info.licence}"
    yield (
        "top-1 and top-5: published accuracy on ImageNet in percent, V2: top-1 on ImageNetV2, of the very weights that "
        "the name loads (sources: headstart/models/published.csv)"
    )


def _where(info: catalog.ModelInfo) -> str:
    if weights.at_hand(info.name):
        return "here"
    if weights.is_embedded(info.name):
        return "package"
    return "hub" if info.hub_id else "keras" if info.name.startswith("keras:") else "none"


def _figure(percent: float | None) -> str:
    return f"{'-' if percent is None else format(percent, '.1f'):>5}"


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


def prune(store: str | None, *, model: str | None, everything: bool) -> str:
    """Make the store smaller, and say by how much."""
    folder = places.features(store)
    before = _bytes(store)
    for space in FeatureStore(folder).spaces():
        if everything or model == space.facts["model"]:
            space.remove()
        elif model is None:
            space.prune()
    if everything:
        shutil.rmtree(places.prepared(store), ignore_errors=True)
        places.inspections(store).unlink(missing_ok=True)
    after = _bytes(store)
    return f"{places.root(store)}: {(before - after) / 1e6:,.1f} MB freed, {after / 1e6:,.1f} MB kept"


def _bytes(store: str | None) -> int:
    """Of all that headstart makes in a store; weights, which people put there, are not."""
    made = (places.features(store), places.prepared(store), places.inspections(store))
    files = [file for place in made for file in ([place] if place.is_file() else place.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())


def _name(space: Space) -> str:
    facts = space.facts
    where = facts["cut"] or "image"
    return f"{space.path.stem[:8]}  {facts['model']} at {where} {tuple(facts['shape'])} {facts['precision']}"
