"""The routes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Header, Query
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE

from headstart import __version__
from headstart.serve.access import COOKIE, Access
from headstart.serve.guard import REPORT_POLICY, Guard
from headstart.serve.openapi import PAGE, PREDICT_BODY, PROMETHEUS, complete, predictions, refusals
from headstart.serve.pages import Pages
from headstart.serve.problems import Refusal, problem_response
from headstart.serve.schemas import Health, ImagePrediction, Info, Limits, PredictResponse
from headstart.serve.service import Service
from headstart.serve.uploads import PathReader, read_uploads

__all__ = ["create_app"]

_COOKIE_SECONDS = 30 * 24 * 3600
_STATIC = {"report.css": "text/css", "page.css": "text/css", "page.js": "text/javascript"}


def create_app(service: Service, access: Access, *, paths: Path | None = None, run: Path | None = None) -> ASGIApp:
    """The application: routes inside a :class:`~headstart.serve.guard.Guard`.

    :param paths: the folder below which a JSON request may name files.
    :param run: the run folder, whose name and report are shown.
    """
    info = _info(service, run=run, paths=paths is not None)
    pages = Pages(info)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.get_running_loop().run_in_executor(None, service.warm_up)
        warming.add_done_callback(_end_if_failed)
        yield
        await asyncio.wait([warming])
        await asyncio.get_running_loop().run_in_executor(None, service.close)

    app = FastAPI(
        title="headstart serve",
        version=__version__,
        summary=f"Classifies images with {info.model}.",
        lifespan=lifespan,
        docs_url=None,  # both pages load scripts from another host
        redoc_url=None,
    )
    _add_status(app, service)
    _add_pages(app, pages, access, info, run)
    _add_predict(app, service, pages, paths)
    _handle_errors(app, pages)
    app.openapi = partial(complete, app.openapi)  # type: ignore[method-assign]
    return Guard(app, access, service.settings, service.metrics)


def _end_if_failed(warming: asyncio.Future[None]) -> None:
    """End the process where the first prediction fails, since no other would succeed."""
    if not warming.cancelled() and (failure := warming.exception()) is not None:
        sys.stderr.write(f"error: the first prediction failed: {failure}\n")
        raise SystemExit(STARTUP_FAILURE)


def _info(service: Service, *, run: Path | None, paths: bool) -> Info:
    classifier, settings = service.classifier, service.settings
    return Info(
        name=classifier.model if run is None else run.resolve().name,
        model=classifier.model,
        headstart=__version__,
        licence=classifier.metadata.licence,
        classes=list(classifier.classes),
        input=[classifier.spec.height, classifier.spec.width],
        calibrated=classifier.sets is not None,
        coverage=None if classifier.sets is None else classifier.sets.coverage,
        detects_out_of_distribution=classifier.ood_detector is not None,
        report=run is not None and (run / "report.html").is_file(),
        paths=paths,
        limits=Limits(
            megabytes=settings.max_megabytes,
            pixels=settings.max_pixels,
            files=settings.max_files,
            queue=settings.max_queue,
            seconds=settings.timeout,
        ),
    )


def _add_status(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the process is alive", responses=refusals(421))
    async def healthz() -> Health:
        return Health(status="alive")

    @app.get("/readyz", summary="Whether a prediction was made", responses=refusals(421, 503))
    async def readyz() -> Health:
        if not service.ready.is_set():
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the classifier is being loaded: no prediction was made yet")
        return Health(status="ready")

    @app.get(
        "/metrics",
        summary="Counts for Prometheus",
        response_class=PlainTextResponse,
        responses=PROMETHEUS | refusals(401, 421),
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_pages(app: FastAPI, pages: Pages, access: Access, info: Info, run: Path | None) -> None:
    @app.get(
        "/",
        summary="The page; its facts as JSON unless HTML is asked for",
        responses=PAGE | refusals(401, 421),
        response_class=Response,
    )
    async def index(request: Request) -> Response:
        given = request.query_params.get("token")
        if given is not None and access.is_token(given):
            return _signed_in(request, access)
        try:
            access.check_token(request.headers)
        except Refusal as refusal:
            if not wants_html(request):
                raise
            return HTMLResponse(pages.sign_in(wrong=given is not None), refusal.status)
        if wants_html(request):
            return HTMLResponse(pages.index(), headers={"Vary": "Accept"})
        return JSONResponse(info.model_dump(mode="json"), headers={"Vary": "Accept"})

    @app.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=4, max_part_size=4096) as form:
            if access.is_token(str(form.get("token", "")).strip()):
                return _signed_in(request, access)
        return HTMLResponse(pages.sign_in(wrong=True), HTTPStatus.UNAUTHORIZED)

    @app.get("/report", include_in_schema=False)
    async def report() -> Response:
        text = None if run is None else await asyncio.to_thread(_read_report, run)
        if text is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no report: headstart report RUN writes it")
        return HTMLResponse(text, headers={"Content-Security-Policy": REPORT_POLICY})

    for name, kind in _STATIC.items():
        content = Response(
            pages.static(name), media_type=f"{kind}; charset=utf-8", headers={"Cache-Control": "no-cache"}
        )
        app.add_api_route(f"/static/{name}", _returning(content), include_in_schema=False)


def _read_report(run: Path) -> bytes | None:
    """The report of a run; None if there is none, or a link in its place, by which the run would choose the file."""
    path = run / "report.html"
    try:
        return None if path.is_symlink() else path.read_bytes()
    except OSError:
        return None


def _returning(response: Response) -> Callable[[], Response]:
    def give() -> Response:
        return response

    return give


def _signed_in(request: Request, access: Access) -> Response:
    response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, access.cookie, max_age=_COOKIE_SECONDS, httponly=True, samesite="strict", secure=secure)
    return response


def _add_predict(app: FastAPI, service: Service, pages: Pages, paths: Path | None) -> None:
    settings = service.settings
    reader = None if paths is None else PathReader(paths, max_bytes=settings.max_megabytes * 1_000_000)

    @app.post(
        "/predict",
        summary="Predict the classes of one or more images",
        responses=predictions() | refusals(400, 401, 403, 408, 413, 415, 421, 422, 503),
        openapi_extra=PREDICT_BODY,
        response_class=Response,
    )
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1, le=1000, description="classes to return per image")] = 5,
        explain: Annotated[
            bool, Query(description="for one image: where the network looked, and the nearest training images")
        ] = False,
        prefer: Annotated[
            str | None,
            Header(description="with handling=lenient, a request without an image that can be read has an answer too"),
        ] = None,
    ) -> Response:
        uploads = await read_uploads(request, max_files=settings.max_files, paths=reader)
        if explain and len(uploads) > 1:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "explain is for one image per request")
        html = wants_html(request)
        images, too_large = await service.predict(uploads, top=top, explain=explain or (html and len(uploads) == 1))
        lenient = "handling=lenient" in (prefer or "") and not html
        if all(image.problem for image in images) and not lenient:
            raise _nothing_readable(images, too_large=too_large)
        answer = PredictResponse(model=service.classifier.model, coverage=pages.info.coverage, images=images)
        if html:
            return HTMLResponse(pages.index(answer))
        return JSONResponse(answer.model_dump(mode="json"))


def _nothing_readable(images: Sequence[ImagePrediction], *, too_large: bool) -> Refusal:
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if too_large else HTTPStatus.UNPROCESSABLE_ENTITY
    prefix = f"none of the {len(images)} images can be read; " if len(images) > 1 else ""
    return Refusal(status, f"{prefix}{images[0].name}: {images[0].problem}")


def wants_html(request: Request) -> bool:
    """Whether a browser asks for a page, and not a program for JSON."""
    return "text/html" in request.headers.get("accept", "")


def _handle_errors(app: FastAPI, pages: Pages) -> None:
    def answer(request: Request, refusal: Refusal) -> Response:
        if wants_html(request) and request.url.path in ("/", "/predict"):
            return HTMLResponse(pages.index(problem=refusal.detail), refusal.status, headers=refusal.headers)
        return problem_response(refusal)

    @app.exception_handler(Refusal)
    async def refuse(request: Request, refusal: Refusal) -> Response:
        return answer(request, refusal)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return answer(request, Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        response = answer(request, Refusal(error.status_code, error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, _: ClientDisconnect) -> Response:
        return answer(request, Refusal(HTTPStatus.BAD_REQUEST, "the connection ended before the request did"))
