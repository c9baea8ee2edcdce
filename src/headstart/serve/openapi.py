"""The parts of the OpenAPI document that FastAPI cannot know: bodies of several types, pages, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias

from pydantic import BaseModel

from headstart.serve.problems import PROBLEM_JSON
from headstart.serve.schemas import Info, PredictRequest, PredictResponse, Problem

__all__ = ["PAGE", "PREDICT_BODY", "PROMETHEUS", "Responses", "complete", "images_body", "predictions", "refusals"]

Responses: TypeAlias = "dict[int | str, dict[str, Any]]"

_REFERENCE = "#/components/schemas/{model}"
_FILE = {"type": "string", "format": "binary"}
_FILES = {"type": "array", "items": _FILE, "minItems": 1}


def images_body(*media_types: str, field: str = "images", others: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The body of a request with images: a form with files, or one image of these media types.

    :param field: of the form.
    :param others: further content by media type.
    """
    form = {"schema": {"type": "object", "required": [field], "properties": {field: _FILES}}}
    content = {"multipart/form-data": form, **(others or {}), **{each: {"schema": _FILE} for each in media_types}}
    return {"requestBody": {"required": True, "content": content}}


PREDICT_BODY = images_body(
    "image/jpeg",
    "image/png",
    "application/octet-stream",
    others={"application/json": {"schema": {"$ref": _REFERENCE.format(model="PredictRequest")}}},
)
"""What ``POST /predict`` accepts."""

PAGE: Responses = {
    200: {
        "description": "the page, or its JSON twin",
        "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Info")}}, "text/html": {}},
    }
}
PROMETHEUS: Responses = {200: {"description": "Prometheus's text format", "content": {"text/plain": {}}}}


def predictions() -> Responses:
    """The answer of ``POST /predict``: JSON, or the page for a browser."""
    return {200: {"model": PredictResponse, "content": {"text/html": {}}}}


def refusals(*statuses: int) -> Responses:
    """The refusals of a route."""
    content = {PROBLEM_JSON: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def complete(
    make: Callable[[], dict[str, Any]], models: Sequence[type[BaseModel]] = (PredictRequest, Problem, Info)
) -> dict[str, Any]:
    """FastAPI's document with the models that only parts like those above name."""
    document = make()
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in models:
        schema = model.model_json_schema(ref_template=_REFERENCE)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document
