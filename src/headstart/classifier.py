"""The artifact: a network, its class names and its input, in a folder of safetensors and JSON that needs no other."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import nn

from headstart import __version__, places
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.uri import to_path
from headstart.data.views import read_views
from headstart.errors import HeadstartError, ImageProblem, ModelError, RunError
from headstart.evaluate import Novelty, prediction_sets
from headstart.features.values import as_kept
from headstart.files import replacing, write_json
from headstart.models.backbone import build, load_backbone
from headstart.models.cut import Cut, cut
from headstart.models.engine import Engine, choose_batch, open_engine, refuse_int8
from headstart.models.foreign import ForeignNetwork, build_foreign
from headstart.models.prepared import place
from headstart.models.quantized import Calibration, calibration
from headstart.progress import Progress
from headstart.settings import EngineSettings
from headstart.train.outputs import Outputs, mean_outputs, outputs
from headstart.train.part import Kept

__all__ = ["Classifier", "Examined", "Sets", "images_as_manifest", "load", "softmax"]

Images = str | Path | NDArray[Any] | Sequence[str | Path | NDArray[Any]] | Manifest

_FORMAT = 1  # of model.json
_NOVELTY = "novelty.safetensors"  # what pictures of the classes look like
_FEW = 256  # images; for fewer, OpenVINO's preparation (2 s) takes longer than it saves
_KEPT = 2  # engines: some hundred megabytes each; whoever serves needs one for single pictures, one for many
_PREPARING = threading.Lock()  # no two at once: they would fight for the cores, and one be thrown away


@dataclass(frozen=True)
class Sets:
    """How sets of classes are made that hold the true one as often as was asked for."""

    threshold: float  # of headstart.evaluate.conformal_threshold
    coverage: float

    def of(self, probabilities: NDArray[np.float32], classes: Sequence[str]) -> list[list[str]]:
        """Each image's set, likeliest first, from its probabilities (N, C).

        >>> Sets(threshold=0.7, coverage=0.9).of(np.array([[0.3, 0.6, 0.1]]), ["ant", "bee", "cat"])
        [['bee', 'ant']]
        """
        held = prediction_sets(probabilities, self.threshold)
        return [
            [classes[index] for index in np.argsort(-row, kind="stable") if mine[index]]
            for row, mine in zip(probabilities, held, strict=True)
        ]


@dataclass(frozen=True)
class Examined:
    """What a classifier says of images: of those that could be read, N in order."""

    probabilities: NDArray[np.float32]  # (N, C)
    strangeness: NDArray[np.float64] | None  # (N,), see headstart.evaluate.Novelty; None where it was never learned
    problems: list[tuple[int, str]]  # (row, reason) of the others


@dataclass(frozen=True, eq=False)
class Classifier:
    """Tells what is in a picture.

    >>> classifier = Classifier.pretrained("tf_efficientnet_lite0")
    >>> from skimage import data
    >>> classifier.top_k(data.coffee(), 1)[0][0]
    'espresso'
    """

    network: nn.Module  # in evaluation mode
    classes: tuple[str, ...]  # in the order of the logits
    spec: InputSpec
    model: str  # timm's name
    train: str  # what was trained, which says where the network is cut
    temperature: float = 1.0
    facts: dict[str, Any] = field(default_factory=dict)  # where the weights came from, versions
    mirror: bool = False  # whether each picture is averaged with its mirror image
    sets: Sets | None = None
    novelty: Novelty | None = None

    @classmethod
    def pretrained(cls, model: str, *, weights: str | None = None, progress: Progress | None = None) -> Classifier:
        """A network with its own pretrained head; classes whose names are not known are called "class 0" and so on.

        :raises ModelError: no such model, or it has no head.
        """
        backbone = load_backbone(model, weights_file=weights, progress=progress)
        size: int = backbone.module.num_classes  # type: ignore[assignment]
        if not size:
            raise ModelError(
                f"{model}: it has no classes of its own, so that it predicts nothing; headstart fit gives it some"
            )
        classes = backbone.classes or tuple(f"class {index}" for index in range(size))
        facts = {"source": backbone.source, "licence": backbone.licence}
        return cls(backbone.module, classes, backbone.spec, backbone.name, "head", facts=facts)

    # -- prediction ---------------------------------------------------------------------------------------------------

    def predict_proba(self, images: Images, *, settings: EngineSettings | None = None) -> NDArray[np.float32]:
        """Probabilities, (N, C), in the order of ``classes``; rows sum to 1.

        Fewer than 256 images a call are run by torch, which needs no preparation. Whoever asks for a few again and
        again (a server) says ``EngineSettings(engine="openvino", extract_batch=1)``: it is prepared in the first call
        (2 s) and kept for those that follow.

        :param images: a path, an array (H, W, 3), or a list of these.
        :raises ImageProblem: one cannot be read. :meth:`probabilities` sets such images aside and goes on.
        """
        manifest = images_as_manifest(images)
        probabilities, problems = self.probabilities(manifest, settings=settings)
        if problems:
            row, reason = problems[0]
            raise ImageProblem(manifest.uris[row], reason)
        return probabilities

    def predict(self, images: Images, *, settings: EngineSettings | None = None) -> NDArray[np.str_]:
        """The likeliest class of each image, (N,)."""
        return np.asarray(np.array(self.classes)[self.predict_proba(images, settings=settings).argmax(1)])

    def top_k(self, image: str | Path | NDArray[Any], k: int = 5) -> list[tuple[str, float]]:
        """The ``k`` likeliest classes of one image with their probabilities, likeliest first."""
        shares = self.predict_proba([image])[0]
        return [(self.classes[index], float(shares[index])) for index in np.argsort(-shares, kind="stable")[:k]]

    def predict_sets(self, images: Images, *, settings: EngineSettings | None = None) -> list[list[str]]:
        """The classes of each image that hold the true one as often as was asked for (``--coverage``), likeliest first.

        :raises ModelError: the classifier was not fitted by headstart, so that its percentages promise nothing.
        """
        if self.sets is None:
            raise ModelError(f"{self.model}: sets of classes need a classifier that headstart fit has made")
        return self.sets.of(self.predict_proba(images, settings=settings), self.classes)

    def probabilities(
        self, manifest: Manifest, *, settings: EngineSettings | None = None, progress: Progress | None = None
    ) -> tuple[NDArray[np.float32], list[tuple[int, str]]]:
        """Probabilities of the images that can be read, in order, and (row, reason) of the others."""
        found = self.examine(manifest, settings=settings, progress=progress)
        return found.probabilities, found.problems

    def examine(
        self, manifest: Manifest, *, settings: EngineSettings | None = None, progress: Progress | None = None
    ) -> Examined:
        """Probabilities, and how unlike the classes' pictures each image is."""
        settings = settings or EngineSettings()
        settings.check()
        run = self._runner(settings, manifest)
        parts: list[NDArray[np.float32]] = []
        strangeness: list[NDArray[np.float64]] = []
        problems: list[tuple[int, str]] = []
        views = read_views(
            manifest,
            range(len(manifest)),
            self.spec,
            batch=choose_batch(settings.extract_batch, settings.device),
            max_pixels=settings.max_pixels,
            workers=settings.workers,
        )
        with closing(views), (progress or Progress()).stage("predicting", total=len(manifest)) as advance:
            for some in views:
                problems += some.problems
                if some.rows:
                    found = run(np.stack(some.images))
                    parts.append(softmax(found.logits / self.temperature))
                    if self.novelty is not None and found.features is not None:
                        strangeness.append(self.novelty.scores(found.features))
                advance(len(some.rows) + len(some.problems))
        return Examined(
            np.concatenate(parts) if parts else np.empty((0, len(self.classes)), np.float32),
            np.concatenate(strangeness) if strangeness else None,
            problems,
        )

    def _runner(self, settings: EngineSettings, manifest: Manifest) -> Callable[[NDArray[np.uint8]], Outputs]:
        """Images (B, H, W, 3) to logits: the frozen part as in training, in the engine; the trained part in float32."""
        ranges = None
        if settings.precision == "int8":
            refuse_int8(settings.device, settings.engine)
            ranges = calibration(manifest, self.spec, max_pixels=settings.max_pixels, workers=settings.workers)
        elif len(manifest) < _FEW and settings.engine == "auto":
            most = choose_batch(settings.extract_batch, settings.device)
            settings = replace(settings, engine="torch", extract_batch=min(most, max(len(manifest), 1)))
        run = self._one_view(settings, ranges)
        if not self.mirror:
            return run
        return lambda views: mean_outputs([run(views), run(np.ascontiguousarray(views[:, :, ::-1]))])

    def _one_view(self, settings: EngineSettings, ranges: Calibration | None) -> Callable[[NDArray[np.uint8]], Outputs]:
        parts = self.parts
        if parts.at_image:
            whole = self._engine(self.network, settings, precision="float32", ranges=ranges)
            return lambda views: Outputs(whole(views), None)
        # A network as published was fitted in no precision: it gives what its authors published in float32 alone.
        engine = self._engine(parts.prefix, settings, precision=self.facts.get("precision", "float32"), ranges=ranges)
        store_as = self.facts.get("store_as", "float32")
        head = self.network.get_classifier() if self.novelty is not None else None  # type: ignore[operator]
        device = str(next(parts.tail.parameters()).device)
        return lambda views: outputs(parts.tail, head, Kept(as_kept(engine(views), store_as)), device=device)

    def _engine(
        self, module: nn.Module, settings: EngineSettings, *, precision: str, ranges: Calibration | None
    ) -> Engine:
        """What runs this module; the last ones are kept, since preparing them takes longer than running few images.

        :param precision: what "auto" means for this module.
        :param ranges: of its 8-bit numbers, where it shall have such.
        """
        precision = precision if settings.precision == "auto" else settings.precision
        batch = choose_batch(settings.extract_batch, settings.device)
        asked = (batch, settings.device, precision, settings.engine, ranges and ranges.name)
        with _PREPARING:
            engine = self._engines.pop(asked, None) or open_engine(
                module,
                self.spec,
                batch=batch,
                device=settings.device,
                precision=precision,
                engine=settings.engine,
                prepared=lambda: place(
                    places.prepared(), f"{self.model} to {self.parts.name}", module, self.spec, batch
                ),
                calibration=ranges,
            )
            self._engines[asked] = engine  # behind the others: what was asked for least lately goes first
            while len(self._engines) > _KEPT:
                del self._engines[next(iter(self._engines))]
        return engine

    @cached_property
    def _engines(self) -> dict[tuple[object, ...], Engine]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """For pickle, by which joblib sends a classifier to other processes: without what is made anew there."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @cached_property
    def parts(self) -> Cut:
        """The network cut where its training began."""
        return cut(self.network, self.train, input_shape=(3, self.spec.height, self.spec.width))

    # -- on disk ------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``model.json`` into a folder, and the frozen part if it is not torch's."""
        folder = Path(folder)
        state = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        with replacing(folder / "model.safetensors") as beside:
            save_file(state, beside)
            digest = _digest(beside)
        files = self.network.write(folder) if isinstance(self.network, ForeignNetwork) else {}
        novelty = None
        if self.novelty is not None:
            with replacing(folder / _NOVELTY) as beside:
                save_arrays(self.novelty.as_arrays(), beside)
                novelty = _digest(beside)
        facts = {**self._described(), "digest": digest, "files": files, "novelty": novelty}
        write_json(folder / "model.json", facts)
        return folder

    def _described(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "model": self.model,
            "train": self.train,
            "classes": list(self.classes),
            "input": self.spec.as_dict(),
            "temperature": self.temperature,
            "mirror": self.mirror,
            "sets": None if self.sets is None else vars(self.sets),
            "facts": self.facts,
            "headstart": __version__,
            "torch": torch.__version__,
        }


