"""More pictures, or classes, for a run that is there: its images keep their parts, its features are in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from headstart.data.manifest import Manifest
from headstart.data.split import VALIDATION, assign_split
from headstart.errors import DataError, RunError, SettingsError
from headstart.progress import Progress
from headstart.settings import FitSettings, knobs
from headstart.workflow.checking import inspected

__all__ = ["extended", "settings_of"]


def settings_of(run: Path, given: Mapping[str, str | None]) -> FitSettings:
    """The settings that a run was made with, but for those that are given anew.

    What is trained is what the run ended with: the ladder is not climbed again, unless ``train`` is given. Nor is the
    strength of the L2 penalty chosen again: with a few more images it is the same, and to choose it takes longest.

    :raises RunError: there is no run, or it was made otherwise than by a fit.
    :raises SettingsError: a network is given that is not the run's: that would be no update.
    """
    facts, artifact = _json(run / "settings.json"), _json(run / "classifier" / "model.json")
    settings = facts.get("settings")
    if facts.get("command") != "fit" or not isinstance(settings, dict):
        raise RunError(f"{run / 'settings.json'}: not of a fit; --update needs a folder that headstart fit has written")
    known = {knob.name for knob in knobs(FitSettings)}
    kept = {name: value for name, value in settings.items() if name in known}
    new = {name: text for name, text in given.items() if text is not None and name in known}
    for name in ("model", "weights"):
        if name in new and new[name] != kept.get(name):
            raise SettingsError(
                f"--{name} {new[name]}: the run has {kept.get(name)}; another network needs a fit of its own"
            )
    if "train" not in new:
        kept["train"] = artifact.get("train", "head")
        kept["l2"] = kept.get("l2") or _chosen_l2(run / "history.jsonl")
    kept["seeds"] = 1
    return replace(FitSettings.parse(new), **{name: value for name, value in kept.items() if name not in new})


def _chosen_l2(path: Path) -> float | None:
    """The strength that a run's head was solved with; None where it was trained otherwise."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    return next((line["l2"] for line in lines if line["stage"] == "head" and line["chosen"]), None)


def extended(run: Path, new: Manifest, settings: FitSettings, *, progress: Progress | None = None) -> Manifest:
    """The run's images with their parts, and the new ones, which get theirs by chance.

    An image that is there already, by its place, is taken as it is said to be now; one with the content of another is
    of the same part.

    :raises RunError: the run's images are not known any more.
    :raises DataError: no new image has a label.
    """
    path = run / "manifest.parquet"
    if not path.is_file():
        raise RunError(f"{path}: missing; --update needs a folder that headstart fit has written")
    if not new.classes:
        raise DataError("no new image has a label: give a folder a class, or a table of labels (--labels TABLE)")
    old = Manifest.read(path)
    again = set(new.uris)
    old = old.select(np.array([uri not in again for uri in old.uris], bool))
    # What was wrong with an image may have been mended meanwhile: all are looked at again.
    old = old.with_column("problem", [None] * len(old))
    seen = inspected(new, settings, progress=progress or Progress())
    parts = set(old.splits)
    shares = {part: share for part, share in (("validation", VALIDATION), ("test", 0.1)) if part in parts}
    given = {"validation": settings.validation, "test": settings.test}
    shares = {part: share if given[part] is None else float(given[part] or 0) for part, share in shares.items()}
    if any(shares.values()):
        seen = assign_split(seen, **({"validation": 0.0} | shares), seed=settings.seed)
    part_of = {content: part for content, part in zip(old.hashes, old.splits, strict=True) if content and part}
    own = zip(seen.hashes, seen.splits, strict=True)
    seen = seen.with_column("split", [part_of.get(content or "", part) for content, part in own])
    return Manifest(pa.concat_tables([old.table, seen.table]))


def _json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise RunError(
            f"{path}: cannot be read ({failure}); --update needs a folder that headstart fit has written"
        ) from failure
    if not isinstance(found, dict):
        raise RunError(f"{path}: damaged; --update needs a folder that headstart fit has written")
    return found
