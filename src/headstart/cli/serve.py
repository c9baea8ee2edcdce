"""``headstart serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headstart.cli.options import RUN, GroupedCommand, parse, settings_options
from headstart.config import EngineSettings, InputSettings, ServeSettings
from headstart.extras import require_extra

__all__ = ["serve"]

_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "httptools")
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
@click.option(
    "--token-file",
    metavar="FILE",
    type=Path,
    help="File with the token that requests need.  [default: HEADSTART_TOKEN; else, where one is needed, a new one is "
    "printed]",
)
@click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Further name by which the server may be asked for, for example that of a proxy before it. Can be repeated.",
)
@settings_options(EngineSettings, only=_ENGINE)
@settings_options(InputSettings)
def serve(run: str, allow_paths: Path | None, token_file: Path | None, hosts: tuple[str, ...], **given: Any) -> None:
    """Serve RUN as a web page and an HTTP API.

    RUN is a run folder, hf:OWNER/NAME on the hub, or the name or file of a pretrained network.
    """
    require_extra("serve", _PACKAGES, what="headstart serve")
    settings = parse({name: value for name, value in given.items() if name not in _ENGINE}, ServeSettings)
    engine = parse({name: given[name] for name in _ENGINE}, EngineSettings)
    input_settings = parse(given, InputSettings)
    from headstart.serve.server import open_server

    server = open_server(run, settings, engine, input_settings, paths=allow_paths, token_file=token_file, hosts=hosts)

    def announce() -> None:
        if server.new_token is not None:
            click.echo(f"token: {server.new_token}", err=True)
            click.echo(f"sign in at {server.url}?token={server.new_token}", err=True)
        click.echo(f"serving {run} at {server.url} (stop with Ctrl-C)", err=True)

    server.serve(announce)
    click.echo("stopped", err=True)