def load(folder: str | Path) -> Classifier:
    """A saved classifier, from its own folder or from the run folder that holds it.

    Needs neither the network nor the feature store; nothing in the folder is executed.

    :raises RunError: there is none, or it is damaged.
    """
    folder = Path(folder)
    place = folder if (folder / "model.json").exists() else folder / "classifier"
    for path in (place / "model.json", place / "model.safetensors"):
        if not path.is_file():
            raise RunError(f"{folder}: no classifier there, {path} is missing; headstart fit makes one")
    known, state = _read(place)
    try:
        if known["format"] != _FORMAT:
            raise ValueError(f"its format is {known['format']}, this version knows {_FORMAT}")
        classes, files = len(known["classes"]), known.get("files")
        network = build_foreign(place, files, classes=classes) if files else build(known["model"], classes=classes)
        network.load_state_dict(state)
        return Classifier(
            network.eval(),
            tuple(known["classes"]),
            InputSpec.from_dict(known["input"]),
            known["model"],
            known["train"],
            float(known["temperature"]),
            dict(known["facts"]),
            bool(known.get("mirror", False)),
            Sets(**known["sets"]) if known.get("sets") else None,
            _novelty(place / _NOVELTY, known["novelty"]) if known.get("novelty") else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, HeadstartError) as failure:
        raise RunError(f"{place}: not a classifier that this version can load ({failure})") from failure


