"""``saliency.parquet`` of a run: where the network looked in the images that the report shows. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from headstart.data.parquet import read_parquet, write_parquet
from headstart.errors import RunError

__all__ = ["ExampleSaliency", "read_saliency", "write_saliency"]

_PREFIX = "data:image/jpeg;base64,"


@dataclass(frozen=True)
class ExampleSaliency:
    """What the network saw of an image, bright where it speaks for a class."""

    uri: str
    label: str  # the class for which it speaks: the predicted one
    method: str  # "class activation map", whose values add up to the score, or "gradient times activation"
    image: str  # a JPEG as a data URI, at most 160 pixels wide and high


def write_saliency(path: Path, examples: Sequence[ExampleSaliency]) -> None:
    """Write the file; without examples, it says that the network has no map."""
    import pyarrow as pa

    names = [field.name for field in fields(ExampleSaliency)]
    columns = {name: pa.array([getattr(each, name) for each in examples], pa.string()) for name in names}
    write_parquet(path, pa.table(columns))


def read_saliency(path: Path) -> tuple[ExampleSaliency, ...]:
    """Read what :func:`write_saliency` wrote.

    :raises RunError: the file is missing or damaged, or an image is none of its own.
    """
    try:
        rows = read_parquet(path).to_pylist()
        found = tuple(ExampleSaliency(**row) for row in rows)
    except FileNotFoundError as error:
        raise RunError(f"{path}: missing") from error
    except TypeError as error:
        raise RunError(f"{path}: damaged: {error}") from error
    for number, each in enumerate(found):
        texts = [getattr(each, field.name) for field in fields(each)]
        if not all(isinstance(text, str) for text in texts) or not each.image.startswith(_PREFIX):
            raise RunError(f"{path}: damaged: row {number} must have four texts, the last one a JPEG as a data URI")
    return found
