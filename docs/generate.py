"""Write what is made in docs/: command-line.md from the command line, tutorial.md's tables from what was measured.

Run: make docs. The tests fail where one is old.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from headstart.cli import cli

PAGE = Path(__file__).with_name("command-line.md")
TUTORIAL = Path(__file__).with_name("tutorial.md")
MEASURED = Path(__file__).parent.parent / "benchmarks" / "results" / "tutorial.json"
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
    """The page of the command line as Markdown."""
    parts = [HEAD]
    for path, command in commands(cli, "headstart"):
        parent = click.Context(cli, info_name=path.rpartition(" ")[0], **cli.context_settings)
        context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, terminal_width=110)
        parts.append(f"## {path}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def tutorial() -> str:
    """The tutorial's page with its tables written anew."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    text = TUTORIAL.read_text(encoding="utf-8")
    return _filled(_filled(text, "input", _input(measured)), "fits", _fits(measured))


def _filled(text: str, name: str, lines: list[str]) -> str:
    """The text with these lines between the marks of that name."""
    before, begin, rest = re.split(rf"(<!-- {name}: .*-->\n)", text)
    made = "\n".join(["", *lines, ""])
    return f"{before}{begin}{made}\n{rest[rest.index('<!-- end -->') :]}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _percent(value: dict[str, float]) -> str:
    """With its 95 % interval where it has one."""
    interval = f" ({100 * value['low']:.1f} to {100 * value['high']:.1f})" if "low" in value else ""
    return f"{100 * value['value']:.1f} %{interval}"


def _cost(row: dict[str, Any]) -> list[str]:
    return [f"{row['seconds']:,.0f}", f"{row['peak_gb']:.1f} GB"]


def _input(measured: dict[str, Any]) -> list[str]:
    rows = [
        [f"{name}: `{row['command']}`", _percent(row["top1"]), _percent(row["top5"]), *_cost(row)]
        for name, row in measured["input"].items()
    ]
    images = next(iter(measured["input"].values()))["images"]
    return _table([f"{images:,} of ImageNet's pictures, shown", "top-1", "top-5", "seconds", "memory"], rows)


def _fits(measured: dict[str, Any]) -> list[str]:
    rows, machine = measured["fits"], measured["machine"]
    table = [
        [
            f"{name}: `{row['command']}`",
            _percent(row["top1"]),
            f"{row['log_loss']['value']:.3f}" if row["log_loss"] else "not recorded",
            *_cost(row),
        ]
        for name, row in rows.items()
    ]
    told = (
        f"`{measured['command']}` on {machine['cores']} cores of {machine['processor']}, {measured['date']}; "
        f"{measured['images']:,} pictures, of which the last quarter validates; from nothing, the whole process. In "
        "brackets the 95 % interval of the validation accuracy."
    )
    note = [f"**{measured['note']}**", ""] if "note" in measured else []
    return [told, "", *note, *_table(["", "accuracy", "log-loss", "seconds", "memory"], table), "", *_epochs(measured)]


def _epochs(measured: dict[str, Any]) -> list[str]:
    """Of the rows by the tutorial's recipe: accuracy on training, as Keras counts it, and on validation."""
    rows = {name: row for name, row in measured["fits"].items() if "val_accuracy" in row}
    head = ["epoch: accuracy in training / on validation, %", *rows]
    seeds = max(row.get("seeds", 1) for row in rows.values())
    told = [
        "Epoch by epoch. Training accuracy is the running mean of an epoch, before each step, as Keras tells it"
        + (f"; the same recipe in the middle of {seeds} seeds, with the lowest and highest." if seeds > 1 else ".")
    ]
    lines = [[str(number + 1), *(_epoch(row, number) for row in rows.values())] for number in range(measured["epochs"])]
    return [*told, "", *_table(head, lines)]


def _epoch(row: dict[str, Any], number: int) -> str:
    if row.get("seeds", 1) == 1:
        return f"{100 * row['accuracy'][number]:.1f} / {100 * row['val_accuracy'][number]:.1f}"
    both = (row["over_seeds"][name][number] for name in ("accuracy", "val_accuracy"))
    return " / ".join(f"{100 * middle:.1f} ({100 * low:.1f} to {100 * high:.1f})" for low, middle, high in both)


def main() -> int:
    """Write the pages, or with --check say whether they are up to date."""
    old = False
    for place, made in ((PAGE, page()), (TUTORIAL, tutorial())):
        if "--check" not in sys.argv[1:]:
            place.write_text(made, encoding="utf-8")
        elif not place.exists() or place.read_text(encoding="utf-8") != made:
            sys.stderr.write(f"{place.name} is not up to date: run make docs\n")
            old = True
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
