"""The identity of features: change any part of it, and the features are others."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from headstart.data.spec import InputSpec
from headstart.data.transforms import TRAINING_VIEWS_VERSION

__all__ = ["FeatureSpace", "stored_view"]

_FORMAT = 3  # raised when decoding, the evaluation view or the layout of the table changes what a row contains

_MAX_VIEWS = 1 << 20


def stored_view(number: int) -> int:
    """The number of a view as it is stored in the table.

    The version of the training views is part of their numbers and not of the space's key. A change of the training
    views then makes the old ones unfindable, while the features of the evaluation views, which are most of what people
    keep, stay valid. View 0 and the flipped one show the evaluation view, which ``_FORMAT`` covers.

    :raises ValueError: the number is 2**20 or more.

    >>> stored_view(-1), stored_view(0), stored_view(3) == (TRAINING_VIEWS_VERSION << 20) + 3
    (-1, 0, True)
    """
    if number >= _MAX_VIEWS:
        raise ValueError(f"the number of a view must be below {_MAX_VIEWS:,}, got {number}")
    return number if number <= 0 else TRAINING_VIEWS_VERSION * _MAX_VIEWS + number


@dataclass(frozen=True)
class FeatureSpace:
    """A frozen prefix and the kind of input it is given: features of one space are comparable with each other.

    >>> FeatureSpace("net", "0" * 32, "pool", InputSpec(), "float32", "float16", (4,)).key
    '754d22a8e53d433a70ff457e5f19a6b6'
    """

    model: str
    weights: str  # digest of the prefix's parameters and buffers
    cut: str  # the operation whose output is stored; empty for the image itself
    spec: InputSpec
    precision: str  # of the computation: "float32", "bfloat16", or "int8-" and the digest of the calibration images
    dtype: str  # of the stored values: "float16", "float32", or "uint8" for pixels
    shape: tuple[int, ...]  # of the features of one image
    decoder: str = "pillow"  # of the evaluation views: "pillow", or "nvjpeg" for the JPEG files that it reads as well

    @property
    def key(self) -> str:
        """32 hexadecimal digits: the name of the space's table in the store."""
        values = asdict(self)
        if not self.spec.value_ranges:  # images of 8 bits, whose features have been stored under a key without them
            del values["spec"]["value_ranges"]
        if self.decoder == "pillow":  # as all features had been decoded that are stored under a key without it
            del values["decoder"]
        text = json.dumps({"format": _FORMAT, **values}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def as_dict(self) -> dict[str, object]:
        """The space as plain JSON values, with its key."""
        return json.loads(json.dumps({"format": _FORMAT, "key": self.key, **asdict(self)}))  # type: ignore[no-any-return]
