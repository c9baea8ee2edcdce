"""Click options made from the declarations of :mod:`headstart.config`, and help texts that list options in groups."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from headstart.config import (
    GROUPS,
    ClusterSettings,
    EngineSettings,
    FitSettings,
    ImageNetV2Settings,
    InputSettings,
    Option,
    ReadSettings,
    ServeSettings,
    Settings,
    StudioSettings,
    options_of,
)
from headstart.errors import DataError

__all__ = [
    "COMMON",
    "IMAGES",
    "MANY_IMAGES",
    "MANY_RUNS",
    "RUN",
    "GroupedCommand",
    "given_values",
    "parse",
    "settings_options",
]

COMMON = "Common options"
"""The heading above the groups of :data:`headstart.config.GROUPS`: the options that most people use."""

FEW = 11  # with at most this many options, a help text lists them without groups


def _existing(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Refuse a folder that does not exist at once, not after the seconds that it takes to import torch."""
    pattern = any(sign in value for sign in "{*?[")  # of the files of shards
    if ":" not in value and not pattern and not os.path.exists(value):  # noqa: PTH110 - Path.exists raises for some names
        raise DataError(f"{value}: no such folder or file")
    return value


def _all_existing(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_existing(context, parameter, value) for value in values)


IMAGES = click.argument("photos", callback=_existing)
MANY_IMAGES = click.argument("images", nargs=-1, required=True, callback=_all_existing)
RUN = click.argument("run")
MANY_RUNS = click.argument("runs", nargs=-1, required=True)

TOKEN_FILE = click.option(
    "--token-file",
    metavar="FILE",
    type=Path,
    help="File with the token that requests need.  [default: HEADSTART_TOKEN; else, where one is needed, a new one is "
    "printed]",
)
ALLOW_HOST = click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Further name by which the server may be asked for, for example that of a proxy before it. Can be repeated.",
)
SERVER_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "httptools")
"""What the extras of the commands that listen consist of."""

Command = Callable[..., Any]
_Settings = TypeVar("_Settings", bound=Settings)
_KINDS = (
    ReadSettings,
    ImageNetV2Settings,
    EngineSettings,
    ClusterSettings,
    InputSettings,
    FitSettings,
    ServeSettings,
    StudioSettings,
)


class GroupedCommand(click.Command):
    """A command whose help text lists a long list of options in groups.

    An option that is declared in a command, not in :mod:`headstart.config`, belongs to the common ones.
    """

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections of options: the common ones, then each group."""
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        few = len(options) <= FEW
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in ("Options", COMMON, *GROUPS)}
        for option in options:
            group = option.group if isinstance(option, _SettingOption) else COMMON
            if (record := option.get_help_record(ctx)) is not None:
                sections["Options" if few else group].append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class _SettingOption(click.Option):
    """An option that knows the heading under which it is listed."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        self.group = group
        super().__init__(*args, **kwargs)


def settings_options(*kinds: type[Settings], only: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Add an option for each setting of ``kinds``; the command receives raw values for :func:`parse`.

    :param only: names of the settings to add; all by default.
    """

    def add(command: Command) -> Command:
        for kind in reversed(kinds):
            for option in reversed([each for each in options_of(kind) if not only or each.name in only]):
                command = _click_option(option)(command)
        return command

    return add


def parse(given: dict[str, Any], kind: type[_Settings]) -> _Settings:
    """Settings of one kind from all values of a command line; those of the other kinds are left to them.

    :raises SettingsError: lists every invalid value.
    """
    return kind.parse(given, *_KINDS)


def given_values(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given on the command line."""
    return {name: value for name, value in given.items() if value is not None}


def _click_option(option: Option) -> Callable[[Command], Command]:
    # The default is None, so that a command can tell an option that was not given; the help text states the real one.
    shown: dict[str, Any] = {"help": _help(option), "default": None}
    if option.type != "bool":
        shown["metavar"] = _metavar(option)
    return click.option(option.flag, cls=_SettingOption, group=COMMON if option.common else option.group, **shown)


def _metavar(option: Option) -> str:
    return "|".join(option.choices) or option.metavar or {"int": "N", "float": "NUMBER"}.get(option.type, "TEXT")


def _help(option: Option) -> str:
    if option.default is None:
        return option.help
    default = option.default
    if option.type == "bool":
        name = option.name.replace("_", "-")
        default = name if option.default else f"no-{name}"
    return f"{option.help}  [default: {default}]"
