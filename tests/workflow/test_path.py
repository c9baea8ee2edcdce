"""The path from the command to a step of the optimizer is the one that docs/architecture.md states."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from pathlib import Path

from torch.optim.optimizer import register_optimizer_step_pre_hook

from headstart.cli import cli

ROOT = Path(__file__).parent.parent.parent
SOURCE = "/headstart/"


def documented_path() -> list[tuple[str, str]]:
    """(file, function) of each line of the path in docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = text.partition("## The path of a fit")[2].partition("```text\n")[2].partition("```")[0]
    return [(line.split()[0], line.split()[1]) for line in block.splitlines()]


def test_path_from_the_command_to_a_step(photos: Callable[..., Path], tmp_path: Path) -> None:
    stacks: list[list[tuple[str, str]]] = []

    def note_stack(*_: object) -> None:
        frames = [frame for frame in traceback.extract_stack() if SOURCE in frame.filename]
        stacks.append([(frame.filename.rpartition(SOURCE)[2], frame.name) for frame in frames])

    hook = register_optimizer_step_pre_hook(note_stack)
    try:
        words = ["fit", str(photos(red=8, green=8)), "--out", str(tmp_path / "run"), "--model", "test_resnet"]
        words += ["--cache-dir", str(tmp_path / "store"), "--weights", "random", "--engine", "torch"]
        words += ["--train", "last:1", "--epochs", "1", "--augmentations", "0", "--validation-share", "0.25"]
        cli(words, standalone_mode=False)
    finally:
        hook.remove()
    # A solved head steps through L-BFGS as well; here only the optimizer of fine-tuning runs.
    assert stacks
    for stack in stacks:
        assert stack[-len(documented_path()) :] == documented_path()
    assert len(documented_path()) <= 8  # seven calls


def test_the_files_of_the_path_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("## The path of a fit")[2].partition("## Folders")[0]
    for name in re.findall(r"[a-z_]+(?:/[a-z_]+)*/[a-z_]+\.py", section):
        assert (ROOT / "src" / "headstart" / name).is_file() or (ROOT / name).is_file(), name
