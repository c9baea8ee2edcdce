"""From the body of a request to the images in it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from headstart.serve.problems import Refusal
from headstart.serve.schemas import ImageData, PredictRequest
from headstart.serve.service import Upload

__all__ = ["PathReader", "read_uploads"]

_NO_FILE = "no such file in the folder that this server reads"
_MAX_FIELDS = 16
_RAW = "application/octet-stream"
_TAKEN = "send multipart/form-data with files, application/json, or the bytes of one image as image/*"


@dataclass(frozen=True)
class PathReader:
    """Reads files below one folder, whatever paths are asked for. Links are followed only as far as they stay in it."""

    folder: Path
    max_bytes: int  # of all files of a request

    def read(self, images: Sequence[ImageData]) -> list[Upload]:
        """The files of a request, or their problems.

        Of what is outside the folder nothing is told, not even whether it is there.
        """
        uploads, left = [], self.max_bytes
        for image in images:
            path = image.path or ""
            try:
                content = self._content(path, left)
            except (OSError, ValueError):
                uploads.append(Upload(image.name or path, problem=_NO_FILE))
                continue
            problem = f"more than the {self.max_bytes:,} bytes of a request" if len(content) > left else None
            uploads.append(Upload(image.name or path, b"" if problem else content, problem))
            left -= len(uploads[-1].content)
        return uploads

    def _content(self, name: str, limit: int) -> bytes:
        """At most ``limit`` + 1 bytes of a file.

        :raises OSError: there is no such file, or none in the folder.
        :raises ValueError: it is no name of a file.
        """
        root = os.path.realpath(self.folder)
        path = os.path.realpath(os.path.join(root, name))  # noqa: PTH118 - realpath resolves the links
        if os.path.commonpath([root, path]) != root:
            raise FileNotFoundError(name)
        # Whatever the path has become meanwhile, no link at its end is followed, and no pipe is waited for.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise FileNotFoundError(name)
            with os.fdopen(handle, "rb", closefd=False) as file:
                return file.read(limit + 1)
        finally:
            os.close(handle)


async def read_uploads(request: Request, *, max_files: int, paths: PathReader | None) -> list[Upload]:
    """The images of a request, in order.

    :raises Refusal: there are none, or too many, or the body is not what its type says.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        uploads = await _from_form(request, max_files)
    elif kind == "application/json":
        uploads = await _from_json(request, max_files, paths)
    elif kind.startswith("image/") or kind == _RAW:
        content = await request.body()
        uploads = [Upload("image", content)] if content else []
    else:
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the content type {kind or 'is missing'}: {_TAKEN}")
    if not uploads:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"the request has no image: {_TAKEN}")
    return uploads


async def _from_form(request: Request, max_files: int) -> list[Upload]:
    try:
        async with request.form(max_files=max_files, max_fields=_MAX_FIELDS) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            # A browser sends an empty part without a name where no file was chosen.
            return [Upload(file.filename or "image", await file.read()) for file in files if file.filename or file.size]
    except HTTPException as failure:
        if "many files" in failure.detail:
            raise _too_many(max_files) from None
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the form cannot be read: {failure.detail}") from None
    except (UnicodeDecodeError, LookupError):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the form cannot be read: a name in it is not UTF-8") from None


async def _from_json(request: Request, max_files: int, paths: PathReader | None) -> list[Upload]:
    try:
        asked = PredictRequest.model_validate_json(await request.body())
    except ValidationError as failure:
        first = failure.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Refusal(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"the JSON is not as expected: {where + ': ' * bool(where)}{first['msg']}"
        ) from None
    if len(asked.images) > max_files:
        raise _too_many(max_files)
    if paths is None and any(image.path is not None for image in asked.images):
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            "this server reads no files of its own: send the image, or start it with --allow-paths",
        )
    # In another thread: other requests do not wait for the disk.
    return await asyncio.to_thread(_from_images, asked.images, paths)


def _from_images(images: Sequence[ImageData], paths: PathReader | None) -> list[Upload]:
    named = [image for image in images if image.path is not None]
    read = iter(paths.read(named) if paths is not None else ())
    return [_decoded(image, number) if image.path is None else next(read) for number, image in enumerate(images)]


def _decoded(image: ImageData, number: int) -> Upload:
    name = image.name or f"image {number + 1}"
    try:
        return Upload(name, base64.b64decode(image.base64 or "", validate=True))
    except (binascii.Error, ValueError):
        return Upload(name, problem="this is not base64")


def _too_many(max_files: int) -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {max_files} images per request: send the others in further ones"
    )
