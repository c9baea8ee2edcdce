"""The application: the routes of all topics inside a guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from headstart import __version__
from headstart.data.projects import ChangeRefused, NotInProject
from headstart.errors import HeadstartError, OutputError, RunError
from headstart.serve.access import Access
from headstart.serve.guard import Guard
from headstart.serve.openapi import complete
from headstart.serve.problems import Refusal, handle_errors, problem_response
from headstart.serve.schemas import Problem
from headstart.serve.sign_in import SignIn
from headstart.studio.context import Studio
from headstart.studio.routes.downloads import add_downloads
from headstart.studio.routes.images import add_images
from headstart.studio.routes.jobs import add_jobs
from headstart.studio.routes.labels import add_labels
from headstart.studio.routes.learning import add_learning
from headstart.studio.routes.page import add_page
from headstart.studio.routes.project import add_project

__all__ = ["create_app"]

_STATUS: tuple[tuple[type[HeadstartError], HTTPStatus], ...] = (
    (NotInProject, HTTPStatus.NOT_FOUND),
    (ChangeRefused, HTTPStatus.CONFLICT),
    (RunError, HTTPStatus.NOT_FOUND),
    (OutputError, HTTPStatus.INSUFFICIENT_STORAGE),
    (HeadstartError, HTTPStatus.UNPROCESSABLE_ENTITY),
)


def create_app(studio: Studio, access: Access) -> ASGIApp:
    """The application: routes inside a :class:`~headstart.serve.guard.Guard`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        studio.learning.start(learn=studio.settings.learn)
        yield
        await asyncio.to_thread(studio.close)

    app = FastAPI(
        title="headstart studio",
        version=__version__,
        summary="Images, labels and classifiers of a project.",
        lifespan=lifespan,
        docs_url=None,  # both pages load scripts from another host
        redoc_url=None,
    )
    add_page(app, studio, SignIn(access, "headstart studio"))
    add_project(app, studio)
    add_images(app, studio)
    add_labels(app, studio)
    add_learning(app, studio)
    add_jobs(app, studio)
    add_downloads(app, studio)
    handle_errors(app, _answer)

    @app.exception_handler(HeadstartError)
    async def refuse(request: Request, error: HeadstartError) -> Response:
        status = next(status for kind, status in _STATUS if isinstance(error, kind))
        return _answer(request, Refusal(status, str(error)))

    app.openapi = partial(complete, app.openapi, (Problem,))  # type: ignore[method-assign]
    return Guard(app, access, studio.settings, _is_open)


def _answer(_: Request, refusal: Refusal) -> Response:
    return problem_response(refusal)


def _is_open(path: str) -> bool:
    return path == "/login" or path.startswith("/static/")
