"""``headstart report``."""

from __future__ import annotations

from pathlib import Path

import click

from headstart.cli.options import RUN
from headstart.files import check_writable

__all__ = ["report"]


@click.command()
@RUN
def report(run: str) -> None:
    """Rewrite report.html of RUN from the other files there."""
    page = Path(run) / "report.html"
    if Path(run).is_dir():  # otherwise the message is that there is no such run
        check_writable(page, option=None)
    from headstart.workflow import report as reporting

    click.echo(reporting.report(Path(run)))
