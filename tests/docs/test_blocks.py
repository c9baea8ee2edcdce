"""Every code block of README.md, docs/ and examples/ runs as it is written there, offline, on small images.

A block that cannot run has ``<!-- not run: reason -->`` before it, and stands in :data:`NOT_RUN`. Output in a console
block is compared with what the command prints, except for numbers, which depend on the machine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sybil import Example, Region, Sybil
from sybil.document import Document
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    str(path.relative_to(ROOT))
    for path in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
]
RUN = ("python", "console")
DATA = ("text", "json")  # and directives of the site, {name}
NOT_RUN = {
    "README.md": ["the gate runs both itself"],
    "docs/contributing.md": ["the gate runs these targets itself"],
    "docs/extending.md": ["mypackage stands for your own package"],
    "docs/howto/cluster.md": [
        "starting a cluster takes longer than all other blocks",
        "needs a bucket",
        "starting a cluster takes longer than all other blocks",
    ],
    "docs/howto/export.md": ["npm fetches ONNX Runtime Web"],
    "docs/howto/gpu.md": ["needs a GPU"],
    "docs/howto/own-data.md": ["needs a table with such a column", "downloads a data set"],
    "docs/howto/serve.md": [
        "installing packages needs a network",
        "it serves until it is stopped",
        "the server above must be running",
        "it serves until it is stopped",
        "needs Docker",
    ],
    "docs/howto/share.md": ["uploads to the hub", "needs a bucket", "downloads from the hub"],
    "docs/howto/track.md": ["installing packages needs a network", "it serves until it is stopped"],
    "docs/howto/sources.md": ["reads from other machines"],
    "docs/quickstart.md": ["the gate runs make demo and make test themselves", "installing packages needs a network"],
    "docs/studio.md": [
        "installing packages needs a network",
        "it serves until it is stopped",
        "the project above is needed",
        "the studio above must be running",
        "the studio above must be running",
    ],
    "docs/tutorial.md": [
        "downloads the network",
        "downloads the network and the images",
        "MODEL is any network",
        "downloads the images",
        "downloads the network",
        "downloads the network",
    ],
}
"""All blocks that are not run, by page, with their reasons. A block is added here knowingly, or not at all."""

_MARK = re.compile(r"<!-- not run: ([^\n]+) -->\s*\Z")
_NUMBER = re.compile(r"\d(?:[\d.,]*\d)?")
Headstart = Callable[..., tuple[int, str, str]]


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    source: str
    reason: str | None  # why it is not run
    region: Region


def blocks(document: Document) -> Iterator[Block]:
    """All fenced blocks."""
    for region in FencedCodeBlockLexer(r"[^\n`]*")(document):
        mark = _MARK.search(document.text[: region.start])
        yield Block(region.lexemes["language"], str(region.lexemes["source"]), mark and mark[1], region)


def page_blocks(page: str) -> list[Block]:
    """The blocks of one page."""
    return list(blocks(Document((ROOT / page).read_text(encoding="utf-8"), page)))


def commands(source: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that the block shows."""
    joined = re.sub(r"\\\n\s*", "", source)
    for each in re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]:
        command, _, output = each.partition("\n")
        yield command, output.strip()


def masked(text: str) -> str:
    """The text with its numbers and spaces made equal, and the current folder as the pages write it."""
    return re.sub(r"[ \t]+", " ", _NUMBER.sub("0", text.replace(str(Path.cwd()), "/home/me"))).strip()


def agrees(printed: str, shown: str) -> bool:
    """Whether a command printed what a page shows; a line "…" stands for any lines.

    >>> agrees("a 1\\nb\\nc", "…\\nc"), agrees("a 1", "a 23"), agrees("a", "b")
    (True, True, False)
    """
    parts = re.split(r"^…$\n?", masked(shown), flags=re.MULTILINE)
    return re.fullmatch("(?s:.*)".join(map(re.escape, parts)), masked(printed)) is not None


