"""Write the generated pages and tables of docs/ from the code and from the measurements.

Run ``make docs``; with ``--check`` it only reports what is out of date, which ``make lint`` and the tests do.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import runpy
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from headstart import events
from headstart.artifacts.model_document import MODEL_FORMAT, ModelDocument
from headstart.cli import cli
from headstart.config import FitSettings, InputSettings, ReadSettings, options_of
from headstart.config.options import GROUPS, Option
from headstart.documents import json_schema
from headstart.evaluate.comparison import COMPARISON_FORMAT, Comparison
from headstart.evaluate.schema import EVALUATION_FORMAT, RUN_FORMAT, EpochRecord, Evaluation, RunInfo
from headstart.export.comparison import RECORD_FORMAT, ExportRecord
from headstart.export.metadata import EXPORT_FORMAT, ExportMetadata
from headstart.workflow.ranking import RANKING_FORMAT, RankingDocument

DOCS = Path(__file__).parent
TUTORIAL = DOCS / "tutorial.md"
LAYOUTS = DOCS / "howto" / "layouts.md"
FORMATS = DOCS / "formats.md"
MEASURED = DOCS.parent / "benchmarks" / "results" / "speed" / "tutorial.json"

COMMANDS = {
    "Label images": ("studio", "labels"),
    "Fit and predict": ("fit", "predict", "evaluate", "similar", "report", "compare"),
    "Hand over": ("serve", "export", "push"),
    "Look at images": ("check", "info", "show"),
    "Choose and understand a network": ("rank", "models", "summary", "verify-input"),
    "Published data sets": ("data",),
    "The feature store": ("cache",),
}
"""The commands in the order in which a user meets them."""

COMMAND_LINE_HEAD = """# Command line

Generated from the code by `make docs`. In Python the same options are the parameters of
{class}`headstart.ImageClassifier`, with underscores for hyphens: [Settings](settings.md).
"""
SETTINGS_HEAD = """# Settings

Generated from the code by `make docs`. These are the parameters of {class}`headstart.ImageClassifier` and of
{class}`headstart.FitSettings`. On the [command line](command-line.md), `batch_size` is `--batch-size`, and a setting
that is True or False is `--refit` or `--no-refit`.
"""


def command_line() -> str:
    """The page of the command line, as Markdown."""
    known = [name for names in COMMANDS.values() for name in names]
    if sorted(known) != sorted(cli.commands):
        raise SystemExit(f"COMMANDS in {__file__} differ from the commands: {set(known) ^ set(cli.commands)}")
    parts = [COMMAND_LINE_HEAD]
    for title, names in COMMANDS.items():
        parts.append(f"## {title}\n")
        for name in names:
            parts.extend(_help(path, command) for path, command in _commands(cli.commands[name], f"headstart {name}"))
    return "\n".join(parts)


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Each command with its full name, in order."""
    if isinstance(command, click.Group):
        for name, sub in sorted(command.commands.items()):
            yield from _commands(sub, f"{path} {name}")
    else:
        yield path, command


def _help(path: str, command: click.Command) -> str:
    parent = click.Context(cli, info_name=path.rpartition(" ")[0], **cli.context_settings)
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, terminal_width=90)
    return f"### {path}\n\n```text\n{command.get_help(context)}\n```\n"


def settings() -> str:
    """The page of the settings, as Markdown."""
    parts = [SETTINGS_HEAD]
    for group in GROUPS:
        options = [option for option in options_of(FitSettings) if option.group == group]
        parts.append(f"## {group}\n")
        parts.extend(_table(["setting", "type", "default", "meaning"], [_row(option) for option in options]))
        parts.append("")
    parts.append("## Reading\n\nParameters of {func}`headstart.read_images`.\n")
    parts.extend(_table(["parameter", "meaning"], [[f"`{each.name}`", each.help] for each in options_of(ReadSettings)]))
    inputs = ", ".join(f"`{option.name}`" for option in options_of(InputSettings))
    parts.append(
        f"\nThe commands `predict`, `evaluate` and `verify-input` take the input settings as well: {inputs}.\n"
    )
    return "\n".join(parts)


