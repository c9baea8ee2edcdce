"""Two feature tables that are filled in one pass, of two cuts of the same network: each image runs through it once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart.features.key import FeatureSpace
from headstart.features.table import FeatureTable

__all__ = ["JointTables"]


@dataclass(frozen=True)
class JointTables:
    """Both tables as one, whose rows are those of the first followed by those of the second, in float32."""

    first: FeatureTable
    second: FeatureTable

    @property
    def space(self) -> FeatureSpace:
        """How images are decoded, which is the same for both."""
        return self.first.space

    def lacks(self, images: pa.FixedSizeBinaryArray, views: Sequence[int]) -> NDArray[np.bool_]:
        """Whether both tables lack an image and a view, (N, V); what one of them has, the other one computes alone."""
        return self.first.lacks(images, views) & self.second.lacks(images, views)

    def append(self, images: Sequence[str], features: NDArray[Any], *, view: int | Sequence[int] = 0) -> None:
        """Add one row per image to each table, (N, D1 + D2).

        :raises StoreError: as of :meth:`headstart.features.table.FeatureTable.append`.
        """
        rows = np.ascontiguousarray(features).reshape(len(images), -1)
        width = math.prod(self.first.space.shape)
        # A process that is killed in between leaves rows that the second table lacks, which is computed alone.
        self.first.append(images, rows[:, :width], view=view)
        self.second.append(images, rows[:, width:], view=view)

    def compact(self) -> None:
        """See :meth:`headstart.features.table.FeatureTable.compact`."""
        self.first.compact()
        self.second.compact()
