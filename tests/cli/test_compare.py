"""``headstart compare`` as a user calls it: tables, JSON, the page, and its errors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runs(made_run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two runs on the same 40 images, of which the second has two more right."""
    monkeypatch.chdir(tmp_path)
    rows = [(f"/photos/{number}.jpg", f"{number:032x}", "cat" if number % 3 else "dog") for number in range(40)]
    for seed, (name, wrong) in enumerate((("one", {1, 2, 3}), ("two", {3}))):
        values = [
            [0.9, 0.1] if (label == "cat") != (number in wrong) else [0.1, 0.9]
            for number, (_, _, label) in enumerate(rows)
        ]
        made_run.make_judged(Path(name), rows, values, ("cat", "dog"), seed=seed)
    return ["one", "two"]


def test_tables_and_a_page(run: Run, runs: list[str]) -> None:
    code, out, err = run("compare", *runs)
    assert (code, err) == (0, "")
    assert "two             97.5% +5.0 (" in out
    assert out.endswith("page: comparisons/one-and-two.html\n")
    page = Path("comparisons/one-and-two.html")
    assert "headstart compare one two" in page.read_text(encoding="utf-8")
    before = page.read_bytes()
    assert run("compare", *runs)[1].endswith("page: comparisons/one-and-two-2.html\n")
    assert page.read_bytes() == before


def test_json(run: Run, runs: list[str]) -> None:
    code, out, err = run("compare", *runs, "--json", "--baseline", "two", "--output", "page.html")
    found = json.loads(out)
    assert (code, err) == (0, "page: page.html\n")
    assert (found["format"], found["baseline"], found["images"]) == (1, "two", 40)
    (pair,) = found["pairs"]
    assert pair["run"] == "one"
    assert pair["differences"]["counts"] == {"both": 37, "first": 0, "second": 2, "neither": 1}
    assert pair["differences"]["p_value"] == 0.5
    assert [image["uri"] for image in pair["lost"]] == ["/photos/1.jpg", "/photos/2.jpg"]


def test_a_page_is_replaced_but_no_other_file(run: Run, runs: list[str]) -> None:
    for _ in range(2):
        assert run("compare", *runs, "--out", "page.html")[0] == 0
    Path("mine.html").write_text("precious")
    code, out, err = run("compare", *runs, "--output", "mine.html")
    assert (code, out) == (1, "")
    assert err == (
        "error: mine.html: is there, and not a page of headstart compare, so it is not replaced; "
        "give another --output\n"
    )
    assert Path("mine.html").read_text() == "precious"


def test_the_page_can_go_to_standard_output(runs: list[str]) -> None:
    command = [sys.executable, "-m", "headstart.cli", "compare", *runs, "--output", "/dev/stdout"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("<!DOCTYPE html>")
    assert ran.stdout.rstrip().endswith("</html>")
    assert "shared images" in ran.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["one"], 2, "error: compare needs at least two runs, got 1; name another run folder"),
        (
            ["one", "./one"],
            2,
            "error: one: given twice, and a run does not differ from itself; give another run",
        ),
        (["one", "gone"], 1, "error: gone: no such run folder. Pass the folder that `headstart fit` wrote."),
        (["one", "two", "--baseline", "three"], 2, "error: --baseline three: not one of the runs, which are one, two"),
        (
            ["one", "two", "--output", "one"],
            1,
            "error: one: cannot be written (it is a folder); choose another place with --output",
        ),
    ],
)
def test_mistakes(run: Run, runs: list[str], words: list[str], code: int, message: str) -> None:
    assert run("compare", *words) == (code, "", f"{message}\n")
    assert not Path("comparisons").exists()


def test_a_warning_is_told(run: Run, runs: list[str], made_run: ModuleType) -> None:
    rows = [(f"/photos/{number}.jpg", f"{number:032x}", "cat" if number % 3 else "dog") for number in range(5)]
    made_run.make_judged(Path("few"), rows, [[0.6, 0.4]] * 5, ("cat", "dog"))
    code, _, err = run("compare", "one", "few")
    assert code == 0
    assert err.startswith("warning: 5 images are few")


def test_neither_torch_nor_matplotlib_is_loaded(runs: list[str]) -> None:
    code = (
        f"import sys\nsys.argv = ['headstart', 'compare', *{runs!r}]\nfrom headstart.cli import main\nmain()\n"
        "heavy = {'torch', 'torchvision', 'timm', 'matplotlib', 'lance', 'openvino', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
