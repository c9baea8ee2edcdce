"""What leaves the studio: labels, runs, reports and exports."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated
from urllib.parse import quote

from fastapi import FastAPI
from fastapi import Path as InPath
from starlette.responses import HTMLResponse, Response, StreamingResponse

from headstart.data.projects.outputs import exported_files, run_folder
from headstart.data.projects.tables import as_csv, label_rows
from headstart.errors import OutputError, RunError
from headstart.files import reason_of
from headstart.serve.guard import REPORT_POLICY
from headstart.serve.openapi import Responses, refusals
from headstart.studio.context import Studio

__all__ = ["add_downloads"]

_IN_MEMORY = 16_000_000  # bytes of an archive, from which on it is written to a temporary file
_CHUNK = 1 << 20

Name = Annotated[str, InPath(max_length=200)]


def add_downloads(app: FastAPI, studio: Studio) -> None:
    """Add the routes."""
    folder = studio.project.folder

    @app.get(
        "/api/labels.csv",
        summary="The labels as a table",
        response_class=Response,
        responses=_answers("text/csv") | refusals(401, 421),
    )
    def labels() -> Response:
        content = as_csv(label_rows(studio.project))
        return Response(content, media_type="text/csv; charset=utf-8", headers=_attached("labels.csv"))

    @app.get(
        "/api/runs/{name}.zip",
        summary="A run folder as a zip archive",
        response_class=Response,
        responses=_answers("application/zip") | refusals(401, 404, 421, 422, 507),
    )
    def run(name: Name) -> Response:
        found = run_folder(folder, name)
        from headstart.workflow.live.results import write_run_zip

        return _zipped(f"{name}.zip", lambda file: write_run_zip(found, file))

    @app.get(
        "/api/runs/{name}/report",
        summary="The report of a run",
        response_class=HTMLResponse,
        responses=_answers("text/html") | refusals(401, 404, 421, 422),
    )
    def report(name: Name) -> Response:
        path = run_folder(folder, name) / "report.html"
        if path.is_symlink() or not path.is_file():  # a link: the run would choose the file
            raise RunError(f"the run {name} has no report")
        return HTMLResponse(path.read_bytes(), headers={"Content-Security-Policy": REPORT_POLICY})

    @app.get(
        "/api/exports/{name}",
        summary="An exported file; with OpenVINO both files in a zip archive",
        response_class=Response,
        responses=_answers("application/octet-stream") | refusals(401, 404, 421, 422, 507),
    )
    def export(name: Name) -> Response:
        path = next((each for each in exported_files(folder) if each.name == name), None)  # compared, not followed
        if path is None:
            raise RunError(f"the project has no export {name!r}")
        weights = path.with_suffix(".bin")
        if path.suffix == ".xml" and weights.is_file():
            return _zipped(f"{path.stem}-openvino.zip", lambda file: _write_zip(file, path, weights))
        return _streamed(path.open("rb"), name, "application/octet-stream")


def _answers(kind: str) -> Responses:
    return {200: {"description": "the file", "content": {kind: {}}}}


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}


def _zipped(name: str, write: Callable[[IO[bytes]], None]) -> Response:
    file: IO[bytes] = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it is closed when it has been sent
    try:
        write(file)
        file.seek(0)
    except OSError as failure:
        file.close()
        raise OutputError(f"{name}: cannot be packed ({reason_of(failure)}): free some space") from failure
    return _streamed(file, name, "application/zip")


def _write_zip(file: IO[bytes], *paths: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for path in paths:
            archive.write(path, path.name)


def _streamed(file: IO[bytes], name: str, kind: str) -> Response:
    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(_CHUNK):
                yield chunk

    return StreamingResponse(chunks(), media_type=kind, headers=_attached(name))
