"""Views of images, decoded when training reads them: the inputs of a network of which nothing is frozen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.views import read_views
from headstart.errors import ImageProblem

__all__ = ["ImageViews"]


@dataclass(frozen=True)
class ImageViews:
    """One view of each image of a manifest, decoded anew each time."""

    manifest: Manifest
    spec: InputSpec
    number: int  # of the view, see headstart.data.transforms.make_view
    max_pixels: int
    workers: int | None = None

    def __len__(self) -> int:
        return len(self.manifest)

    def select(self, rows: NDArray[np.int64]) -> ImageViews:
        """See :class:`~headstart.features.sources.FeatureSource`."""
        return replace(self, manifest=self.manifest.select(rows))

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the images in some rows, each at most once: (len(rows), height, width, 3).

        :raises ImageProblem: an image cannot be read any more.
        """
        wanted = np.asarray(rows, np.int64).tolist()
        views = read_views(
            self.manifest,
            wanted,
            self.spec,
            batch_size=len(wanted),
            max_pixels=self.max_pixels,
            workers=self.workers,
            views=(self.number,),
            kind="threads",
        )
        with closing(views):
            read = list(views)
        for row, reason in (problem for each in read for problem in each.problems):
            advice = "it was readable when training began: run the same command again, which leaves it out"
            raise ImageProblem(self.manifest.uris[row], f"{reason}; {advice}")
        return np.concatenate([np.stack(each.images) for each in read])
