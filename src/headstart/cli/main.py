"""The command ``headstart``: its subcommands, and how its errors end.

No module of this package imports torch, pydantic or pyarrow before a command runs: ``headstart --help`` answers at
once.
"""

from __future__ import annotations

import sys

import click

from headstart import __version__
from headstart.cli.cache import cache
from headstart.cli.data import check, data, info, show
from headstart.cli.fit import fit
from headstart.cli.models import models, rank, summary
from headstart.cli.predict import evaluate, predict, verify_input
from headstart.cli.report import report
from headstart.errors import HeadstartError, SettingsError

__all__ = ["cli", "main"]


def main() -> None:
    """Run the command line. An error that headstart raises on purpose ends it with one plain message."""
    try:
        cli.main(prog_name="headstart", obj=("headstart", *sys.argv[1:]), standalone_mode=False)
    except HeadstartError as error:
        _stop(f"error: {error}", 2 if isinstance(error, SettingsError) else 1)
    except click.exceptions.Abort:
        _stop("stopped; what was computed is kept, and the same command continues from there", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def _stop(text: str, code: int) -> None:
    click.echo(text, err=True)
    sys.exit(code)


class _InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names of the commands."""
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="headstart")
def cli() -> None:
    """Transfer learning for image classification in which what is frozen is computed once."""


for _command in (info, show, check, fit, predict, evaluate, verify_input, report, models, summary, rank, data, cache):
    cli.add_command(_command)
