"""Refusals: what the server answers instead of a prediction, each with a status of its own and one sentence."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

__all__ = ["PROBLEM_JSON", "Refusal", "handle_errors", "problem_response"]

PROBLEM_JSON = "application/problem+json"
"""The media type of RFC 9457, Problem Details for HTTP APIs."""

_RETRY_SECONDS = 1


class Refusal(Exception):  # noqa: N818 - it is an answer, not a failure
    """A request is answered with this status and sentence."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(detail)

    @property
    def headers(self) -> dict[str, str]:
        """Further headers of the answer."""
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return {"Retry-After": str(_RETRY_SECONDS)}
        if self.status == HTTPStatus.UNAUTHORIZED:
            return {"WWW-Authenticate": "Bearer"}
        # The rest of such a request is not read.
        unread = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return {"Connection": "close"} if self.status in unread else {}


def problem_response(refusal: Refusal) -> JSONResponse:
    """The refusal as problem details in JSON."""
    status = HTTPStatus(refusal.status)
    content = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": refusal.detail}
    return JSONResponse(content, status.value, headers=refusal.headers, media_type=PROBLEM_JSON)


def handle_errors(app: FastAPI, answer: Callable[[Request, Refusal], Response]) -> None:
    """Answer refusals, requests that are not valid, and those of FastAPI itself in one way."""

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
