"""Two feature tables that are filled in one pass, of two cuts of the same network: each image runs through it once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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

    def missing_views(self, images: Sequence[str], views: Sequence[int]) -> dict[str, list[int]]:
        """The views that both tables lack of each image; what one of them has is for the other one to compute."""
        first, second = (table.missing_views(images, views) for table in (self.first, self.second))
        both = {image: sorted({*numbers} & {*second.get(image, ())}) for image, numbers in first.items()}
        return {image: numbers for image, numbers in both.items() if numbers}

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
