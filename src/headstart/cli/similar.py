"""The command ``headstart similar``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headstart.cli.console import console
from headstart.cli.options import RUN, GroupedCommand, parse, settings_options
from headstart.config import EngineSettings
from headstart.files import check_writable, write_or_keep

__all__ = ["similar"]


@click.command(cls=GroupedCommand)
@RUN
@click.argument("image")
@click.option(
    "--n", "count", metavar="N", type=click.IntRange(1), default=12, show_default=True, help="Number of images."
)
@click.option("--out", metavar="PNG", type=Path, help="File for a sheet of these images.")
@settings_options(EngineSettings, only=("max_pixels",))
def similar(run: str, image: str, count: int, out: Path | None, **given: Any) -> None:
    """Find the training images of RUN that are most like IMAGE.

    Prints the cosine of the angle between their features and those of IMAGE, and their labels. Their features come from
    the store that the fit has filled.
    """
    settings = parse(given, EngineSettings)
    if out is not None:
        check_writable(out)
    from headstart.workflow.predict import open_classifier
    from headstart.workflow.similar import find_similar

    classifier = open_classifier(run, events=console())
    found = find_similar(Path(run), classifier, image, count=count, settings=settings)
    click.echo("\n".join(found.lines()))
    if out is not None:
        write_or_keep(out, lambda path: found.draw(path, classifier))
        click.echo(out)
