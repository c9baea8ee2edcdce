"""``headstart cache``: the feature store."""

from __future__ import annotations

from typing import Any

import click

from headstart.cli.options import parse, settings_options
from headstart.config import FitSettings

__all__ = ["cache"]

_PLACE = settings_options(FitSettings, only=("cache_dir", "feature_store"))


@click.group()
def cache() -> None:
    """List, verify or prune the feature store."""


@cache.command("list")
@_PLACE
def cache_list(**given: Any) -> None:
    """List the feature tables and their sizes."""
    from headstart.workflow.cache import list_tables

    place = parse(given, FitSettings)
    click.echo("\n".join(list_tables(place.cache_dir, place.feature_store)))


@cache.command("verify")
@_PLACE
def cache_verify(**given: Any) -> None:
    """Read every row and compare it with its checksum."""
    from headstart.workflow.cache import verify_tables

    place = parse(given, FitSettings)
    click.echo("\n".join(verify_tables(place.cache_dir, place.feature_store)))


@cache.command("prune")
@_PLACE
@click.option("--model", metavar="NAME", help="Model whose features are all removed.")
@click.option("--all", "everything", is_flag=True, help="Remove everything.")
def cache_prune(model: str | None, *, everything: bool, **given: Any) -> None:
    """Remove what is not needed from the feature store.

    By default: old versions, duplicate rows and leftovers of killed runs.
    """
    from headstart.workflow.cache import prune

    place = parse(given, FitSettings)
    click.echo(prune(place.cache_dir, model=model, everything=everything, feature_store=place.feature_store))
