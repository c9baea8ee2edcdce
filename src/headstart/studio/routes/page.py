"""The page and its files."""

from __future__ import annotations

import re
from http import HTTPStatus
from importlib.resources import files

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from headstart.report.page import template_environment
from headstart.serve.problems import Refusal
from headstart.serve.sign_in import SignIn, wants_html
from headstart.studio.context import Studio

__all__ = ["add_page"]

_KINDS = {"css": "text/css", "js": "text/javascript"}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.(css|js)")
_OTHERS = {"report.css": "headstart.report", "page.css": "headstart.serve"}


def add_page(app: FastAPI, studio: Studio, sign_in: SignIn) -> None:
    """Add the page, its style sheets and its modules."""
    template = template_environment("headstart.studio").get_template("page.html.jinja")

    @app.get("/", include_in_schema=False)
    def index(request: Request) -> Response:
        if (answer := sign_in.needed(request)) is not None:
            return answer
        if not wants_html(request):
            return RedirectResponse("/api/project", HTTPStatus.SEE_OTHER)
        return HTMLResponse(template.render(project=studio.project))

    sign_in.add_login(app)

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        found = _NAME.fullmatch(name)
        resource = files(_OTHERS[name]) if name in _OTHERS else files("headstart.studio").joinpath("static")
        if found is None or not (file := resource.joinpath(name)).is_file():
            raise Refusal(HTTPStatus.NOT_FOUND, "the page has no such file")
        kind = f"{_KINDS[found[1]]}; charset=utf-8"
        return Response(file.read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})
