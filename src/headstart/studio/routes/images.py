"""Images: lists of them, their files and thumbnails, and adding."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast

from fastapi import FastAPI, Query
from fastapi import Path as InPath
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from headstart.data.projects import ProjectImage
from headstart.data.projects.ingest import Ingested, LabelsFrom, UploadedFile, add_uploads, check_allowed
from headstart.data.projects.label_tables import TableLabels, label_from_table
from headstart.errors import ImageProblem, OutputError
from headstart.files import reason_of
from headstart.serve.openapi import Responses, images_body, refusals
from headstart.serve.problems import Refusal
from headstart.studio.context import Studio
from headstart.studio.lists import SHOWN, ImageLists
from headstart.studio.originals import original
from headstart.studio.schemas import (
    DuplicateView,
    FolderAnswer,
    FolderRequest,
    ImageDetails,
    ImagesAdded,
    ImagesPage,
    ProblemView,
    TableLabeled,
)

__all__ = ["add_images"]

_MOST = 500  # images per page
_MAX_FIELDS = 16
_IDS = re.compile(r"[1-9][0-9]{0,15}(,[1-9][0-9]{0,15}){0,499}")
_IMAGE: Responses = {
    200: {"description": "the image", "content": {"image/*": {}}},
    304: {"description": "it is known already"},
}
T = TypeVar("T")

ImageId = Annotated[int, InPath(ge=1, le=2**53 - 1)]


def add_images(app: FastAPI, studio: Studio) -> None:
    """Add the routes."""
    _add_lists(app, studio)
    _add_files(app, studio)
    _add_uploads(app, studio)


def _add_lists(app: FastAPI, studio: Studio) -> None:
    project, lists = studio.project, ImageLists(studio)

    @app.get("/api/images", summary="Images in an order", responses=refusals(401, 404, 421, 422, 503))
    def images(
        show: Annotated[str, Query(max_length=100, description=SHOWN)] = "all",
        order: Literal["added", "name", "suggested", "uncertainty"] = "added",
        offset: Annotated[int, Query(ge=0, le=2**53 - 1)] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 200,
        ids: Annotated[
            str | None, Query(max_length=10_000, description="1,2,3: these images instead, in this order")
        ] = None,
    ) -> ImagesPage:
        if ids is not None:
            if not _IDS.fullmatch(ids):
                raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"ids: up to {_MOST} numbers with commas between")
            return lists.of_ids([int(each) for each in ids.split(",")], show)
        return lists.page(show, order, offset, limit)

    @app.get("/api/images/{number}", summary="What is known of an image", responses=refusals(401, 404, 421, 422))
    def details(number: ImageId) -> ImageDetails:
        return lists.details(project.image(number))


def _add_files(app: FastAPI, studio: Studio) -> None:
    project = studio.project

    @app.get(
        "/api/images/{number}/thumbnail",
        summary="The image with a long side of 256 pixels, as a JPEG",
        response_class=Response,
        responses=_IMAGE | refusals(400, 401, 404, 421, 422),
    )
    def thumbnail(
        request: Request,
        number: ImageId,
        v: Annotated[str | None, Query(max_length=64, description="hash of the content: cached for ever")] = None,
    ) -> Response:
        image = _readable(project.image(number))
        headers = _cached(image, for_ever=v is not None and v == image.hash)
        if _is_known(request, headers):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(_read(lambda: studio.thumbnails.jpeg(image)), media_type="image/jpeg", headers=headers)

    @app.get(
        "/api/images/{number}/file",
        summary="The image itself; formats that browsers do not show, as a JPEG",
        response_class=Response,
        responses=_IMAGE | refusals(400, 401, 404, 421, 422),
    )
    def file(request: Request, number: ImageId) -> Response:
        image = _readable(project.image(number))
        headers = _cached(image, for_ever=False)
        if _is_known(request, headers):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        content, kind = _read(lambda: original(image.uri, max_pixels=studio.settings.max_pixels))
        return Response(content, media_type=kind, headers=headers)


def _add_uploads(app: FastAPI, studio: Studio) -> None:
    project, settings = studio.project, studio.settings

    @app.post(
        "/api/images",
        summary="Add images, or zip archives of images",
        responses=refusals(400, 401, 403, 408, 413, 421, 422, 503, 507),
        openapi_extra=images_body(),
    )
    async def upload(
        request: Request,
        labels: Annotated[
            Literal["subfolders", "none"], Query(description="whether the folder above an image is its class")
        ] = "none",
    ) -> ImagesAdded:
        def add(files: list[UploadFile]) -> Ingested:
            given = [UploadedFile(each.filename or "image", each.file, each.size or 0) for each in files]
            return add_uploads(project, given, labels=cast(LabelsFrom, labels), max_pixels=settings.max_pixels)

        found = await _with_files(request, add, most=settings.max_files)
        return _added(found)

    @app.post(
        "/api/labels/table",
        summary="Label images by a table with their names: CSV, TSV, JSON lines or Parquet",
        responses=refusals(400, 401, 403, 408, 413, 421, 422, 503, 507),
        openapi_extra=images_body(field="table"),
    )
    async def table(request: Request) -> TableLabeled:
        def label(files: list[UploadFile]) -> TableLabels:
            if len(files) > 1:
                raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "the form has more than one table")
            return label_from_table(project, files[0].filename or "table", files[0].file.read())

        found = await _with_files(request, label, most=settings.max_files)
        return TableLabeled(
            labeled=found.labeled,
            kept=found.kept,
            unknown=found.unknown,
            unknown_names=list(found.unknown_names),
            classes_added=list(found.classes),
            columns=dict(found.columns),
            notes=list(found.notes),
            revision=found.revision,
        )

    @app.post(
        "/api/folder",
        summary="Add the images of a folder of this machine, which stay there",
        status_code=HTTPStatus.ACCEPTED,
        responses=refusals(400, 401, 403, 408, 413, 421, 422, 503),
    )
    def folder(asked: FolderRequest) -> FolderAnswer:
        found = check_allowed(Path(asked.path), studio.folders)
        studio.imports.start(found, asked.labels)
        return FolderAnswer(folder=str(found))


async def _with_files(request: Request, act: Callable[[list[UploadFile]], T], *, most: int) -> T:
    """What a function makes of the files of a form, in a thread."""
    try:
        async with request.form(max_files=most, max_fields=_MAX_FIELDS) as form:
            files = [each for _, each in form.multi_items() if isinstance(each, UploadFile)]
            if not files:
                raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "the form has no file")
            return await asyncio.to_thread(act, files)
    except HTTPException as failure:
        if "many files" in failure.detail:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {most} files per request") from None
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the form cannot be read: {failure.detail}") from None
    except OSError as failure:  # of the temporary file that holds a large upload
        raise OutputError(f"the upload cannot be kept ({reason_of(failure)}): free some space") from failure
    except (UnicodeDecodeError, LookupError):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the form cannot be read: a name in it is not UTF-8") from None


def _readable(image: ProjectImage) -> ProjectImage:
    if image.problem is not None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"the image cannot be read: {image.problem}")
    return image


def _added(found: Ingested) -> ImagesAdded:
    return ImagesAdded(
        added=len(found.ids),
        images=found.ids,
        duplicates=[DuplicateView(name=each.name, id=each.image_id, of=each.of) for each in found.duplicates],
        problems=[ProblemView(name=name, reason=reason) for name, reason in found.problems],
        classes_added=found.classes,
        labeled=found.labeled,
        ignored=found.ignored,
        revision=found.revision,
    )


def _cached(image: ProjectImage, *, for_ever: bool) -> dict[str, str]:
    if image.hash is None:
        return {}
    kept = "private, max-age=31536000, immutable" if for_ever else "private, no-cache"
    return {"Cache-Control": kept, "ETag": f'"{image.hash}"'}


def _is_known(request: Request, headers: dict[str, str]) -> bool:
    return "ETag" in headers and headers["ETag"] in request.headers.get("if-none-match", "")


def _read(read: Callable[[], T]) -> T:
    try:
        return read()
    except ImageProblem as problem:
        raise Refusal(HTTPStatus.NOT_FOUND, f"the image cannot be read: {problem.reason}") from None
