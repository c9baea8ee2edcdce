"""The command line."""

from headstart.cli.main import cli, main

__all__ = ["cli", "main"]
