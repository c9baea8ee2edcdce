"""The generated pages and tables are what the code and the measurements say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent
MEASURED = ROOT / "benchmarks" / "results" / "speed" / "tutorial.json"


@pytest.fixture(scope="module")
def generate(load_module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module docs/generate.py."""
    return load_module(ROOT / "docs" / "generate.py")


PAGES = ["command-line.md", "settings.md", "formats.md", "tutorial.md", "howto/layouts.md"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_up_to_date(generate: ModuleType, page: str) -> None:
    assert list(generate.PAGES) == PAGES
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == generate.PAGES[page](), "run make docs"


def test_the_command_line_page_has_every_option(generate: ModuleType) -> None:
    page = generate.command_line()
    for name, command in generate.cli.commands.items():
        assert f"### headstart {name}" in page
        for parameter in getattr(command, "params", ()):
            assert all(option in page for option in parameter.opts if option.startswith("--")), parameter


def test_a_type_in_words(generate: ModuleType) -> None:
    either = {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Interval"}}, {"type": "null"}]}
    assert generate._type(either) == "list of `Interval`, or null"
    assert generate._type({"type": "object", "additionalProperties": {"type": "integer"}}) == "object of integer"
    assert generate._type({"enum": ["head", "finetune"]}) == '`"head"` or `"finetune"`'


def test_the_tutorial_has_the_measured_figures(generate: ModuleType) -> None:
    page, measured = generate.tutorial(), json.loads(MEASURED.read_text(encoding="utf-8"))
    for row in (*measured["input"].values(), *measured["fits"].values()):
        assert f"`{row['command']}` | {100 * row['top1']['value']:.1f} %" in page


def test_other_measurements_make_another_page(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing the page a second time changes nothing."""
    cost = {"seconds": 199.4, "peak_gb": 1.62}
    share = {"value": 0.647, "low": 0.628, "high": 0.666}
    epochs = {"accuracy": [0.2651, 0.5751], "val_accuracy": [0.3752, 0.5243]}
    spread = {"accuracy": [[0.247, 0.261, 0.265]] * 2, "val_accuracy": [[0.374, 0.374, 0.41]] * 2}
    measured = {
        "command": "python -m benchmarks.speed.tutorial",
        "date": "2020-02-02",
        "machine": {"processor": "Z80", "cores": 2},
        "images": 10222,
        "epochs": 2,
        "input": {"right": {"command": "evaluate it", "top1": share, "top5": share, "images": 1300, **cost}},
        "fits": {
            "Keras": {"command": "keras it", "top1": {"value": 0.6612}, "log_loss": None, **epochs, **cost},
            "same": {"command": "a", "top1": share, "log_loss": {"value": 1.1934}, **epochs, **cost}
            | {"seeds": 3, "over_seeds": spread},
            "defaults": {"command": "b", "top1": share, "log_loss": {"value": 0.4}, **cost},
        },
    }
    (tmp_path / "tutorial.json").write_text(json.dumps(measured))
    monkeypatch.setattr(generate, "MEASURED", tmp_path / "tutorial.json")
    page = generate.tutorial()
    assert "| right: `evaluate it` | 64.7 % (62.8 to 66.6) | 64.7 % (62.8 to 66.6) | 199 | 1.6 GB |\n" in page
    assert "2 cores of Z80, 2020-02-02; 10,222 images" in page
    assert "| Keras: `keras it` | 66.1 % | not recorded | 199 | 1.6 GB |\n" in page
    assert "| same: `a` | 64.7 % (62.8 to 66.6) | 1.193 | 199 | 1.6 GB |\n" in page
    assert "| 2 | 57.5 / 52.4 | 26.1 (24.7 to 26.5) / 37.4 (37.4 to 41.0) |\n" in page
    monkeypatch.setattr(generate, "TUTORIAL", tmp_path / "tutorial.md")
    (tmp_path / "tutorial.md").write_text(page, encoding="utf-8")
    assert generate.tutorial() == page


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("benchmarks/**/*.md")]))
def test_links_outside_the_site_lead_somewhere(page: Path) -> None:
    """The pages of docs/ are checked as they are built; these are read where they are."""
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
