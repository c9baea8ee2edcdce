"""``headstart labels``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from headstart.errors import SettingsError
from headstart.files import check_writable, write_bytes

__all__ = ["labels"]


@click.command()
@click.argument("project", type=Path)
@click.option("--csv", "table", metavar="FILE", type=Path, help="CSV file to write; - prints it.  [default: -]")
@click.option("--json-lines", "lines", metavar="FILE", type=Path, help="JSON lines to write instead; - prints them.")
@click.option("--unlabeled", is_flag=True, help="Write the images without a label, too, with an empty one.")
def labels(project: Path, table: Path | None, lines: Path | None, unlabeled: bool) -> None:
    """Write the labels of PROJECT, a project of headstart studio.

    The table has the columns path, name, label, labeled_by and labeled_at, and is one for --labels of other commands.
    The project may be open in headstart studio meanwhile.
    """
    if table is not None and lines is not None:
        raise SettingsError("--csv and --json-lines: give one of both")
    out = lines or table
    to_file = out is not None and str(out) != "-"
    if out is not None and to_file:
        check_writable(out, option="--json-lines" if lines else "--csv")
    from headstart.data.projects import Project
    from headstart.data.projects.tables import as_csv, as_json_lines, label_rows

    with Project.open(project, read_only=True) as opened:
        rows = label_rows(opened, unlabeled=unlabeled)
    content = as_json_lines(rows) if lines is not None else as_csv(rows)
    if out is not None and to_file:
        write_bytes(out, content)
        click.echo(f"{out}: {len(rows):,} image{'s' * (len(rows) != 1)}")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
