"""The command ``headstart``: its subcommands, and how its errors end.

No module of this package imports torch, pydantic or pyarrow before a command runs: ``headstart --help`` answers at
once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

from headstart import __version__
from headstart.cli.cache import cache
from headstart.cli.compare import compare
from headstart.cli.console import printable, safe_streams
from headstart.cli.data import check, data, info, show
from headstart.cli.export import export
from headstart.cli.fit import fit
from headstart.cli.labels import labels
from headstart.cli.models import models, rank, summary
from headstart.cli.predict import evaluate, predict, verify_input
from headstart.cli.push import push
from headstart.cli.report import report
from headstart.cli.serve import serve
from headstart.cli.similar import similar
from headstart.cli.studio import studio
from headstart.errors import HeadstartError, SettingsError
from headstart.execution.memory import share_heaps
from headstart.execution.waiting import spin_briefly
from headstart.files import reason_of

__all__ = ["cli", "main"]


def main() -> None:
    """Run the command line. An error that headstart raises on purpose, or the system, ends it with one plain message.

    Ctrl-C, SIGTERM and SIGHUP end it in the same way: the work stops in order, and the exit code is 128 plus the number
    of the signal.
    """
    spin_briefly()
    share_heaps()
    with safe_streams(), _interrupting_signals():
        _run()


class _Interrupted(KeyboardInterrupt):
    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def _run() -> None:
    try:
        cli.main(prog_name="headstart", obj=("headstart", *sys.argv[1:]), standalone_mode=False)
    except HeadstartError as error:
        _stop(f"error: {error}", 2 if isinstance(error, SettingsError) else 1)
    except click.exceptions.Abort as abort:
        number = abort.__cause__.number if isinstance(abort.__cause__, _Interrupted) else signal.SIGINT
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        _stop(f"stopped{by}; what was computed is kept, and the same command continues from there", 128 + number)
    except OSError as failure:
        path = f"{failure.filename}: " if failure.filename is not None else ""
        _stop(f"error: {path}{reason_of(failure)}", 1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def _stop(text: str, code: int) -> NoReturn:
    click.echo(printable(text), err=True)
    sys.exit(code)


@contextmanager
def _interrupting_signals() -> Iterator[None]:
    """Within the block, SIGTERM and SIGHUP interrupt the work as Ctrl-C does, unless they are ignored (``nohup``)."""

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        raise _Interrupted(number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in names)}
    changed = [number for number, handler in before.items() if handler == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


class _InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names of the commands."""
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="headstart")
def cli() -> None:
    """Transfer learning for image classification in which what is frozen is computed once."""


for _command in (
    info,
    show,
    check,
    studio,
    labels,
    fit,
    predict,
    evaluate,
    similar,
    verify_input,
    report,
    compare,
    serve,
    export,
    push,
    models,
    summary,
    rank,
    data,
    cache,
):
    cli.add_command(_command)
