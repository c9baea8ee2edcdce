"""What is learned from the labels, and trying it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Query
from fastapi import Path as InPath
from starlette.requests import Request
from starlette.responses import Response

from headstart.data.projects.outputs import run_folder
from headstart.errors import DataError, ImageProblem
from headstart.serve.openapi import Responses, images_body, refusals
from headstart.serve.problems import Refusal
from headstart.serve.schemas import ClassProbability, ImagePrediction, PredictResponse
from headstart.studio.context import Studio
from headstart.studio.learning_schemas import EvaluationView, LearningView

if TYPE_CHECKING:
    from headstart.serve.service import Upload

__all__ = ["add_learning", "learning_view"]

_COVERAGE = 0.9  # of the sets of the live classifier
_MOST = 32  # images per request
_PNG: Responses = {200: {"description": "the image", "content": {"image/png": {}}}}


def learning_view(studio: Studio) -> LearningView:
    """How far the live classifier is, also before it is loaded."""
    learning = studio.learning
    state = learning.state()
    if state is not None:
        return LearningView.model_validate(state)
    return LearningView(
        phase="failed" if learning.failed else "opening", model=learning.settings.model, message=learning.message
    )


def add_learning(app: FastAPI, studio: Studio) -> None:
    """Add the routes."""
    _add_predict(app, studio)
    project, learning = studio.project, studio.learning

    @app.get("/api/learning", summary="How far the live classifier is", responses=refusals(401, 421))
    def state() -> LearningView:
        return learning_view(studio)

    @app.get("/api/evaluation", summary="Where the live classifier errs", responses=refusals(401, 421, 503))
    def evaluation() -> EvaluationView:
        found = learning.live.evaluation()
        if found is None:
            return EvaluationView(
                revision=0, images=0, accuracy=None, classes=[], confusion=[], bins=[], errors=[], wrong=[]
            )
        values = {name: getattr(found, name) for name in EvaluationView.model_fields if name != "confusion"}
        return EvaluationView.model_validate({**values, "confusion": found.confusion.tolist()}, from_attributes=True)

    @app.get(
        "/api/images/{number}/saliency",
        summary="Where the network looked, as a PNG",
        response_class=Response,
        responses=_PNG | refusals(401, 404, 409, 421, 422, 503),
    )
    def saliency(number: Annotated[int, InPath(ge=1, le=2**53 - 1)]) -> Response:
        project.image(number)
        try:
            return Response(learning.live.saliency(number), media_type="image/png")
        except ImageProblem as problem:
            raise Refusal(HTTPStatus.NOT_FOUND, f"the image cannot be read: {problem.reason}") from None
        except DataError as refused:
            raise Refusal(HTTPStatus.CONFLICT, str(refused)) from None


def _add_predict(app: FastAPI, studio: Studio) -> None:
    learning = studio.learning

    @app.post(
        "/api/predict",
        summary="Predict the classes of images, which are not kept",
        responses=refusals(400, 401, 403, 404, 408, 409, 413, 415, 421, 422, 503),
        openapi_extra=images_body("image/jpeg", "image/png"),
    )
    async def predict(
        request: Request,
        run: Annotated[str, Query(max_length=200, description="name of a run, or live")] = "live",
    ) -> PredictResponse:
        if run == "live":
            _ = learning.live  # which says whether there is one, before anything is read
        else:
            run_folder(studio.project.folder, run)
        read_uploads = await asyncio.to_thread(_uploads_reader)
        uploads = await read_uploads(request, max_files=_MOST, paths=None)
        if run != "live":
            service = await asyncio.to_thread(studio.service_of, run)
            images, _ = await service.predict(uploads, top=5, explain=False)
            sets = service.classifier.sets
            return PredictResponse(
                model=service.classifier.model, coverage=None if sets is None else sets.coverage, images=images
            )
        given = [(each.name, each.content) for each in uploads if each.problem is None]
        answers = iter(await asyncio.to_thread(_predict_live, studio, given))
        return PredictResponse(
            model=learning.settings.model,
            coverage=_COVERAGE,
            images=[
                next(answers) if each.problem is None else ImagePrediction(name=each.name, problem=each.problem)
                for each in uploads
            ],
        )


def _uploads_reader() -> Callable[..., Awaitable[list[Upload]]]:
    """The function that reads the images of a request; importing it takes seconds, since that imports torch."""
    from headstart.serve.uploads import read_uploads

    return read_uploads


def _predict_live(studio: Studio, images: Sequence[tuple[str, bytes]]) -> list[ImagePrediction]:
    try:
        found = studio.learning.live.predict(images)
    except DataError as refused:
        raise Refusal(HTTPStatus.CONFLICT, str(refused)) from None
    return [
        ImagePrediction(
            name=each.name,
            problem=each.problem,
            top=[ClassProbability(name=guess.name, probability=guess.probability) for guess in each.top],
            prediction_set=None if each.prediction_set is None else list(each.prediction_set),
            out_of_distribution=each.out_of_distribution,
        )
        for each in found
    ]
