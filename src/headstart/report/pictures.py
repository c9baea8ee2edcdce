"""Which pictures the page shows, and their thumbnails."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from headstart.data.decode import decode
from headstart.data.manifest import Manifest
from headstart.data.uri import to_path
from headstart.errors import ImageProblem
from headstart.evaluate.metrics import decisions

__all__ = ["Choice", "Pair", "Predictions", "Thumbnail", "Worst", "choose", "sample", "thumbnails"]

SIDE = 160  # pixels of a thumbnail; it is shown at half of that, sharp on dense screens
SMALL = 48  # below it a picture is kept pixel for pixel
SAMPLES, PAIRS, MISTAKEN, CASES = 24, 8, 4, 6


@dataclass(frozen=True)
class Predictions:
    """The evaluated images: uris and targets (N,), probabilities (N, C) in the order of ``classes``."""

    uris: list[str]
    targets: NDArray[np.int64]
    probabilities: NDArray[np.floating[Any]]
    classes: list[str]

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The class that each image is taken for."""
        return decisions(self.targets, self.probabilities)


@dataclass(frozen=True)
class Pair:
    """Two classes that are confused: an image of each that the model is sure and right about, and the mistaken."""

    true: str
    predicted: str
    images: int
    share: float  # of the images of the true class
    clear_true: str | None  # uri
    clear_predicted: str | None
    mistaken: list[str]  # uris, the surest first


@dataclass(frozen=True)
class Worst:
    """A class of which little is found, with its surest mistakes."""

    name: str
    images: int
    recall: dict[str, float]  # with its interval
    taken_for: list[tuple[str, int]]  # class, images
    mistaken: list[str]  # uris, the surest first


@dataclass(frozen=True)
class Choice:
    """The pictures of the page: uris of samples with their labels, and rows of the predictions."""

    samples: list[tuple[str, str]]
    pairs: list[Pair]
    worst: list[Worst]
    random: list[int]
    surest_wrong: list[int]
    case_uris: list[str]

    @property
    def uris(self) -> list[str]:
        """Every uri once."""
        pairs = [uri for pair in self.pairs for uri in (pair.clear_true, pair.clear_predicted, *pair.mistaken) if uri]
        worst = [uri for each in self.worst for uri in each.mistaken]
        return list(dict.fromkeys([uri for uri, _ in self.samples] + pairs + worst + self.case_uris))


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a data URI, or why there is none."""

    data: str | None
    side: int = 0  # pixels
    reason: str = ""


def choose(
    images: Manifest,
    predictions: Predictions,
    pairs: Sequence[dict[str, Any]],
    worst: Sequence[dict[str, Any]] = (),
    *,
    seed: int,
) -> Choice:
    """Choose the pictures; all of it depends on the seed and the run alone.

    ``pairs`` are the evaluation's, ``worst`` those of :func:`headstart.evaluate.worst`.
    """
    rng = np.random.default_rng(seed)
    labels = images.labels
    uris = images.uris
    rows = sample(labels, most=SAMPLES, rng=rng)
    # Most are drawn blindly, so that the page shows the model as it is, not at its best.
    random = rng.permutation(len(predictions.uris))[:CASES].tolist()
    wrong = np.flatnonzero(predictions.predicted != predictions.targets)
    surest = wrong[np.argsort(-predictions.probabilities.max(axis=1)[wrong], kind="stable")][:CASES].tolist()
    return Choice(
        samples=[(uris[row], str(labels[row])) for row in rows],
        pairs=[_pair(pair, predictions) for pair in pairs[:PAIRS]],
        worst=[_worst(row, predictions) for row in worst],
        random=random,
        surest_wrong=surest,
        case_uris=[predictions.uris[row] for row in (*random, *surest)],
    )


def sample(labels: Sequence[str | None], *, most: int, rng: np.random.Generator) -> list[int]:
    """Rows of labelled images, drawn so that each class comes once before any comes twice; sorted by label.

    >>> labels = ["cat", "cat", "cat", "dog", None, "owl"]
    >>> [labels[row] for row in sample(labels, most=4, rng=np.random.default_rng(0))]
    ['cat', 'cat', 'dog', 'owl']
    """
    of_class: dict[str, list[int]] = defaultdict(list)
    for row in rng.permutation(len(labels)).tolist():
        label = labels[row]
        if label is not None:
            of_class[label].append(row)
    # The first of every class, then the second of every class, ...: shuffled within each turn by the permutation.
    turns = [(turn, row) for rows in of_class.values() for turn, row in enumerate(rows)]
    chosen = [row for _, row in sorted(turns, key=lambda item: item[0])[:most]]
    return sorted(chosen, key=lambda row: (str(labels[row]), row))


def _pair(pair: dict[str, Any], predictions: Predictions) -> Pair:
    true, taken_for = (predictions.classes.index(pair[key]) for key in ("true", "predicted"))
    mistaken = np.flatnonzero((predictions.targets == true) & (predictions.predicted == taken_for))
    order = np.argsort(-predictions.probabilities[mistaken, taken_for], kind="stable")
    return Pair(
        true=pair["true"],
        predicted=pair["predicted"],
        images=pair["images"],
        share=pair["share"],
        clear_true=_clearest(true, predictions),
        clear_predicted=_clearest(taken_for, predictions),
        mistaken=[predictions.uris[row] for row in mistaken[order][:MISTAKEN]],
    )


def _worst(row: dict[str, Any], predictions: Predictions) -> Worst:
    true = predictions.classes.index(row["class"])
    missed = np.flatnonzero((predictions.targets == true) & (predictions.predicted != true))
    order = np.argsort(-predictions.probabilities[missed].max(axis=1), kind="stable")
    uris = [predictions.uris[number] for number in missed[order][:MISTAKEN]]
    return Worst(row["class"], row["images"], row["recall"], row["taken_for"], uris)


def _clearest(number: int, predictions: Predictions) -> str | None:
    right = np.flatnonzero((predictions.targets == number) & (predictions.predicted == number))
    if not len(right):
        return None
    return predictions.uris[int(right[predictions.probabilities[right, number].argmax()])]


def thumbnails(uris: Iterable[str]) -> dict[str, Thumbnail]:
    """A thumbnail a uri, in parallel; pictures that are gone or held in memory only have a reason instead."""
    wanted = list(uris)
    with ThreadPoolExecutor() as pool:
        return dict(zip(wanted, pool.map(_thumbnail, wanted), strict=True))


def _thumbnail(uri: str) -> Thumbnail:
    if uri.startswith("array:"):
        return Thumbnail(None, reason="it was in memory only")
    try:
        image = decode(to_path(uri))
    except ImageProblem as problem:
        return Thumbnail(None, reason=problem.reason)
    side = min(SIDE, *image.size)
    image = ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if side < SMALL:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=80, optimize=True)
    kind = "png" if side < SMALL else "jpeg"
    return Thumbnail(f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}", side)
