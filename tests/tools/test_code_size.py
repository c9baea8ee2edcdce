"""The limits on the size of the code, on files that are just within and just beyond them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parent.parent.parent / "tools" / "code_size.py"


@pytest.fixture(scope="module")
def code_size(load_module: Callable[[Path], ModuleType]) -> ModuleType:
    return load_module(TOOL)


@pytest.fixture
def offenders(code_size: ModuleType, tmp_path: Path) -> Callable[..., list[str]]:
    """offenders(text) -> what is reported about a file with this text."""

    def check(text: str, *, name: str = "src/a.py", allowed: tuple[str, ...] = ()) -> list[str]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        found, _ = code_size.offenders(tmp_path, [name.partition("/")[0]], dict.fromkeys(allowed, "a reason"))
        assert isinstance(found, list)
        return found

    return check


def block(head: str, lines: int) -> str:
    """A definition of so many lines."""
    return head + "\n" + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize("head", ["def f():", "async def f():"])
def test_functions(offenders: Callable[..., list[str]], head: str) -> None:
    assert offenders(block(head, 60)) == []
    assert offenders("import os\n" + block(head, 61)) == ["src/a.py:2: function f has 61 lines, at most 60 are allowed"]


def test_methods_and_inner_functions(offenders: Callable[..., list[str]]) -> None:
    inner = "".join(f"    {line}\n" for line in block("def g():", 61).splitlines())
    assert offenders(f"class C:\n{inner}") == ["src/a.py:2: function g has 61 lines, at most 60 are allowed"]
    assert offenders(f"def f():\n{inner}") == [
        "src/a.py:1: function f has 62 lines, at most 60 are allowed",
        "src/a.py:2: function g has 61 lines, at most 60 are allowed",
    ]


def test_classes(offenders: Callable[..., list[str]]) -> None:
    assert offenders(block("class C:", 200)) == []
    assert offenders(block("class C:", 201)) == ["src/a.py:1: class C has 201 lines, at most 200 are allowed"]


def test_modules(offenders: Callable[..., list[str]]) -> None:
    assert offenders("x = 1\n" * 400) == []
    (found,) = offenders("x = 1\n" * 401)
    assert found == (
        "src/a.py:1: module has 401 lines, at most 400 are allowed; split it, or state in its docstring: "
        '"Longer than 400 lines because ..."'
    )


def test_a_module_may_state_a_reason_for_its_length(offenders: Callable[..., list[str]]) -> None:
    reason = "Longer than 400 lines because it is a table."
    assert offenders(f'"""A table.\n\n{reason}\n"""\n' + "x = 1\n" * 400) == []
    assert len(offenders(f"# {reason}\n" + "x = 1\n" * 400)) == 1  # in the docstring, where it is read
    assert len(offenders(f'"""A table. {reason}"""\n' + "x = 1\n" * 400)) == 1  # on a line of its own


def test_dictionaries_of_anything(offenders: Callable[..., list[str]]) -> None:
    text = """
def f(a: dict[str, Any], b: dict[str, int]) -> list[dict[str, Any]]:
    note = "a dict[str, Any] in a text is none"
    c: dict[str, object] = {}
    return cast(dict[str, Any], note)
"""
    assert offenders(text) == [
        "src/a.py:2: dict[str, Any] (also in lines 2, 5); use a dataclass or a TypedDict",
    ]
    assert offenders(text, allowed=("src/a.py",)) == []


def test_only_the_package_must_do_without_dictionaries_of_anything(offenders: Callable[..., list[str]]) -> None:
    assert offenders("a: dict[str, Any]", name="tools/a.py") == []


def test_the_list_of_files_is_kept_true(offenders: Callable[..., list[str]]) -> None:
    assert offenders("x = 1\n", allowed=("src/a.py", "src/gone.py")) == [
        "src/a.py: has no dict[str, Any]; remove it from the list",
        "src/gone.py: has no dict[str, Any]; remove it from the list",
    ]


def test_what_is_counted(code_size: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("class C:\n    def f(self): ...\n\n\nd: dict[str, Any]\n")
    (tmp_path / "src" / "b.txt").write_text("no Python")
    _, counts = code_size.offenders(tmp_path, ["src"], {})
    assert counts == {"modules": 1, "lines": 5, "functions": 1, "classes": 1, "dict[str, Any]": 1}


def test_the_exit_code(
    code_size: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(code_size, "ROOT", tmp_path)
    monkeypatch.setattr(code_size, "READS_JSON", {})
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("x = 1\n")
    assert code_size.main([]) == 0
    assert capsys.readouterr().out == "1 modules, 1 lines, 0 functions, 0 classes, 0 dict[str, Any]\n"
    (tmp_path / "src" / "a.py").write_text(block("def f():", 61))
    assert code_size.main(["src"]) == 1
    assert "\nsrc/a.py:1: function f has 61 lines, at most 60 are allowed\n" in capsys.readouterr().out


def test_each_file_that_may_use_dictionaries_of_anything_has_a_reason(code_size: ModuleType) -> None:
    assert all(len(reason) > 10 for reason in code_size.READS_JSON.values())
    assert list(code_size.READS_JSON) == sorted(code_size.READS_JSON)
