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
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE

from headstart import __version__
from headstart.serve.access import Access
from headstart.serve.guard import REPORT_POLICY, Guard
from headstart.serve.openapi import PAGE, PREDICT_BODY, PROMETHEUS, complete, predictions, refusals
from headstart.serve.pages import Pages
from headstart.serve.problems import Refusal, handle_errors, problem_response
from headstart.serve.schemas import Health, ImagePrediction, Info, Limits, PredictResponse
from headstart.serve.service import Service
from headstart.serve.sign_in import SignIn, wants_html
from headstart.serve.uploads import PathReader, read_uploads

__all__ = ["create_app"]

_STATIC = {"report.css": "text/css", "page.css": "text/css", "page.js": "text/javascript"}
_OPEN = frozenset({"/healthz", "/readyz", "/login", *(f"/static/{name}" for name in _STATIC)})
"""Routes that need no token: they tell nothing of the classifier."""


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
    handle_errors(app, _answer_to(pages))
    app.openapi = partial(complete, app.openapi)  # type: ignore[method-assign]
    return Guard(app, access, service.settings, _OPEN.__contains__, service.metrics.observe_request)


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
    sign_in = SignIn(access, "headstart serve")

    @app.get(
        "/",
        summary="The page; its facts as JSON unless HTML is asked for",
        responses=PAGE | refusals(401, 421),
        response_class=Response,
    )
    async def index(request: Request) -> Response:
        if (answer := sign_in.needed(request)) is not None:
            return answer
        if wants_html(request):
            return HTMLResponse(pages.index(), headers={"Vary": "Accept"})
        return JSONResponse(info.model_dump(mode="json"), headers={"Vary": "Accept"})

    sign_in.add_login(app)

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


def _answer_to(pages: Pages) -> Callable[[Request, Refusal], Response]:
    def answer(request: Request, refusal: Refusal) -> Response:
        if wants_html(request) and request.url.path in ("/", "/predict"):
            return HTMLResponse(pages.index(problem=refusal.detail), refusal.status, headers=refusal.headers)
        return problem_response(refusal)

    return answer