def _row(option: Option) -> list[str]:
    kind = ", ".join(f"`{choice}`" for choice in option.choices) or option.type
    if option.low is not None:
        kind += f", {option.low:g} to {option.high:g}" if option.high is not None else f", at least {option.low:g}"
    default = "" if option.default is None else f"`{option.default}`"
    return [f"`{option.name}`", kind, default, option.help.replace("|", "\\|")]


def formats() -> str:
    """The page of the file formats, with its schemas written anew."""
    text = FORMATS.read_text(encoding="utf-8")
    text = _filled(text, "settings.json", _schema(RunInfo, RUN_FORMAT))
    text = _filled(text, "evaluation.json", _schema(Evaluation, EVALUATION_FORMAT))
    text = _filled(text, "history.jsonl", _schema(EpochRecord, None))
    text = _filled(text, "events.jsonl", _events())
    text = _filled(text, "model.json", _schema(ModelDocument, MODEL_FORMAT))
    text = _filled(text, "rank.json", _schema(RankingDocument, RANKING_FORMAT))
    text = _filled(text, "comparison", _schema(Comparison, COMPARISON_FORMAT))
    text = _filled(text, "FILE.export.json", _schema(ExportRecord, RECORD_FORMAT))
    return _filled(text, "metadata of an export", _schema(ExportMetadata, EXPORT_FORMAT))


def _schema(kind: type[Any], version: int | None) -> list[str]:
    """The fields of a document as a table, and its JSON Schema in full."""
    schema = json_schema(kind, version=version)
    meanings = {"format": "version of the format", **_comments(kind)}
    meanings["checksums"] = (
        "of each other key but the format: BLAKE2b of its JSON with sorted keys, 16 hexadecimal digits"
    )
    rows = [[f"`{name}`", _type(each), meanings.get(name, "")] for name, each in schema["properties"].items()]
    text = json.dumps(schema, indent=2, ensure_ascii=False)
    details = ["<details><summary>JSON Schema</summary>", "", "```json", text, "```", "", "</details>"]
    return [*_table(["key", "value", "meaning"], rows), "", *_definitions(schema), *details]


def _comments(kind: type[Any]) -> dict[str, str]:
    """The comment beside each field of a dataclass, which says what its name does not."""
    found = re.findall(r"^    (\w+):[^#\n]*#\s*(.+)$", inspect.getsource(kind), re.MULTILINE)
    return {name: text.replace("|", "\\|") for name, text in found}


def _definitions(schema: dict[str, Any]) -> list[str]:
    """The objects that a document is made of, with what they are."""
    rows = [
        [f"`{name}`", ", ".join(f"`{key}`" for key in each.get("properties", ())), _summary(each)]
        for name, each in sorted(schema.get("$defs", {}).items())
    ]
    return [*_table(["object", "keys", "meaning"], rows), ""] if rows else []


def _summary(schema: dict[str, Any]) -> str:
    """The first paragraph of a docstring in one line, with Markdown's code instead of reST's."""
    paragraph = " ".join(str(schema.get("description", "")).partition("\n\n")[0].split())
    return paragraph.replace("``", "`").replace("|", "\\|")


def _type(schema: dict[str, Any]) -> str:
    """A JSON type in words.

    >>> _type({"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Interval"}}, {"type": "null"}]})
    'list of `Interval`, or null'
    """
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return ", or ".join(_type(each) for each in schema["anyOf"])
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if schema.get("type") == "array":
        return _array(schema)
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return str(schema.get("type", "any"))


def _array(schema: dict[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(_type(each) for each in schema['prefixItems'])}]"
    return f"list of {_type(schema.get('items', {}))}"


def _events() -> list[str]:
    kinds = [getattr(events, name) for name in events.__all__]
    rows = [
        [f"`{kind.kind}`", kind.__doc__.split("\n")[0], ", ".join(f"`{field.name}`" for field in fields(kind))]
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
    ]
    return _table(["`kind`", "meaning", "further keys"], rows)


