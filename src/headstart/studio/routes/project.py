"""What the project is, its history and its events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, Query
from starlette.responses import Response, StreamingResponse

from headstart.data.uri import printable
from headstart.serve.openapi import Responses, refusals
from headstart.studio.context import Studio
from headstart.studio.learning_schemas import ExportView, RunView
from headstart.studio.routes.learning import learning_view
from headstart.studio.schemas import (
    ClassView,
    CountsView,
    History,
    HistoryChange,
    LimitsView,
    ProjectView,
)

__all__ = ["add_project"]

_EVENTS: Responses = {200: {"description": "server-sent events", "content": {"text/event-stream": {}}}}


def add_project(app: FastAPI, studio: Studio) -> None:
    """Add the routes."""
    project, settings = studio.project, studio.settings

    @app.get("/api/project", summary="The project, its classes and counts", responses=refusals(401, 421))
    def describe() -> ProjectView:
        can_undo, can_redo = project.can_undo()
        runs, exports, formats = _results(studio)
        return ProjectView(
            name=printable(project.folder.name),
            folder=printable(str(project.folder)),
            revision=project.revision,
            model=studio.learning.settings.model,
            classes=[ClassView(**asdict(each)) for each in project.classes()],
            counts=CountsView(**asdict(project.counts())),
            can_undo=can_undo,
            can_redo=can_redo,
            limits=LimitsView(megabytes=settings.max_megabytes, pixels=settings.max_pixels, files=settings.max_files),
            folders=[printable(str(folder)) for folder in studio.folders],
            learning=learning_view(studio),
            runs=runs,
            exports=exports,
            formats=formats,
            importing=studio.imports.last,
        )

    @app.get("/api/history", summary="The last changes, newest first", responses=refusals(401, 421, 422))
    def history(limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> History:
        changes = project.history(limit)
        return History(
            revision=project.revision,
            changes=[
                HistoryChange(revision=each.revision, kind=each.kind, text=each.text, at=each.at, undone=each.undone)
                for each in changes
            ],
        )

    @app.get(
        "/api/events",
        summary="What changes from now on, as server-sent events",
        response_class=StreamingResponse,
        responses=_EVENTS | refusals(401, 421, 503),
    )
    async def events() -> Response:
        stream = studio.hub.stream()
        first = await anext(stream, "")  # a refusal comes before the answer has begun

        async def all_events() -> AsyncIterator[str]:
            yield first
            async for text in stream:
                yield text

        return StreamingResponse(all_events(), media_type="text/event-stream")


def _results(studio: Studio) -> tuple[list[RunView], list[ExportView], list[str]]:
    """Runs, exports and the names of formats; nothing while what lists them is being loaded."""
    if studio.learning.state() is None:
        return [], [], []
    from headstart.export.registry import format_names
    from headstart.workflow.live.results import list_exports, list_runs

    folder = studio.project.folder
    return (
        [RunView.model_validate(each) for each in list_runs(folder)],
        [ExportView.model_validate(each) for each in list_exports(folder)],
        list(format_names()),
    )
