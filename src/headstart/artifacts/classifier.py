"""The classifier: a network with its classes and input, saved as a self-contained folder of safetensors and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headstart import __version__
from headstart.artifacts.model_document import (
    InputRecord,
    ModelDocument,
    ModelMetadata,
    StageRecord,
    read_model_document,
    write_model_document,
)
from headstart.artifacts.run_name import local_run
from headstart.config import EngineSettings, InputSettings
from headstart.data.inputs import AnyImage, Images, images_as_manifest
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.documents import file_checksum
from headstart.errors import HeadstartError, ImageProblem, ModelError, RunError
from headstart.evaluate import OODDetector
from headstart.events import Events
from headstart.files import finish_replacing, replace_together
from headstart.inference.pipeline import Decision, InferencePipeline, Job
from headstart.inference.results import InferenceResult, PredictionSetRule, set_names
from headstart.models.backbone import build, load_backbone
from headstart.models.importers.graphs import ImportedNetwork, build_imported
from headstart.models.stage_head import Stage, add_stage_head, stage_head

__all__ = ["Classifier", "ModelMetadata", "load"]

_DOCUMENT = "model.json"
_WEIGHTS = "model.safetensors"
_OOD_DETECTOR = "ood_detector.safetensors"
_NO_METADATA = ModelMetadata(source="not stated", licence="not stated")


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network that predicts the class of an image.

    Threads may share a classifier, and pickle copies it to other processes.

    >>> classifier = Classifier.pretrained("tf_efficientnet_lite0")
    >>> from skimage import data
    >>> classifier.top_k(data.coffee(), 1)[0][0]
    'espresso'
    """

    network: nn.Module  # in evaluation mode
    classes: tuple[str, ...]  # in the order of the logits
    spec: InputSpec
    model: str  # name of the network
    train: str  # what was trained, which decides where the network is cut
    temperature: float = 1.0
    metadata: ModelMetadata = _NO_METADATA
    tta_flip: bool = False  # whether each image is averaged with its mirror image
    sets: PredictionSetRule | None = None
    ood_detector: OODDetector | None = None
    pipeline: InferencePipeline = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pipeline = InferencePipeline(
            self.network,
            len(self.classes),
            self.spec,
            self.model,
            self.train,
            Decision(self.temperature, self.sets, self.ood_detector),
            tta_flip=self.tta_flip,
            precision=self.metadata.precision,
            feature_dtype=self.metadata.feature_dtype,
        )
        object.__setattr__(self, "pipeline", pipeline)  # the class is frozen

    @classmethod
    def pretrained(
        cls,
        model: str,
        *,
        weights: str | None = None,
        input_settings: InputSettings | None = None,
        events: Events | None = None,
    ) -> Classifier:
        """A pretrained network with its own head. Classes of unknown name are called "class 0", "class 1" and so on.

        :param input_settings: changes to the input that the network's own configuration states, and its class names.
        :raises ModelError: there is no such model, or it has no head.
        """
        changed = input_settings or InputSettings()
        backbone = load_backbone(model, weights_file=weights, class_names=changed.class_names, events=events)
        backbone = backbone.with_input(**changed.input_changes())
        for line in backbone.reading():
            (events or Events()).notice(line)
        size: int = backbone.module.num_classes  # type: ignore[assignment]
        if not (size and backbone.has_head):
            raise ModelError(f"{model}: the network has no classes of its own; train it with headstart fit")
        classes = backbone.classes or tuple(f"class {index}" for index in range(size))
        metadata = ModelMetadata(backbone.source, backbone.licence)
        return cls(backbone.module, classes, backbone.spec, backbone.name, "head", metadata=metadata)

    def infer(
        self, manifest: Manifest, *, settings: EngineSettings | None = None, events: Events | None = None
    ) -> InferenceResult:
        """Probabilities, prediction sets and out-of-distribution scores of the images that can be read.

        :raises SettingsError: a setting is invalid, or the device or engine is not available.
        """
        return self.pipeline.infer(manifest, settings=settings, events=events)

    def for_parts(self, manifest: Manifest, settings: EngineSettings) -> Callable[[Manifest], InferenceResult]:
        """What predicts parts of a manifest as :meth:`infer` predicts the whole; it can be pickled.

        :raises SettingsError: precision int8 is not possible, or there are too few images for it.
        """
        return partial(self.pipeline.infer, settings=settings, job=Job.of(manifest, settings, self.spec))

    def predict_proba(self, images: Images, *, settings: EngineSettings | None = None) -> NDArray[np.float32]:
        """Probabilities, (N, C), in the order of ``classes``; rows sum to 1.

        An image is a path, a URI, the bytes of a file, a PIL image, an array (H, W) or (H, W, C) of uint8, uint16, bool
        or floats in [0, 1], or a torch tensor (C, H, W). ``images`` is one of these, a batch of arrays (N, H, W) or
        (N, H, W, C) or of tensors (N, C, H, W), a list of images, or a manifest.

        Fewer than 256 images per call are run by torch, which needs no preparation. For many calls with a few images
        each, as in a server, use ``EngineSettings(engine="openvino", extract_batch_size=1)``: the engine is prepared in
        the first call (2 s) and kept for the next ones.

        :raises TypeError: an image is something else.
        :raises DataError: the shape of an array or tensor is that of no image, or could be read in two ways.
        :raises ImageProblem: an image cannot be read. :meth:`infer` skips such images instead.
        """
        return self._infer_all(images, settings).probabilities

    def predict(self, images: Images, *, settings: EngineSettings | None = None) -> NDArray[np.str_]:
        """The most probable class of each image, (N,); ``images`` are those of :meth:`predict_proba`.

        :raises ImageProblem: an image cannot be read.
        """
        return np.asarray(np.array(self.classes)[self.predict_proba(images, settings=settings).argmax(1)])

    def top_k(self, image: AnyImage, k: int = 5) -> list[tuple[str, float]]:
        """The ``k`` most probable classes of one image with their probabilities, most probable first.

        :raises ImageProblem: the image cannot be read.
        """
        probabilities = self.predict_proba([image])[0]
        order = np.argsort(-probabilities, kind="stable")[:k]
        return [(self.classes[index], float(probabilities[index])) for index in order]

    def predict_sets(self, images: Images, *, settings: EngineSettings | None = None) -> list[list[str]]:
        """The prediction set of each image, most probable class first.

        A set contains the true class with the probability that the fit was given as ``coverage``.

        :raises ModelError: the classifier was not made by ``headstart fit``, so its probabilities are not calibrated.
        :raises ImageProblem: an image cannot be read.
        """
        if self.sets is None:
            raise ModelError(f"{self.model}: prediction sets need a classifier that was made by headstart fit")
        result = self._infer_all(images, settings)
        assert result.prediction_sets is not None
        return set_names(result.probabilities, result.prediction_sets, self.classes)

    def _infer_all(self, images: Images, settings: EngineSettings | None) -> InferenceResult:
        manifest = images_as_manifest(images)
        result = self.infer(manifest, settings=settings)
        if result.problems:
            row, reason = result.problems[0]
            raise ImageProblem(manifest.uris[row], reason)
        return result

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``model.json`` into a folder, and further files where they are needed.

        These are ``ood_detector.safetensors``, and the frozen part of a network that was imported from another
        framework. They replace those of a classifier that was saved there before, all together.
        """
        folder = Path(folder)
        with replace_together(folder) as new:
            self._write(new)
        if self.ood_detector is None:  # that of the other classifier
            (folder / _OOD_DETECTOR).unlink(missing_ok=True)
        return folder

    def _write(self, folder: Path) -> None:
        state = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        with _readable_by_others(folder / _WEIGHTS) as path:
            save_file(state, path)
        files = self.network.save_graph(folder) if isinstance(self.network, ImportedNetwork) else {}
        of_stages = stage_head(self.network)
        document = ModelDocument(
            model=self.model,
            train=self.train,
            classes=self.classes,
            input=InputRecord.of(self.spec),
            temperature=self.temperature,
            tta_flip=self.tta_flip,
            prediction_sets=self.sets,
            metadata=self.metadata,
            headstart=__version__,
            torch=torch.__version__,
            digest=file_checksum(folder / _WEIGHTS),
            stages=() if of_stages is None else tuple(StageRecord(**asdict(stage)) for stage in of_stages.stages),
            files=files,
            ood_detector=None if self.ood_detector is None else _save_ood_detector(self.ood_detector, folder),
        )
        write_model_document(folder / _DOCUMENT, document)


def load(folder: str | Path) -> Classifier:
    """Load a saved classifier from its own folder, a run folder, the Hugging Face Hub, or object storage.

    A folder needs neither network access nor the feature store. ``hf:OWNER/NAME``, ``hf:OWNER/NAME@REVISION`` or an
    address such as ``s3://bucket/runs/dogs`` is fetched, and kept. Nothing in any of them is executed.

    :raises RunError: there is no classifier, or it is damaged; the message names the file, and a field of the document.
    """
    folder = Path(local_run(folder))
    finish_replacing(folder)
    finish_replacing(folder / "classifier")
    root = folder if (folder / _DOCUMENT).exists() else folder / "classifier"
    for path in (root / _DOCUMENT, root / _WEIGHTS):
        if not path.is_file():
            raise RunError(f"{folder}: no classifier found: {path} is missing; headstart fit makes one")
    document = read_model_document(root / _DOCUMENT)
    state = _load_state(root / _WEIGHTS, document.digest)
    detector = None if document.ood_detector is None else _load_ood_detector(root, document.ood_detector)
    classes, files = len(document.classes), document.files
    try:
        network = build_imported(root, files, classes=classes) if files else build(document.model, classes=classes)
        if document.stages:
            add_stage_head(network, [Stage(**asdict(record)) for record in document.stages], classes)
        network.load_state_dict(state)
    except (TypeError, ValueError, AttributeError, RuntimeError, HeadstartError) as failure:
        raise RunError(f"{root}: this version of headstart cannot load the classifier ({failure})") from failure
    if detector is not None:
        _check_detector(detector, network, classes, root)
    return Classifier(
        network.eval(),
        document.classes,
        document.input.spec(),
        document.model,
        document.train,
        document.temperature,
        document.metadata,
        document.tta_flip,
        document.prediction_sets,
        detector,
    )


@contextmanager
def _readable_by_others(path: Path) -> Iterator[Path]:
    """Give a file the permissions of a new one: safetensors writes files that only their owner may read."""
    path.touch()
    mode = path.stat().st_mode
    yield path
    path.chmod(mode)


def _load_state(path: Path, digest: str) -> dict[str, Tensor]:
    _check_digest(path, digest)
    try:
        state: dict[str, Tensor] = load_file(path)
    except (OSError, ValueError, SafetensorError) as failure:
        raise RunError(f"{path}: damaged ({failure}). Save the classifier again.") from failure
    return state


def _save_ood_detector(detector: OODDetector, folder: Path) -> str:
    with _readable_by_others(folder / _OOD_DETECTOR) as path:
        save_arrays(detector.as_arrays(), path)
    return file_checksum(folder / _OOD_DETECTOR)


def _load_ood_detector(folder: Path, digest: str) -> OODDetector:
    path = folder / _OOD_DETECTOR
    _check_digest(path, digest)
    try:
        arrays = load_arrays(path)
    except (OSError, ValueError, SafetensorError) as failure:
        raise RunError(f"{path}: damaged ({failure}). Save the classifier again.") from failure
    return OODDetector.from_arrays(arrays)


def _check_detector(detector: OODDetector, network: nn.Module, classes: int, folder: Path) -> None:
    """Check that the detector scores what the head of the network takes."""
    head = network.get_classifier()  # type: ignore[operator]
    width, (rows, columns) = getattr(head, "in_features", None), detector.means.shape
    if rows > classes or columns != (columns if width is None else width):
        raise RunError(
            f"{folder / _OOD_DETECTOR}: damaged: it has {rows} classes of {columns} features, but the network has "
            f"{classes} of {width}. Save the classifier again."
        )


def _check_digest(path: Path, expected: str) -> None:
    """Check a file before it is parsed."""
    try:
        found = file_checksum(path)
    except OSError as failure:
        raise RunError(f"{path}: damaged or missing ({failure}). Save the classifier again.") from failure
    if found != expected:
        raise RunError(f"{path}: damaged, or does not belong to the {_DOCUMENT} beside it. Save the classifier again.")
