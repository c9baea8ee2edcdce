"""Labels, classes, undo and redo."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI
from fastapi import Path as InPath

from headstart.data.projects import Change, Project
from headstart.serve.openapi import refusals
from headstart.studio.context import Studio
from headstart.studio.schemas import (
    Classes,
    ClassInto,
    ClassName,
    ClassView,
    CountsView,
    Labeled,
    LabelRequest,
    LabelsByImage,
)

__all__ = ["add_labels"]

_REFUSALS = refusals(400, 401, 403, 404, 408, 409, 413, 421, 422, 503, 507)

ClassId = Annotated[int, InPath(ge=1, le=2**53 - 1)]


def add_labels(app: FastAPI, studio: Studio) -> None:
    """Add the routes. Each answers when the change is on the disk."""
    project = studio.project

    @app.post("/api/labels", summary="Give images a class, or no label", responses=_REFUSALS)
    def label(asked: LabelRequest) -> Labeled:
        return _labeled(project, project.set_labels(dict.fromkeys(asked.images, asked.class_)))

    @app.post("/api/accept", summary="Accept suggestions, as they were shown", responses=_REFUSALS)
    def accept(asked: LabelsByImage) -> Labeled:
        return _labeled(project, project.set_labels(asked.labels, source="suggestion"))

    @app.post("/api/reject", summary="Reject suggestions: they are not made again", responses=_REFUSALS)
    def reject(asked: LabelsByImage) -> Labeled:
        return _labeled(project, project.reject(asked.labels))

    @app.post("/api/classes", summary="Add a class", status_code=HTTPStatus.CREATED, responses=_REFUSALS)
    def add_class(asked: ClassName) -> Classes:
        return _classes(project, project.add_class(asked.name))

    @app.patch("/api/classes/{number}", summary="Rename a class", responses=_REFUSALS)
    def rename(number: ClassId, asked: ClassName) -> Classes:
        return _classes(project, project.rename_class(number, asked.name))

    @app.post("/api/classes/{number}/merge", summary="Give the images of a class to another", responses=_REFUSALS)
    def merge(number: ClassId, asked: ClassInto) -> Classes:
        return _classes(project, project.merge_classes(number, asked.into))

    @app.delete("/api/classes/{number}", summary="Remove a class and its labels", responses=_REFUSALS)
    def remove(number: ClassId) -> Classes:
        return _classes(project, project.remove_class(number))

    @app.post("/api/undo", summary="Take back the last change", responses=_REFUSALS)
    def undo() -> Labeled:
        return _labeled(project, project.undo())

    @app.post("/api/redo", summary="Make the change again that was undone last", responses=_REFUSALS)
    def redo() -> Labeled:
        return _labeled(project, project.redo())


def _classes(project: Project, change: Change) -> Classes:
    return Classes(revision=change.revision, kind=change.kind, text=change.text, classes=_all(project))


def _labeled(project: Project, change: Change) -> Labeled:
    return Labeled(
        revision=change.revision,
        kind=change.kind,
        text=change.text,
        classes=_all(project),
        counts=CountsView(**asdict(project.counts())),
    )


def _all(project: Project) -> list[ClassView]:
    return [ClassView(**asdict(each)) for each in project.classes()]
