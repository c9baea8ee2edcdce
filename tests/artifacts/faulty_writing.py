"""Script for a process of its own, which forks: a run replaces an older one while it is killed or a disk fails.

Prints a JSON object with the number of faults that were tried, and what was wrong after them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from types import ModuleType

from headstart.artifacts.run_folder import Run, read_run, write_run
from headstart.errors import RunError
from headstart.files import prepare_folder, replace_together

_ROOT = Path(__file__).parent.parent.parent


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses look for annotations
    spec.loader.exec_module(module)
    return module


def replace_run(folder: Path, run: Run, fault: object = None) -> int:
    """Write a run without history over another one; return how many files changed."""
    if fault is not None:
        sys.addaudithook(fault)  # type: ignore[arg-type]
    with replace_together(folder) as new:
        write_run(
            new,
            info=run.info,
            evaluation=run.evaluation,
            history=(),
            manifest=run.manifest,
            split=run.manifest,
            probabilities=run.predictions.probabilities,
            classes=run.predictions.classes,
        )
    return getattr(fault, "seen", 0)


def state(folder: Path) -> str:
    """Which of the two runs is there."""
    try:
        run = read_run(folder)
    except RunError as refusal:
        return str(refusal)
    left = [path.name for path in folder.rglob(".*") if path.name == ".headstart.complete"]
    return f"left {left}" if left else "old" if run.history else "new"


def main(folder: Path) -> None:
    """Try kills and errors at changes of files all over the writing, most of them at its end."""
    faults, made_run = load(_ROOT / "benchmarks" / "faults.py"), load(_ROOT / "tests" / "made_run.py")
    old, work = made_run.make_run(folder, ["cat", "dog"]), folder / "work"
    run = read_run(old)
    shutil.copytree(old, work)
    _, changes = faults.in_child(partial(replace_run, work, run, faults.Fault(work)))
    found, wrong = Counter[str](), []
    moments = {"kill": [*range(1, changes - 16, 8), *range(changes - 16, changes + 1)]}
    moments |= {kind: list(range(1, changes + 1, 9)) for kind in faults.ERRORS}
    for kind, numbers in moments.items():
        for number in numbers:
            shutil.rmtree(work)
            shutil.copytree(old, work)
            status, _ = faults.in_child(
                partial(replace_run, work, run, faults.Fault(work, kind, number)), Path(os.devnull)
            )
            _, after = faults.in_child(partial(state, work))
            prepare_folder(work)
            hidden = [path.name for path in work.rglob(".*")]
            replace_run(work, run)
            found.update([kind, after])
            if after not in (("old", "new") if status else ("new",)) or hidden or state(work) != "new":
                wrong.append(f"{kind} at change {number} of {changes}: exit {status}, {after}, {hidden}")
    print(json.dumps({"found": found, "wrong": wrong}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
