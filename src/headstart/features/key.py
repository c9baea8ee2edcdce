"""What a feature's identity is: change any of it, and other features are meant."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from headstart.data.spec import InputSpec

__all__ = ["FeatureSpace"]

_FORMAT = 2  # raised when decoding or the layout of the store changes what a row holds


@dataclass(frozen=True)
class FeatureSpace:
    """One frozen prefix over one kind of input: all features that may be mixed with each other."""

    model: str
    weights: str  # digest of the prefix's parameters and buffers
    cut: str  # the operation whose output is kept
    spec: InputSpec
    precision: str  # computed in "float32" or "bfloat16"
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
