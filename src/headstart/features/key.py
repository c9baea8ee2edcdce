"""What a feature's identity is: change any of it, and other features are meant."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from headstart.data.spec import InputSpec
from headstart.data.transforms import TRAINING_VIEWS

__all__ = ["FeatureSpace", "stored_view"]

_FORMAT = 3  # raised when decoding, the evaluation view or the layout of the store changes what a row holds

_MOST_VIEWS = 1 << 20


def stored_view(number: int) -> int:
    """A view's number as it stands in the store's rows.

    What the training views show has a version of its own, which is part of their numbers and not of the space's key:
    whoever changes it makes the old training views unfindable, and leaves the features of evaluation views, which are
    most of what people keep, valid. View 0 and the mirrored one show the evaluation view, for which ``_FORMAT`` stands.

    >>> stored_view(-1), stored_view(0), stored_view(3) == (TRAINING_VIEWS << 20) + 3
    (-1, 0, True)
    """
    if number >= _MOST_VIEWS:
        raise ValueError(f"a view's number must be below {_MOST_VIEWS:,}, got {number}")
    return number if number <= 0 else TRAINING_VIEWS * _MOST_VIEWS + number


@dataclass(frozen=True)
class FeatureSpace:
    """One frozen prefix over one kind of input: all features that may be mixed with each other."""

    model: str
    weights: str  # digest of the prefix's parameters and buffers
    cut: str  # the operation whose output is kept
    spec: InputSpec
    precision: str  # computed in "float32" or "bfloat16", or "int8-" and what its ranges were set by
    dtype: str  # kept as "float16", "float32", or "uint8" where pixels are kept
    shape: tuple[int, ...]  # of one image's features

    @property
    def key(self) -> str:
        """32 hexadecimal digits: the name of the data set in the store."""
        text = json.dumps({"format": _FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values, for a person who looks into the store."""
        return json.loads(json.dumps({"key": self.key, **asdict(self)}))  # type: ignore[no-any-return]