def _read(place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        known = json.loads((place / "model.json").read_text(encoding="utf-8"))
        state = load_file(place / "model.safetensors")
        digest = _digest(place / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as failure:
        raise RunError(f"{place}: the classifier is damaged ({failure}); save it again") from failure
    if not isinstance(known, dict) or known.get("digest") != digest:
        raise RunError(f"{place}: model.json and model.safetensors do not belong together; save the classifier again")
    return known, state


def _novelty(path: Path, digest: str) -> Novelty:
    try:
        arrays = load_arrays(path)
        same = _digest(path) == digest
    except (OSError, ValueError, SafetensorError) as failure:
        raise RunError(f"{path}: damaged or missing ({failure}); save the classifier again") from failure
    if not same:
        raise RunError(f"{path}: does not belong to model.json beside it; save the classifier again")
    return Novelty.from_arrays(arrays)


def _digest(path: Path) -> str:
    total = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (N, C) to probabilities, without overflow."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)


def images_as_manifest(images: Images) -> Manifest:
    """A path, an array, a sequence of either, or a manifest, as a manifest.

    >>> images_as_manifest(["/photos/a.jpg", np.zeros((8, 8, 3))]).uris
    ['/photos/a.jpg', 'array:0']
    """
    if isinstance(images, Manifest):
        return images
    if isinstance(images, str | Path) or (
        isinstance(images, np.ndarray) and images.dtype.kind in "buf" and images.ndim < 4
    ):
        images = [images]
    arrays: list[NDArray[Any]] = []
    names: list[str | Path] = []
    for image in images:
        if isinstance(image, np.ndarray):
            names.append(f"array:{len(arrays)}")
            arrays.append(image)
        else:
            names.append(to_path(image) if isinstance(image, str) else Path(image))
    return Manifest.from_rows(names, arrays=arrays)
