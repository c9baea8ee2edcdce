"""``headstart serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headstart.cli.console import say_token
from headstart.cli.options import ALLOW_HOST, RUN, SERVER_PACKAGES, TOKEN_FILE, GroupedCommand, parse, settings_options
from headstart.config import EngineSettings, InputSettings, ServeSettings
from headstart.extras import require_extra

__all__ = ["serve"]

_ENGINE = ("device", "precision", "engine", "value_range")


@click.command(cls=GroupedCommand)
@RUN
@settings_options(ServeSettings)
@click.option(
    "--allow-paths",
    metavar="FOLDER",
    type=Path,
    help="Let JSON requests name files below this folder of the server. Links that lead out of it are not followed.",
)
@TOKEN_FILE
@ALLOW_HOST
@settings_options(EngineSettings, only=_ENGINE)
@settings_options(InputSettings)
def serve(run: str, allow_paths: Path | None, token_file: Path | None, hosts: tuple[str, ...], **given: Any) -> None:
    """Serve RUN as a web page and an HTTP API.

    RUN is a run folder, hf:OWNER/NAME, s3://BUCKET/FOLDER, or the name or file of a pretrained network.
    """
    require_extra("serve", SERVER_PACKAGES, what="headstart serve")
    settings = parse({name: value for name, value in given.items() if name not in _ENGINE}, ServeSettings)
    engine = parse({name: given[name] for name in _ENGINE}, EngineSettings)
    input_settings = parse(given, InputSettings)
    from headstart.serve.server import open_server

    server = open_server(run, settings, engine, input_settings, paths=allow_paths, token_file=token_file, hosts=hosts)

    def announce() -> None:
        say_token(server.url, server.new_token)
        click.echo(f"serving {run} at {server.url} (stop with Ctrl-C)", err=True)

    server.serve(announce)
    click.echo("stopped", err=True)
