"""Signing in with the token, on the page at / and by its form."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from headstart.report.page import template_environment
from headstart.serve.access import Access
from headstart.serve.problems import Refusal

__all__ = ["SignIn", "wants_html"]

_COOKIE_SECONDS = 30 * 24 * 3600


def wants_html(request: Request) -> bool:
    """Whether a browser asks for a page, and not a program for JSON."""
    return "text/html" in request.headers.get("accept", "")


class SignIn:
    """The page that asks for the token.

    :param program: whose token it is, for the page: "headstart serve".
    """

    def __init__(self, access: Access, program: str) -> None:
        self._access, self._program = access, program
        self._page = template_environment("headstart.serve").get_template("sign_in.html.jinja")

    def needed(self, request: Request) -> Response | None:
        """The answer to a request for / of somebody who is signing in; None of one who is let in.

        :raises Refusal: a program without the token.
        """
        given = request.query_params.get("token")
        if given is not None and self._access.is_token(given):
            return self._signed_in(request)
        try:
            self._access.check_token(request.headers)
        except Refusal as refusal:
            if not wants_html(request):
                raise
            return HTMLResponse(self._render(wrong=given is not None), refusal.status)
        return None

    def add_login(self, app: FastAPI) -> None:
        """Add the route of the form."""

        @app.post("/login", include_in_schema=False)
        async def login(request: Request) -> Response:
            async with request.form(max_files=0, max_fields=4, max_part_size=4096) as form:
                if self._access.is_token(str(form.get("token", "")).strip()):
                    return self._signed_in(request)
            return HTMLResponse(self._render(wrong=True), HTTPStatus.UNAUTHORIZED)

    def _render(self, *, wrong: bool) -> str:
        return self._page.render(wrong=wrong, program=self._program)

    def _signed_in(self, request: Request) -> Response:
        access, secure = self._access, request.url.scheme == "https"
        response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        response.set_cookie(
            access.name, access.cookie, max_age=_COOKIE_SECONDS, httponly=True, samesite="strict", secure=secure
        )
        return response
