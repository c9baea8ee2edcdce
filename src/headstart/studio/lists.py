"""Lists of images for the page: by label, by what the classifier says of them, and what is known of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from headstart.data.projects import ImageQuery, ProjectImage
from headstart.data.projects.records import Show
from headstart.serve.problems import Refusal
from headstart.studio.schemas import (
    GuessView,
    ImageDetails,
    ImageRow,
    ImagesPage,
    NeighborView,
    NumberedStep,
    SuggestionView,
)

if TYPE_CHECKING:
    from headstart.studio.context import Studio

__all__ = ["SHOWN", "ImageLists"]

SHOWN = (
    "all, unlabeled, labeled, problems, class:ID, errors, wrong (likely wrong labels), cell:GIVEN:PREDICTED of the "
    "confusion matrix, or bin:NUMBER of the reliability"
)
_ID = "([1-9][0-9]{0,15})"
_STORED = re.compile(f"(all|unlabeled|labeled|problems)|class:{_ID}")
_JUDGED = re.compile(f"(errors|wrong)|cell:{_ID}:{_ID}|bin:([0-9])")
_NEIGHBORS = 6


class ImageLists:
    """Pages of images of a studio."""

    def __init__(self, studio: Studio) -> None:
        self._project, self._learning = studio.project, studio.learning

    def page(self, show: str, order: str, offset: int, limit: int) -> ImagesPage:
        """Some images.

        :raises Refusal: there is no such list, or the classifier that it is of is being loaded.
        """
        stored = _STORED.fullmatch(show)
        if stored is None:
            ids = self._judged(show)
            return self._of(ids[offset : offset + limit], len(ids), judged=True)
        which = cast("Show", stored[1] or "all"), None if stored[2] is None else int(stored[2])
        if order in ("suggested", "uncertainty"):
            query = ImageQuery(*which, limit=None)
            key = (which, self._project.revision)
            ids = self._learning.order(lambda: self._project.image_ids(query), order, key)
            return self._of(ids[offset : offset + limit], len(ids))
        page = self._project.images(ImageQuery(*which, "name" if order == "name" else "added", offset, limit))
        return ImagesPage(total=page.total, revision=page.revision, images=self._rows(page.images))

    def of_ids(self, ids: Sequence[int], show: str) -> ImagesPage:
        """These images in this order.

        :param show: the list that they are in: in those of the evaluation, labeled images have suggestions, too.
        """
        return self._of(ids, len(ids), judged=_JUDGED.fullmatch(show) is not None)

    def details(self, image: ProjectImage) -> ImageDetails:
        """What is known of an image."""
        probabilities, neighbors = [], []
        if self._learning.state() is not None:
            live = self._learning.live
            probabilities = [
                GuessView(class_=each.class_id, name=each.name, probability=each.probability)
                for each in live.probabilities(image.id)
            ]
            near = dict(live.neighbors(image.id, _NEIGHBORS))
            neighbors = [
                NeighborView(id=each.id, hash=each.hash, cosine=near[each.id], class_=each.class_id)
                for each in self._project.by_id(list(near))
            ]
        return ImageDetails(
            **self._rows([image], judged=True)[0].model_dump(by_alias=True),
            uri=image.uri,
            history=[NumberedStep(**asdict(step)) for step in self._project.label_history(image.id)],
            probabilities=probabilities,
            neighbors=neighbors,
        )

    def _judged(self, show: str) -> list[int]:
        """The ids of a list of the evaluation."""
        found = _JUDGED.fullmatch(show)
        if found is None:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"show: {show!r} is none of {SHOWN}")
        evaluation = self._learning.live.evaluation()
        if evaluation is None:
            return []
        if found[2] is not None:
            return evaluation.cell(int(found[2]), int(found[3]))
        if found[4] is not None:
            return evaluation.in_bin(int(found[4]))
        return [each.id for each in (evaluation.errors if found[1] == "errors" else evaluation.wrong)]

    def _of(self, ids: Sequence[int], total: int, *, judged: bool = False) -> ImagesPage:
        revision = self._project.revision
        return ImagesPage(total=total, revision=revision, images=self._rows(self._project.by_id(ids), judged=judged))

    def _rows(self, images: Sequence[ProjectImage], *, judged: bool = False) -> list[ImageRow]:
        """The rows, with suggestions for images without a label; with ``judged``, for the others as well."""
        wanted = [each.id for each in images if each.problem is None and (judged or each.class_id is None)]
        predicted = self._learning.predictions(wanted)
        return [
            ImageRow(
                id=each.id,
                name=each.name,
                hash=each.hash,
                width=each.width,
                height=each.height,
                class_=each.class_id,
                source=each.source,
                suggestion=None
                if (guess := predicted.get(each.id)) is None
                else SuggestionView(class_=guess[0], probability=guess[1]),
                problem=each.problem,
            )
            for each in images
        ]