class Console:
    """Runs console blocks: ``headstart`` in this process, ``export`` in its environment, and nothing else."""

    def __init__(self, headstart: Headstart, monkeypatch: pytest.MonkeyPatch) -> None:
        self._headstart = headstart
        self._monkeypatch = monkeypatch

    def __call__(self, example: Example) -> None:
        """Run the commands of one block, in order, and compare their output."""
        found = list(commands(str(example.parsed)))
        assert found, "a console block has commands, after `$ `"
        for command, expected in found:
            program, *words = shlex.split(command, comments=True)
            if program == "export":
                name, _, value = words[0].partition("=")
                self._monkeypatch.setenv(name, value)
                continue
            assert program == "headstart", f"{command}: mark the block as not run, or teach this test to run it"
            code, out, err = self._headstart(*words)
            assert code == 0, f"$ {command}\n{out}{err}"
            if expected:
                assert agrees(out, expected), f"$ {command}\n{out}"


@pytest.fixture
def _own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page registers is forgotten after it."""
    from headstart.data import issues
    from headstart.data.sources import base as sources
    from headstart.execution import base as execution
    from headstart.report.sections import base as sections
    from headstart.train.heads import registry as heads

    monkeypatch.setattr(issues, "_DETECTORS", list(issues._DETECTORS))
    monkeypatch.setattr(issues, "DESCRIPTIONS", dict(issues.DESCRIPTIONS))
    monkeypatch.setattr(sources, "_SOURCES", dict(sources._SOURCES))
    monkeypatch.setattr(execution, "_FACTORIES", dict(execution._FACTORIES))
    monkeypatch.setattr(sections, "_SECTIONS", list(sections._SECTIONS))
    monkeypatch.setattr(heads, "_SOLVERS", dict(heads._SOLVERS))


@pytest.mark.parametrize("page", [page for page in PAGES if any(each.language in RUN for each in page_blocks(page))])
@pytest.mark.slow
@pytest.mark.usefixtures("_own_registries", "one_thread")
def test_the_blocks_of_a_page_run(page: str, run: Headstart, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluators = {"python": PythonEvaluator(), "console": Console(run, monkeypatch)}

    def parse(document: Document) -> Iterator[Region]:
        for block in blocks(document):
            if block.language in RUN and block.reason is None:
                block.region.parsed = block.region.lexemes["source"]
                block.region.evaluator = evaluators[block.language]
                yield block.region

    for example in Sybil(parsers=[parse], path=str(ROOT)).parse(ROOT / page).examples():
        example.evaluate()


def test_blocks_that_are_not_run_are_listed() -> None:
    found = {page: [each.reason for each in page_blocks(page) if each.reason] for page in PAGES}
    assert {page: reasons for page, reasons in found.items() if reasons} == NOT_RUN


def test_no_block_escapes() -> None:
    """Each fence is a block with a language that is run, or that is data; commands are in console blocks alone."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        found = page_blocks(page)
        fences = re.findall(r"^[ \t]*`{3,}", text, re.MULTILINE)
        assert len(fences) == 2 * len(found), f"{page}: a fence that is not closed"
        for block in found:
            known = block.language in (*RUN, *DATA) or block.language.startswith("{")
            assert known, f"{page}: {block.language!r}: use python, console, text or json"
            if block.language in DATA:
                assert not re.search(r"^(\$ )?(headstart|python|pip|make) ", block.source, re.MULTILINE), page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$ headstart info a  # why\n", [("headstart info a  # why", "")]),
        ("$ one\ntwo 2\nthree\n\n$ four\n", [("one", "two 2\nthree"), ("four", "")]),
        ("$ one \\\n    --two\nthree", [("one --two", "three")]),
        ("no prompt\n", []),
    ],
)
def test_commands_of_a_console_block(text: str, expected: list[tuple[str, str]]) -> None:
    assert list(commands(text)) == expected


def test_output_is_compared_except_for_numbers(run: Headstart, monkeypatch: pytest.MonkeyPatch) -> None:
    assert agrees("accuracy 87.5%  (1,024 images)", "accuracy 9% (3 images)")
    assert agrees(f"{Path.cwd()}/a\nb\nc\nd", "/home/me/a\n…\nd")
    assert not agrees("a\nb", "a\n…\nc")

    def example(output: str) -> Example:
        document = Document(f"```console\n$ headstart --version\n{output}\n```\n", "page")
        (block,) = blocks(document)
        block.region.parsed = block.source
        return Example(document, 1, 0, block.region, {})

    Console(run, monkeypatch)(example("headstart, version 9"))
    with pytest.raises(AssertionError, match="headstart, version"):
        Console(run, monkeypatch)(example("headstart, release 9"))