def tutorial() -> str:
    """The tutorial's page, with its tables written anew."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    text = TUTORIAL.read_text(encoding="utf-8")
    return _filled(_filled(text, "input", _input(measured)), "fits", _fits(measured))


def layouts() -> str:
    """The page of layouts, with what headstart takes each of the example's layouts to be."""
    example = runpy.run_path(str(DOCS.parent / "examples" / "layouts.py"))
    parts: list[str] = []
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as made:
        os.chdir(made)  # the lines name the folder as it was given
        for title, files in example["LAYOUTS"].items():
            example["make"](Path("photos"), files)
            lines = "\n".join(
                textwrap.fill(line, 110, subsequent_indent="    ") for line in example["describe"](Path("photos"))
            )
            parts += [f"## {title}", "", "```text", *_tree(files), "```", "", "```text", lines, "```", ""]
            shutil.rmtree("photos")
        os.chdir(before)
    return _filled(LAYOUTS.read_text(encoding="utf-8"), "layouts", parts[:-1])


def _tree(files: Iterable[str]) -> list[str]:
    return [f"photos/{name}" for name in files]


def _filled(text: str, name: str, lines: list[str]) -> str:
    """The text with these lines between the marks of that name."""
    before, begin, rest = re.split(rf"(<!-- {re.escape(name)}: .*-->\n)", text)
    made = "\n".join(["", *lines, ""])
    return f"{before}{begin}{made}\n{rest[rest.index('<!-- end -->') :]}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _percent(value: dict[str, float]) -> str:
    """A share as a percentage, with its 95 % interval where it has one."""
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
    return _table([f"{images:,} ImageNet images, input", "top-1", "top-5", "seconds", "memory"], rows)


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
    about = (
        f"`{measured['command']}` on {machine['cores']} cores of {machine['processor']}, {measured['date']}; "
        f"{measured['images']:,} images, of which the last quarter is the validation split. Time and memory are of the "
        "whole process with an empty store. In brackets: the 95 % interval of the validation accuracy."
    )
    note = [f"**{measured['note']}**", ""] if "note" in measured else []
    return [about, "", *note, *_table(["", "accuracy", "log-loss", "seconds", "memory"], table), "", *_epochs(measured)]


def _epochs(measured: dict[str, Any]) -> list[str]:
    """Accuracy per epoch of the rows by the tutorial's recipe: on training, as Keras counts it, and on validation."""
    rows = {name: row for name, row in measured["fits"].items() if "val_accuracy" in row}
    head = ["epoch: accuracy in training / on validation, %", *rows]
    seeds = max(row.get("seeds", 1) for row in rows.values())
    about = [
        "Accuracy per epoch. Training accuracy is the running mean of an epoch, before each step, as Keras reports it"
        + (f"; the same recipe is the median of {seeds} seeds, with the lowest and highest." if seeds > 1 else ".")
    ]
    lines = [[str(number + 1), *(_epoch(row, number) for row in rows.values())] for number in range(measured["epochs"])]
    return [*about, "", *_table(head, lines)]


def _epoch(row: dict[str, Any], number: int) -> str:
    if row.get("seeds", 1) == 1:
        return f"{100 * row['accuracy'][number]:.1f} / {100 * row['val_accuracy'][number]:.1f}"
    both = (row["over_seeds"][name][number] for name in ("accuracy", "val_accuracy"))
    return " / ".join(f"{100 * middle:.1f} ({100 * low:.1f} to {100 * high:.1f})" for low, middle, high in both)


PAGES: dict[str, Callable[[], str]] = {
    "command-line.md": command_line,
    "settings.md": settings,
    "formats.md": formats,
    "tutorial.md": tutorial,
    "howto/layouts.md": layouts,
}


def main() -> int:
    """Write the pages, or with --check report those that are out of date."""
    outdated = False
    for name, make in PAGES.items():
        path, made = DOCS / name, make()
        if "--check" not in sys.argv[1:]:
            path.write_text(made, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != made:
            sys.stderr.write(f"docs/{name} is out of date: run make docs\n")
            outdated = True
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
