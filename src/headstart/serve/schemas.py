"""The JSON that the server reads and writes; the OpenAPI document is made from it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "ClassProbability",
    "Explanation",
    "Health",
    "ImageData",
    "ImagePrediction",
    "Info",
    "Limits",
    "NearImage",
    "PredictRequest",
    "PredictResponse",
    "Problem",
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ImageData(_Model):
    """One image of a JSON request: its file in base64, or, where the server allows it, a path."""

    name: Annotated[str | None, Field(max_length=1024, description="returned with the prediction")] = None
    base64: Annotated[str | None, Field(description="the file, a JPEG for example, in base64")] = None
    path: Annotated[str | None, Field(max_length=4096, description="relative to the folder of --allow-paths")] = None

    @model_validator(mode="after")
    def _one_of(self) -> ImageData:
        if (self.base64 is None) == (self.path is None):
            raise ValueError("an image has either base64 or path")
        return self


class PredictRequest(_Model):
    """A JSON request for predictions."""

    images: Annotated[list[ImageData], Field(min_length=1)]


class ClassProbability(_Model):
    """A class with its probability."""

    name: str
    probability: Annotated[float, Field(ge=0, le=1.0001)]


class NearImage(_Model):
    """A training image with similar features."""

    label: str
    cosine: float
    thumbnail: Annotated[str | None, Field(description="data URI; null if the file is not there any more")]


class Explanation(_Model):
    """What the prediction for one image rests on."""

    saliency: Annotated[
        str | None, Field(description="data URI of the network's view, bright where it speaks for the first class")
    ]
    method: str | None
    neighbors: list[NearImage] | None


class ImagePrediction(_Model):
    """The prediction for one image, or the reason why there is none."""

    name: str
    problem: str | None = None
    top: list[ClassProbability] = []
    prediction_set: Annotated[
        list[str] | None, Field(description="contains the true class with the probability `coverage`")
    ] = None
    out_of_distribution: Annotated[bool | None, Field(description="whether it looks like none of the classes")] = None
    explanation: Explanation | None = None


class PredictResponse(_Model):
    """Predictions, in the order of the images."""

    model: str
    coverage: float | None
    images: list[ImagePrediction]


class Limits(_Model):
    """What the server accepts."""

    megabytes: int
    pixels: int
    files: int
    queue: int
    seconds: float


class Info(_Model):
    """What the server is and accepts: the same as the page at /."""

    name: str
    model: str
    headstart: str
    licence: str
    classes: list[str]
    input: Annotated[list[int], Field(description="height and width in pixels")]
    calibrated: bool
    coverage: float | None
    detects_out_of_distribution: bool
    report: bool
    paths: bool
    limits: Limits


class Health(_Model):
    """Whether the server is alive, or ready."""

    status: str


class Problem(_Model):
    """A refusal: RFC 9457, Problem Details for HTTP APIs."""

    type: str
    title: str
    status: int
    detail: str
