"""``headstart studio``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headstart.cli.console import say_token
from headstart.cli.options import ALLOW_HOST, SERVER_PACKAGES, TOKEN_FILE, GroupedCommand, parse, settings_options
from headstart.config import FitSettings, StudioSettings
from headstart.extras import require_extra

__all__ = ["studio"]

_LEARNING = ("model", "weights", "value_range", "cache_dir", "feature_store", "device", "seed")


@click.command(cls=GroupedCommand)
@click.argument("place", metavar="[PHOTOS|PROJECT]", required=False, type=Path)
@click.option(
    "--project",
    metavar="FOLDER",
    type=Path,
    help="Folder of the project, which is made if it is missing.  [default: projects/NAME, as PHOTOS is named]",
)
@settings_options(StudioSettings)
@settings_options(FitSettings, only=_LEARNING)
@click.option(
    "--allow-paths",
    "folders",
    metavar="FOLDER",
    multiple=True,
    type=Path,
    help="Further folder of this machine whose images may be added by naming it or one below it. Links that lead out "
    "of such folders are not followed. Can be repeated.",
)
@TOKEN_FILE
@ALLOW_HOST
def studio(
    place: Path | None,
    project: Path | None,
    folders: tuple[Path, ...],
    token_file: Path | None,
    hosts: tuple[str, ...],
    **given: Any,
) -> None:
    """Label, train and try images in the browser.

    Opens a page on this machine; nothing leaves it. PHOTOS is a folder of images, which stay where they are. PROJECT is
    the folder of a project that was opened before.
    """
    require_extra("studio", SERVER_PACKAGES, what="headstart studio")
    settings, fit = parse(given, StudioSettings), parse(given, FitSettings)
    from headstart.studio.server import open_studio

    server = open_studio(
        place,
        settings,
        fit,
        keep_model=given["model"] is None,
        project=project,
        folders=folders,
        token_file=token_file,
        hosts=hosts,
    )

    def announce() -> None:
        say_token(server.url, server.new_token)
        click.echo(f"project {server.studio.project.folder} at {server.url} (stop with Ctrl-C)", err=True)

    server.serve(announce)
    click.echo("stopped; every label is kept in the project", err=True)
