"""Write docs/command-line.md from the command line itself. Run: make docs. The tests fail where it is old."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from headstart.cli import cli

PAGE = Path(__file__).with_name("command-line.md")
HEAD = """# The command line

Made by `make docs` from the code; do not edit it by hand. In Python the same settings are the parameters of
`headstart.ImageClassifier` and of `headstart.FitSettings`, with underscores for hyphens.
"""


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Each verb with its full name, in order."""
    if isinstance(command, click.Group):
        for name, sub in sorted(command.commands.items()):
            yield from commands(sub, f"{path} {name}")
    else:
        yield path, command


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for path, command in commands(cli, "headstart"):
        parent = click.Context(cli, info_name=path.rpartition(" ")[0], **cli.context_settings)
        context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, terminal_width=110)
        parts.append(f"## {path}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def main() -> int:
    """Write the page, or with --check say whether it is up to date."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
    if not current:
        sys.stderr.write(f"{PAGE.name} is not up to date: run make docs\n")
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
