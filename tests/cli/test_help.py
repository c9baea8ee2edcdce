"""What --help shows, and how fast."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import click
import pytest

from headstart.cli import cli
from headstart.cli.options import COMMON
from headstart.config import GROUPS, EngineSettings, FitSettings, InputSettings, Option, ReadSettings, options_of

Run = Callable[..., tuple[int, str, str]]


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))
    else:
        yield path, command


ALL = [pytest.param(path, command, id=" ".join(path)) for path, command in commands(cli)]


def sections(text: str) -> dict[str, str]:
    """The headings of a help text, each with the text below it."""
    parts = re.split(r"^(\S[^\n]*):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def flags(section: str) -> list[str]:
    """The long options that a section lists; of a pair such as --refit / --no-refit the first."""
    return re.findall(r"^  (?:-\w, )?--([\w-]+)", section, flags=re.MULTILINE)


def test_help_does_not_load_the_heavy_packages() -> None:
    code = (
        "import sys, headstart.cli as c\n"
        "try: c.cli(['fit', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'lance', 'sklearn', 'matplotlib', 'openvino', 'numpy', 'pyarrow', 'pydantic',\n"
        "         'scipy', 'PIL', 'jinja2', 'tqdm'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--train WHAT" in out
    assert out.splitlines()[-1] == "[]"


def test_fit_lists_its_options_in_groups(run: Run) -> None:
    code, out, _ = run("fit", "--help")
    found = sections(out)
    assert code == 0
    assert list(found) == [COMMON, *GROUPS]
    assert flags(found[COMMON]) == [
        *(
            "out",
            "recipe",
            "quality",
            "update",
            "track",
            "plan",
            "labels",
            "device",
            "train",
            "budget",
            "model",
            "tta-flip",
        ),
        *("validation-share", "test-share", "seed", "help"),
    ]
    for group in GROUPS:
        assert flags(found[group]) == [
            option.name.replace("_", "-")
            for kind in (ReadSettings, FitSettings)
            for option in options_of(kind)
            if option.group == group and not option.common
        ]


def test_evaluate_lists_its_options_in_groups(run: Run) -> None:
    assert list(sections(run("evaluate", "--help")[1])) == [COMMON, "Data", "Backbone", "Runtime"]


def test_a_short_list_of_options_has_no_groups(run: Run) -> None:
    found = sections(run("info", "--help")[1])
    assert list(found) == ["Options"]
    folders = ["folder-levels", "split-folders", "group-column", "group-pattern"]
    columns = ["labels", "id-column", "label-column", "split-column"]
    assert flags(found["Options"]) == [*columns, *folders, "frames", "corrections", "help"]


@pytest.mark.parametrize(("path", "command"), ALL)
def test_each_command_explains_itself(run: Run, path: tuple[str, ...], command: click.Command) -> None:
    """The first sentence fits into the list of commands; every option has a help text."""
    code, out, err = run(*path, "--help")
    assert (code, err) == (0, "")
    first = (command.help or "").partition("\n")[0].strip()
    assert re.fullmatch(r"[A-Z][a-z].*\.", first)
    assert len(first) <= 60
    shown = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert all(option.help and option.help[0].isupper() for option in shown)
    assert all(re.search(r"\.(  \[default: .*\])?$", option.help or "") for option in shown)
    listed = [flag for section in sections(out).values() for flag in flags(section)]
    assert sorted(listed) == sorted(["help", *(option.opts[0].removeprefix("--") for option in shown)])


def test_the_commands_are_listed_in_the_order_of_the_work(run: Run) -> None:
    code, out, _ = run("--help")
    names = re.findall(r"^  ([\w-]+)  +\w", sections(out)["Commands"], flags=re.MULTILINE)
    assert (code, names) == (
        0,
        [
            *("info", "show", "check", "studio", "labels", "fit", "predict", "evaluate"),
            *("similar", "verify-input", "report", "compare", "serve", "export", "push"),
            *("models", "summary", "rank", "data", "cache"),
        ],
    )
    assert "..." not in sections(out)["Commands"]


SETTINGS = [option for kind in (ReadSettings, FitSettings) for option in options_of(kind)]


@pytest.mark.parametrize("option", SETTINGS, ids=lambda option: option.name)
def test_each_setting_is_an_option_of_fit_with_its_default(option: Option) -> None:
    (found,) = [each for each in cli.commands["fit"].params if each.name == option.name]
    assert isinstance(found, click.Option)
    assert found.default is None  # so that a recipe and an updated run can tell what was given
    assert option.help in (found.help or "")
    name = option.name.replace("_", "-")
    if option.type == "bool":
        assert (found.opts, found.secondary_opts) == ([f"--{name}"], [f"--no-{name}"])
        assert (found.help or "").endswith(f"[default: {name if option.default else f'no-{name}'}]")
    else:
        assert (found.opts, found.secondary_opts) == ([f"--{name}"], [])
        assert found.metavar
        assert option.default is None or (found.help or "").endswith(f"[default: {option.default}]")


@pytest.mark.parametrize("kind", [EngineSettings, InputSettings])
@pytest.mark.parametrize("name", ["predict", "evaluate", "verify-input"])
def test_commands_that_predict_have_the_options_of(kind: type[EngineSettings | InputSettings], name: str) -> None:
    assert {option.name for option in options_of(kind)} <= {each.name for each in cli.commands[name].params}
