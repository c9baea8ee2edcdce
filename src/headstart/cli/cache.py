"""``headstart cache``: the feature store."""

from __future__ import annotations

import click

from headstart.cli.options import settings_options
from headstart.config import FitSettings

__all__ = ["cache"]

_CACHE_DIR = settings_options(FitSettings, only=("cache_dir",))


@click.group()
def cache() -> None:
    """List, verify or prune the feature store."""


@cache.command("list")
@_CACHE_DIR
def cache_list(cache_dir: str | None) -> None:
    """List the feature tables and their sizes."""
    from headstart.workflow.cache import list_tables

    click.echo("\n".join(list_tables(cache_dir)))


@cache.command("verify")
@_CACHE_DIR
def cache_verify(cache_dir: str | None) -> None:
    """Read every row and compare it with its checksum."""
    from headstart.workflow.cache import verify_tables

    click.echo("\n".join(verify_tables(cache_dir)))


@cache.command("prune")
@_CACHE_DIR
@click.option("--model", metavar="NAME", help="Model whose features are all removed.")
@click.option("--all", "everything", is_flag=True, help="Remove everything.")
def cache_prune(cache_dir: str | None, model: str | None, everything: bool) -> None:
    """Remove what is not needed from the feature store.

    By default: old versions, duplicate rows and leftovers of killed runs.
    """
    from headstart.workflow.cache import prune

    click.echo(prune(cache_dir, model=model, everything=everything))
