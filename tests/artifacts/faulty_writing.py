"""Script for a process of its own, which forks: a run or a classifier replaces an older one, and faults happen.

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

import torch

from headstart.artifacts.classifier import Classifier
from headstart.artifacts.classifier import load as read_classifier
from headstart.artifacts.run_folder import Run, read_run, write_run
from headstart.data.spec import InputSpec
from headstart.errors import RunError
from headstart.files import replace_together
from headstart.models.backbone import build

_ROOT = Path(__file__).parent.parent.parent


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses look for annotations
    spec.loader.exec_module(module)
    return module


class Runs:
    """A run without history replaces one with a history."""

    def __init__(self, folder: Path) -> None:
        self.old = load(_ROOT / "tests" / "made_run.py").make_run(folder, ["cat", "dog"])
        self.run: Run = read_run(self.old)

    def replace(self, folder: Path) -> None:
        run = self.run
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

    def state(self, folder: Path) -> str:
        return "old" if read_run(folder).history else "new"


class Classifiers:
    """A classifier replaces another one in a folder that the user named."""

    def __init__(self, folder: Path) -> None:
        self.old = self._classifier("old").save(folder / "classifier")
        self.new = self._classifier("new")

    def _classifier(self, name: str) -> Classifier:
        torch.manual_seed(len(name))
        network = build("test_resnet", classes=3).eval()
        return Classifier(network, (name, "b", "c"), InputSpec(height=32, width=32), "test_resnet", "head")

    def replace(self, folder: Path) -> None:
        self.new.save(folder)

    def state(self, folder: Path) -> str:
        return read_classifier(folder).classes[0]


def replace(subject: Runs | Classifiers, folder: Path, fault: object = None) -> int:
    """Replace the older one; return how many files changed."""
    if fault is not None:
        sys.addaudithook(fault)  # type: ignore[arg-type]
    subject.replace(folder)
    return getattr(fault, "seen", 0)


def state(subject: Runs | Classifiers, folder: Path) -> str:
    """Which of the two is there."""
    try:
        found = subject.state(folder)
    except RunError as refusal:
        return str(refusal)
    left = [path.name for path in folder.rglob(".*") if path.name == ".headstart.complete"]
    return f"left {left}" if left else found


def main(kind: str, folder: Path) -> None:
    """Try kills and errors at changes of files all over the writing, most of them at its end."""
    torch.set_num_threads(1)  # threads do not outlive a fork
    faults, work = load(_ROOT / "benchmarks" / "faults.py"), folder / "work"
    subject = {"run": Runs, "classifier": Classifiers}[kind](folder)
    shutil.copytree(subject.old, work)
    _, changes = faults.in_child(partial(replace, subject, work, faults.Fault(work)))
    found, wrong = Counter[str](), []
    moments = {"kill": [*range(1, changes - 16, 8), *range(max(changes - 16, 1), changes + 1)]}
    moments |= {error: list(range(1, changes + 1, max(changes // 9, 1))) for error in faults.ERRORS}
    for fault, numbers in moments.items():
        for number in numbers:
            shutil.rmtree(work)
            shutil.copytree(subject.old, work)
            status, _ = faults.in_child(
                partial(replace, subject, work, faults.Fault(work, fault, number)), Path(os.devnull)
            )
            _, after = faults.in_child(partial(state, subject, work))
            subject.replace(work)
            hidden = [path.name for path in work.rglob(".*")]
            found.update([fault, after])
            if after not in (("old", "new") if status else ("new",)) or hidden or state(subject, work) != "new":
                wrong.append(f"{fault} at change {number} of {changes}: exit {status}, {after}, {hidden}")
    print(json.dumps({"found": found, "changes": changes, "wrong": wrong}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
