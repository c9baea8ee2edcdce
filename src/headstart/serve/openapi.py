"""The parts of the OpenAPI document that FastAPI cannot know: bodies of several types, pages, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias

from pydantic import BaseModel

from headstart.serve.problems import PROBLEM_JSON
from headstart.serve.schemas import Info, PredictRequest, PredictResponse, Problem

__all__ = ["PAGE", "PREDICT_BODY", "PROMETHEUS", "Responses", "complete", "predictions", "refusals"]

Responses: TypeAlias = "dict[int | str, dict[str, Any]]"

_REFERENCE = "#/components/schemas/{model}"
_FILE = {"type": "string", "format": "binary"}
_FILES = {"type": "array", "items": _FILE, "minItems": 1}

PREDICT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["images"], "properties": {"images": _FILES}}
            },
            "application/json": {"schema": {"$ref": _REFERENCE.format(model="PredictRequest")}},
            "image/jpeg": {"schema": _FILE},
            "image/png": {"schema": _FILE},
            "application/octet-stream": {"schema": _FILE},
        },
    }
}
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
