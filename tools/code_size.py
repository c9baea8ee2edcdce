"""Report code that is too long, and dictionaries of anything: python tools/code_size.py [FOLDER ...].

Counts functions of more than 60 lines, classes of more than 200, modules of more than 400, and occurrences of
``dict[str, Any]`` in ``src``. A module may state a reason for its length: a line of its docstring that begins with
"Longer than 400 lines because". A file may use ``dict[str, Any]`` if it reads or writes JSON or option values whose
types are declared elsewhere, and is listed below with its reason.

Prints the counts and the offenders; the exit code is 1 if there are offenders.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tools", "examples", "docs")

MAX_FUNCTION, MAX_CLASS, MAX_MODULE = 60, 200, 400
REASON = f"Longer than {MAX_MODULE} lines because"

READS_JSON: Mapping[str, str] = {
    "src/headstart/cli/options.py": "receives option values from click",
    "src/headstart/config/options.py": "option values by name; their types are in the declarations",
    "src/headstart/config/settings.py": "option values by name; their types are in the declarations",
    "src/headstart/documents.py": "reads and writes the JSON of any document",
    "src/headstart/evaluate/schema.py": "the option values in settings.json, of any command",
    "src/headstart/report/sections/confusion_matrix.py": "options of matplotlib",
    "src/headstart/report/sections/reliability.py": "options of matplotlib",
    "src/headstart/report/sections/uncertainty.py": "options of matplotlib",
    "src/headstart/serve/openapi.py": "writes parts of the OpenAPI document",
    "src/headstart/workflow/verify_input.py": "option values of InputSpec.changed",
}
"""Files that may use ``dict[str, Any]``, each with the reason."""


def long_definitions(tree: ast.Module) -> Iterator[str]:
    """Functions and classes that are too long, methods and inner functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            kind, limit = "function", MAX_FUNCTION
        elif isinstance(node, ast.ClassDef):
            kind, limit = "class", MAX_CLASS
        else:
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > limit:
            yield f"{node.lineno}: {kind} {node.name} has {lines} lines, at most {limit} are allowed"


def long_module(tree: ast.Module, lines: int) -> Iterator[str]:
    """The module, if it is too long and states no reason."""
    docstring = ast.get_docstring(tree) or ""
    if lines > MAX_MODULE and not any(line.startswith(REASON) for line in docstring.splitlines()):
        yield (
            f"1: module has {lines} lines, at most {MAX_MODULE} are allowed; split it, or state in its docstring: "
            f'"{REASON} ..."'
        )


def dictionaries_of_anything(tree: ast.Module) -> list[int]:
    """The lines with ``dict[str, Any]``."""
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Subscript))
    return sorted(node.lineno for node in found if ast.unparse(node) in ("dict[str, Any]", "dict[str, typing.Any]"))


def offenders(root: Path, folders: Sequence[str], allowed: Mapping[str, str]) -> tuple[list[str], dict[str, int]]:
    """Everything that breaks a limit in the Python files of ``folders``, and what was counted.

    :param allowed: the files that may use ``dict[str, Any]``, relative to ``root``.
    """
    found: list[str] = []
    counts = {"modules": 0, "lines": 0, "functions": 0, "classes": 0, "dict[str, Any]": 0}
    used: set[str] = set()
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        tree, lines = ast.parse(text, filename=name), len(text.splitlines())
        found += [f"{name}:{line}" for line in (*long_definitions(tree), *long_module(tree, lines))]
        counts["modules"] += 1
        counts["lines"] += lines
        nodes = list(ast.walk(tree))
        counts["functions"] += sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes)
        counts["classes"] += sum(isinstance(node, ast.ClassDef) for node in nodes)
        if name.startswith("src/") and (places := dictionaries_of_anything(tree)):
            counts["dict[str, Any]"] += len(places)
            used.add(name)
            if name not in allowed:
                also = f" (also in lines {', '.join(map(str, places[1:]))})" if places[1:] else ""
                found.append(f"{name}:{places[0]}: dict[str, Any]{also}; use a dataclass or a TypedDict")
    if "src" in folders:
        found += [f"{name}: has no dict[str, Any]; remove it from the list" for name in sorted({*allowed} - used)]
    return found, counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the counts and the offenders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="*", default=FOLDERS, help=f"default: {' '.join(FOLDERS)}")
    folders = parser.parse_args(arguments).folders
    found, counts = offenders(ROOT, folders, READS_JSON)
    sys.stdout.write(", ".join(f"{count:,} {name}" for name, count in counts.items()) + "\n")
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
