"""The training images that are most like an image, as a table and as a sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings
from headstart.data.decode import decoded
from headstart.data.sources.base import image_uri, reference
from headstart.data.transforms import make_view, min_source_side
from headstart.data.uri import display_name
from headstart.errors import DataError, ImageProblem
from headstart.workflow.neighbors import Neighbor, open_training_images
from headstart.workflow.show import draw_captioned

__all__ = ["SimilarImages", "find_similar"]


@dataclass(frozen=True)
class SimilarImages:
    """What was found for one image."""

    uri: str
    near: tuple[Neighbor, ...]  # nearest first
    searched: int  # training images whose features are stored
    trained: int  # training images of the run

    def lines(self) -> list[str]:
        """The table for a terminal."""
        width = max((len(each.label) for each in self.near), default=0)
        found = [f"{each.cosine:6.3f}  {each.label:{width}}  {display_name(each.uri)}" for each in self.near]
        lines = [f"cosine  {'label':{width}}  training image", *found]
        if self.searched < self.trained:
            lines.append(
                f"searched among {self.searched:,} of {self.trained:,} training images: the features of the others are "
                "not stored"
            )
        return lines

    def draw(self, path: Path, classifier: Classifier) -> Path:
        """Write a PNG of the image and of those found, each below its label and cosine; what is gone is left out."""
        uris = [self.uri, *(each.uri for each in self.near)]
        captions = ["this image", *(f"{each.cosine:.2f} {each.label}" for each in self.near)]
        return draw_captioned(uris, captions, path, value_ranges=classifier.spec.value_ranges)


def find_similar(
    run: Path, classifier: Classifier, image: str | Path, *, count: int, settings: EngineSettings | None = None
) -> SimilarImages:
    """Find the training images of a run whose features are nearest to those of an image, by the cosine between them.

    Nothing is computed for the training images: their features are in the store that the fit has filled.

    :param image: a path, or a URI of an image source.
    :raises RunError: the folder is no run, or its features are not stored any more.
    :raises DataError: the image cannot be read.
    """
    settings = settings or EngineSettings()
    spec, uri = classifier.spec, image_uri(image)
    training = open_training_images(run, classifier)
    try:
        with decoded(
            reference(uri),
            max_pixels=settings.max_pixels,
            min_side=min_source_side(spec),
            value_ranges=spec.value_ranges,
        ) as pixels:
            view = make_view(pixels, spec, 0, "")
    except ImageProblem as problem:
        raise DataError(str(problem)) from None
    return SimilarImages(uri, tuple(training.nearest(view, count)), len(training.uris), training.total)
