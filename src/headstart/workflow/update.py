"""Add images, or classes, to an existing run: its images keep their splits, its features are in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.artifacts.model_document import read_model_document
from headstart.artifacts.run_folder import CORRECTIONS, check_files
from headstart.config import FitSettings, options_of
from headstart.data.corrections import read_changes
from headstart.data.manifest import Manifest, missing_files
from headstart.data.sources import source_of
from headstart.data.sources.arrays import ArraySource
from headstart.data.splitting import DEFAULT_VALIDATION_SHARE, assign_split
from headstart.errors import DataError, RunError, SettingsError
from headstart.evaluate.schema import EpochRecord, read_history, read_run_info
from headstart.events import Events
from headstart.workflow.dataset import DEFAULT_TEST_SHARE
from headstart.workflow.reading import inspect_images

__all__ = ["extended", "settings_of"]

_REMEDY = "--update needs a folder that headstart fit has written"
# Where files are written is for the command line and the environment to say: a run may be of another machine or user.
_NOT_KEPT = ("cache_dir", "feature_store")


def settings_of(run: Path, given: Mapping[str, Any]) -> FitSettings:
    """The settings of a run, but for where features are kept, overridden by those that are given.

    Unless ``train`` is given, what the run ended with is trained, without a new search; nor are the L2 penalty, the
    stages and the kernel chosen again: with a few more images they are the same, and choosing them takes longest.

    :raises RunError: there is no run, or it is not the run of a fit.
    :raises SettingsError: a network is given that is not the one of the run.
    """
    info = read_run_info(run / "settings.json")
    check_files(run, info)
    if info.command != "fit":
        raise RunError(f"{run / 'settings.json'}: written by headstart {info.command}; {_REMEDY}")
    known = {option.name: option for option in options_of(FitSettings)}
    kept = {name: value for name, value in info.settings.items() if name in known and name not in _NOT_KEPT}
    mistakes = [mistake for name, value in kept.items() if (mistake := known[name].mistake(value))]
    if mistakes:
        raise RunError(f"{run / 'settings.json'}: damaged: {'; '.join(mistakes)}; {_REMEDY}")
    new = {name: value for name, value in given.items() if value is not None and name in known}
    for name in ("model", "weights"):
        if name in new and new[name] != kept.get(name):
            raise SettingsError(
                f"--{name} {new[name]}: the run has {kept.get(name)}; another network needs a fit of its own"
            )
    if "train" not in new:
        kept["train"] = read_model_document(run / "classifier" / "model.json").train
        head = _chosen_head(run)
        if head is not None:
            kept["l2"] = kept.get("l2") or head.l2
            kept["stages"] = head.stages or "none"
            kept["kernel"] = head.kernel or "none"
    kept["seeds"] = 1
    return replace(FitSettings.parse(new), **{name: value for name, value in kept.items() if name not in new})


def extended(run: Path, new: Manifest, settings: FitSettings, *, events: Events | None = None) -> Manifest:
    """The images of a run with their splits, and new images with splits assigned at random.

    An image of the run that is given again, by its uri, is taken as it is given now. A new image with the content of
    another one gets the split of that one.

    :raises RunError: the images of the run are not known any more.
    :raises DataError: no new image has a label.
    """
    path = run / "manifest.parquet"
    if not path.is_file():
        raise RunError(f"{path}: missing; {_REMEDY}")
    if not new.classes:
        raise DataError("no new image has a label: give one subfolder per class, or a table of labels (--labels TABLE)")
    old = Manifest.read(path)
    again = {*new.uris, *(each.uri for each in new.corrections)}  # with those that are left out now
    old = old.select(np.array([uri not in again for uri in old.uris], bool))
    _check_present(old, run, settings.max_problems)
    # A problem of an image may have been fixed in the meantime: all images are inspected again.
    old = old.with_column("problem", [None] * len(old))
    added = inspect_images(new, settings, events=events or Events())
    splits = set(old.splits)
    shares = {
        "validation": DEFAULT_VALIDATION_SHARE if settings.validation_share is None else settings.validation_share,
        "test": DEFAULT_TEST_SHARE if settings.test_share is None else settings.test_share,
    }
    shares = {name: share for name, share in shares.items() if name in splits}
    if any(shares.values()):
        added = assign_split(
            added,
            validation_share=shares.get("validation", 0.0),
            test_share=shares.get("test", 0.0),
            seed=settings.seed,
        )
    split_of = {content: split for content, split in zip(old.hashes, old.splits, strict=True) if content and split}
    own = zip(added.hashes, added.splits, strict=True)
    added = added.with_column("split", [split_of.get(content or "", split) for content, split in own])
    earlier = [each for each in read_changes(run / CORRECTIONS) if each.uri not in again]
    corrections = (*earlier, *new.corrections)
    return Manifest(pa.concat_tables([old.table, added.table]), description=new.description, corrections=corrections)


def _check_present(images: Manifest, run: Path, max_share: float) -> None:
    """Check that the images of a run are still where they were, but for as many as may be unusable.

    :raises RunError: more are missing; the message names the first.
    """
    uris = images.uris
    if any(source_of(uri).scheme == ArraySource.scheme for uri in uris):
        raise RunError(f"{run}: was fitted to images in memory, which a run does not keep: fit all images again")
    missing = [uris[row] for row in missing_files(images)]
    if len(missing) > max_share * len(images):
        raise RunError(
            f"{missing[0]}: no such file, as {len(missing):,} of the {len(images):,} images of {run}. If they were "
            "moved, move them back, or fit all images where they are now, without --update. If they were deleted, "
            "--max-problems SHARE allows for more of them"
        )


def _chosen_head(run: Path) -> EpochRecord | None:
    """The solved head that a run chose; None where no head was solved."""
    records = read_history(run / "history.jsonl")
    return next((record for record in records if record.stage == "head" and record.chosen), None)
