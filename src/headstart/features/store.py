"""The feature store: one Lance dataset per feature space, beside the JSON file that describes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headstart.documents import decode
from headstart.errors import RunError, StoreError
from headstart.features.key import FeatureSpace
from headstart.features.location import Location, address_errors, write_document
from headstart.features.table import FULL, REMOVED, FeatureTable, remove_dataset
from headstart.features.usage import use
from headstart.files import clear_remains, reason_of

__all__ = ["FeatureStore"]


@dataclass(frozen=True)
class FeatureStore:
    """A place of feature tables, one per feature space: a folder, or an address such as ``s3://bucket/features``.

    >>> import tempfile
    >>> import numpy as np
    >>> from headstart.data.spec import InputSpec
    >>> space = FeatureSpace("net", "0" * 32, "pool", InputSpec(), "float32", "float16", (4,))
    >>> table = FeatureStore(Path(tempfile.mkdtemp())).table(space)
    >>> table.append(["ab" * 16], np.ones((1, 4), np.float32))
    >>> table.missing(["ab" * 16, "cd" * 16])
    ['cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd']
    >>> table.rows(["ab" * 16]).take([0])
    array([[1., 1., 1., 1.]], dtype=float16)
    """

    folder: Location

    def table(self, space: FeatureSpace) -> FeatureTable:
        """Open the table of a feature space, and create it if there is none.

        :raises StoreError: the folder cannot be written, or the dataset is damaged.
        """
        table = FeatureTable(self.folder / f"{space.key}.lance", space)
        try:
            if isinstance(self.folder, Path):
                self.folder.mkdir(parents=True, exist_ok=True)
                use(self.folder)
            with address_errors(self.folder):
                table.create()
                if not _describes(table.space_file, space):
                    write_document(table.space_file, space.as_dict())
        except OSError as failure:
            reason, advice = reason_of(failure), "choose another folder with --cache-dir"
            if FULL in str(failure):
                reason, advice = "the disk is full", f"free some space, or {advice}"
            raise StoreError(f"{self.folder}: cannot write the feature store ({reason}); {advice}") from failure
        return table

    def tables(self) -> Iterator[FeatureTable]:
        """Yield all tables in the folder whose description can be read, by file name."""
        for space_file in self._space_files():
            with suppress(StoreError):
                yield _read_table(space_file)

    def damaged(self) -> dict[Location, StoreError]:
        """The descriptions that cannot be read, and why: the next fit that uses the table writes it anew."""
        reasons = {space_file: _damage(space_file) for space_file in self._space_files()}
        return {space_file: reason for space_file, reason in reasons.items() if reason is not None}

    def _space_files(self) -> list[Location]:
        with address_errors(self.folder):
            return sorted((each for each in self.folder.glob("*.json") if not each.name.startswith(".")), key=str)

    def clear(self, *, everything: bool = False) -> None:
        """Remove datasets without a description that can be read, and parts of removed ones.

        No other process may use the store.

        :param everything: remove all tables, readable or not.
        """
        if isinstance(self.folder, Path):
            clear_remains(self.folder)
        damaged = self.damaged()
        for path in {each.with_suffix(".lance") for end in ("json", "lance") for each in self.folder.glob(f"*.{end}")}:
            described = path.with_suffix(".json")
            if everything or described in damaged or not described.exists():
                path.with_suffix(".json").unlink(missing_ok=True)
                remove_dataset(path)
        if isinstance(self.folder, Path):
            shutil.rmtree(self.folder / REMOVED, ignore_errors=True)


def _read_table(space_file: Location) -> FeatureTable:
    try:
        # Tables of an older format are opened too, so that they can be listed and removed.
        values = json.loads(space_file.read_text(encoding="utf-8"))
        space = decode(FeatureSpace, values, str(space_file))
        if values.get("format") == space.as_dict()["format"] and space.key != space_file.stem:
            raise ValueError("damaged: its values do not lead to its name")
    except (OSError, ValueError, RunError) as failure:
        reason = str(failure).removeprefix(f"{space_file}: ")
        raise StoreError(
            f"{space_file}: cannot be read ({reason}); the next fit that needs the table writes it anew, and headstart "
            "cache prune removes the table"
        ) from failure
    return FeatureTable(space_file.with_suffix(".lance"), space)


def _describes(space_file: Location, space: FeatureSpace) -> bool:
    return _damage(space_file) is None and _read_table(space_file).space == space


def _damage(space_file: Location) -> StoreError | None:
    try:
        _read_table(space_file)
    except StoreError as failure:
        return failure
    return None
