"""``headstart compare``."""

from __future__ import annotations

from pathlib import Path

import click

from headstart.cli.console import console
from headstart.cli.options import MANY_RUNS
from headstart.files import check_writable, is_stream, write_or_keep

__all__ = ["compare"]


@click.command()
@MANY_RUNS
@click.option("--baseline", metavar="RUN", help="Run that the others are compared with.  [default: the first]")
@click.option(
    "--on",
    metavar="EVALUATION",
    help="Compare evaluations/EVALUATION of each run.  [default: the images that each fit was evaluated on]",
)
@click.option(
    "--output",
    "--out",
    "output",
    metavar="FILE",
    type=Path,
    help="Page to write. An earlier comparison there is replaced, any other file is not.  [default: a new file in "
    "comparisons/]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON instead of tables.")
@click.pass_obj
def compare(
    arguments: tuple[str, ...] | None,
    /,
    runs: tuple[str, ...],
    baseline: str | None,
    on: str | None,
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    """Compare RUNS on the same images.

    Differences have paired 95 % intervals, and the images that changed sides are shown on a page. RUNS are run folders,
    or folders of evaluations.
    """
    from headstart.workflow import compare as comparing

    if output is not None:
        comparing.check_page(output)
    result = comparing.compare(runs, baseline=baseline, on=on, arguments=arguments or ())
    page = output or comparing.page_path(result.comparison)
    check_writable(page, option="--output")
    events = console()
    for text in result.comparison.warnings:
        events.warn(text)
    write_or_keep(page, result.write)
    streamed = is_stream(page)  # then nothing else is written to it
    click.echo(result.json() if as_json else "\n".join(result.lines()), err=streamed)
    click.echo(f"page: {page}", err=streamed or as_json)
