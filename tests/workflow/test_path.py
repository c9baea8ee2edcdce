"""The path from the command to a step of the optimizer is the one that docs/architecture.md states."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from torch.optim.optimizer import register_optimizer_step_pre_hook

from headstart.cli import cli
from headstart.data.manifest import Manifest

ROOT = Path(__file__).parent.parent.parent
SOURCE = "/headstart/"


LAYERS = ("data", "models", "features", "inference", "train", "artifacts", "report", "workflow", "cli")


def words(photos: Path, folder: Path, *more: str) -> list[str]:
    """The command of a fit on a small random network."""
    fixed = ["--model", "test_resnet", "--weights", "random", "--engine", "torch", "--validation-share", "0.25"]
    return ["fit", str(photos), "--out", str(folder / "run"), "--cache-dir", str(folder / "store"), *fixed, *more]


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
        more = ("--train", "last:1", "--epochs", "1", "--augmentations", "0")
        cli(words(photos(red=8, green=8), tmp_path, *more), standalone_mode=False)
    finally:
        hook.remove()
    # A solved head steps through L-BFGS as well; here only the optimizer of fine-tuning runs.
    assert stacks
    for stack in stacks:
        assert stack[-len(documented_path()) :] == documented_path()
    assert len(documented_path()) <= 8  # seven calls


def test_the_manifest_comes_back_from_a_lower_layer_only_as_documented(
    photos: Callable[..., Path], tmp_path: Path
) -> None:
    """Methods of the manifest itself, such as in_split, do not count; the fourth return is that of FitResult."""
    returns: set[tuple[str, str]] = set()

    def note_return(frame: FrameType, event: str, value: object) -> None:
        if event != "return" or not isinstance(value, Manifest) or frame.f_back is None:
            return
        callee, caller = frame.f_code.co_filename, frame.f_back.f_code.co_filename
        if SOURCE in callee and SOURCE in caller and not callee.endswith("/data/manifest.py"):
            returns.add((callee.rpartition(SOURCE)[2], caller.rpartition(SOURCE)[2]))

    sys.setprofile(note_return)
    try:
        cli(words(photos(red=8, green=8), tmp_path, "--train", "head"), standalone_mode=False)
    finally:
        sys.setprofile(None)
    layer = {name: number for number, name in enumerate(LAYERS)}
    upward = {pair for pair in returns if layer[pair[0].split("/")[0]] < layer[pair[1].split("/")[0]]}
    assert upward == {
        ("data/sources/read.py", "workflow/reading.py"),
        ("workflow/reading.py", "cli/fit.py"),
        ("data/inspection.py", "workflow/reading.py"),
        ("data/splitting.py", "workflow/dataset.py"),
    }


def test_the_files_of_the_path_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("## The path of a fit")[2].partition("## Folders")[0]
    for name in re.findall(r"[a-z_]+(?:/[a-z_]+)*/[a-z_]+\.py", section):
        assert (ROOT / "src" / "headstart" / name).is_file() or (ROOT / name).is_file(), name
