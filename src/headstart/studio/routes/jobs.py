"""Fits and exports as jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI
from fastapi import Path as InPath

from headstart.serve.openapi import refusals
from headstart.studio.context import Studio
from headstart.studio.learning_schemas import ExportRequest, FitRequest, JobsView, JobView

__all__ = ["add_jobs"]

_REFUSALS = refusals(400, 401, 403, 404, 408, 413, 421, 422, 503)

JobId = Annotated[int, InPath(ge=1, le=2**53 - 1)]


def add_jobs(app: FastAPI, studio: Studio) -> None:
    """Add the routes."""
    learning = studio.learning

    @app.post("/api/fit", summary="Train on the labels", status_code=HTTPStatus.ACCEPTED, responses=_REFUSALS)
    def fit(asked: FitRequest) -> JobView:
        return JobView.model_validate(learning.jobs.start("fit", {"budget": asked.budget}))

    @app.post("/api/exports", summary="Export a run", status_code=HTTPStatus.ACCEPTED, responses=_REFUSALS)
    def export(asked: ExportRequest) -> JobView:
        given = {"format": asked.format, **({} if asked.run is None else {"run": asked.run})}
        return JobView.model_validate(learning.jobs.start("export", given))

    @app.get("/api/jobs", summary="The jobs since the start, newest first", responses=refusals(401, 421, 503))
    def jobs() -> JobsView:
        return JobsView(jobs=[JobView.model_validate(job) for job in learning.jobs.all()])

    @app.get("/api/jobs/{number}", summary="A job", responses=refusals(401, 404, 421, 422, 503))
    def job(number: JobId) -> JobView:
        return JobView.model_validate(learning.jobs.get(number))

    @app.post("/api/jobs/{number}/stop", summary="Stop a job", responses=_REFUSALS)
    def stop(number: JobId) -> JobView:
        return JobView.model_validate(learning.jobs.stop(number))
