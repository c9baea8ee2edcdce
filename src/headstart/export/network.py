"""A classifier as one torch module, from images of any size to calibrated probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from headstart import __version__
from headstart.artifacts.classifier import Classifier
from headstart.artifacts.model_document import InputRecord
from headstart.data.transforms import min_source_side
from headstart.errors import ModelError
from headstart.evaluate import OODDetector
from headstart.export.metadata import ExportMetadata
from headstart.export.resizing import PillowResize
from headstart.inference.engine import Normalized
from headstart.models.importers.graphs import ImportedNetwork
from headstart.models.trace import TRACING

__all__ = ["ExportNetwork", "export_program"]

_LARGEST_FLOAT16 = 65504.0
_EXAMPLE = 2, 300, 400, 3  # different sides, so that none is taken for another


class ExportNetwork(nn.Module):
    """Decoded images in, probabilities out, and the out-of-distribution score where the classifier has a detector.

    ``metadata`` is what a file of it says about itself.

    :param branches: see :class:`headstart.export.resizing.PillowResize`.
    :raises ModelError: the network is a graph of another framework.
    :raises SettingsError: its interpolation cannot be exported.
    """

    def __init__(self, classifier: Classifier, *, branches: bool = True) -> None:
        super().__init__()
        if isinstance(classifier.network, ImportedNetwork):
            raise ModelError(
                f"{classifier.model}: a network that was read from an ONNX file, a SavedModel or a Keras file is not "
                'of torch and cannot be exported; fit one that "headstart models" lists'
            )
        parts = classifier.pipeline.parts
        self.resize = PillowResize(classifier.spec, branches=branches)
        # Where pixels are stored, not features, the first part is nothing and the second one the whole network.
        self.prefix = Normalized(parts.tail if parts.at_image else parts.prefix, classifier.spec)
        self.tail = nn.Identity() if parts.at_image else parts.tail
        self.rounds = classifier.metadata.feature_dtype == "float16" and not parts.at_image
        self.flips, self.temperature = classifier.tta_flip, classifier.temperature
        head = None if parts.at_image else classifier.network.get_classifier()  # type: ignore[operator]
        self._head = [head] if isinstance(head, nn.Module) else []  # in a list, since it is a part of the tail already
        detector = classifier.ood_detector
        self.detector = _Scores(detector) if detector is not None and self._head else None
        self.metadata = _metadata(classifier, scores=self.detector is not None)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Turn images, uint8 (N, H, W, 3), into probabilities (N, C), and scores (N,)."""
        pixels = self.resize(images)
        logits, embeddings = self._run(pixels)
        if self.flips:
            mirrored, others = self._run(pixels.flip(3))
            logits, embeddings = (logits + mirrored) / 2, (embeddings + others) / 2
        probabilities = torch.softmax(logits / self.temperature, 1)
        return (probabilities,) if self.detector is None else (probabilities, self.detector(embeddings))

    def _run(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and what the head is given: nothing where there is no detector."""
        features = self.prefix(pixels.permute(0, 2, 3, 1))
        if self.rounds:  # as the fit stored them
            features = features.clamp(-_LARGEST_FLOAT16, _LARGEST_FLOAT16).half().float()
        given: list[Tensor] = []
        if self.detector is None:
            return self.tail(features), features.new_zeros(())
        hook = self._head[0].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            logits = self.tail(features)
        finally:
            hook.remove()
        return logits, given[0]


class _Scores(nn.Module):
    """:meth:`headstart.evaluate.OODDetector.scores` as a module."""

    means: Tensor
    directions: Tensor
    gains: Tensor

    def __init__(self, detector: OODDetector) -> None:
        super().__init__()
        self.register_buffer("means", torch.from_numpy(detector.means).float())
        self.register_buffer("directions", torch.from_numpy(detector.directions).float())
        self.register_buffer("gains", torch.from_numpy(detector.gains).float())
        self.precision = detector.precision

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, D) to scores (N,)."""
        lengths = (features * features).sum(1, keepdim=True).sqrt()
        own = features / lengths.clamp(min=torch.finfo(torch.float32).tiny)
        differences = own.unsqueeze(1) - self.means  # (N, K, D)
        along = differences @ self.directions.t()  # (N, K, Q)
        distances = self.precision * (differences * differences).sum(2) - (along * along) @ self.gains
        return distances.amin(1) / self.means.shape[1]


def _metadata(classifier: Classifier, *, scores: bool) -> ExportMetadata:
    """What the file will say about itself.

    :param scores: whether the network returns out-of-distribution scores.
    """
    detector = classifier.ood_detector
    return ExportMetadata(
        model=classifier.model,
        classes=classifier.classes,
        input=InputRecord.of(classifier.spec),
        temperature=classifier.temperature,
        tta_flip=classifier.tta_flip,
        prediction_sets=classifier.sets,
        ood_threshold=detector.threshold if detector is not None and scores else None,
        source=classifier.metadata.source,
        licence=classifier.metadata.licence,
        headstart=__version__,
        min_side=min_source_side(classifier.spec),
        outputs=("probabilities", "ood_score") if scores else ("probabilities",),
    )


def export_program(network: ExportNetwork) -> ExportedProgram:
    """The operations of the network, for any number of images of any height and width.

    :raises ModelError: torch cannot follow the network.
    """
    sides = {0: Dim("images"), 1: Dim("height"), 2: Dim("width")}
    try:
        with torch.no_grad(), TRACING:
            example = torch.zeros(_EXAMPLE, dtype=torch.uint8)
            return torch.export.export(network.eval(), (example,), dynamic_shapes={"images": sides})
    except Exception as failure:  # torch.export raises many types for what it cannot follow
        reason = str(failure).strip().split("\n")[0]
        raise ModelError(f"torch.export cannot follow this network ({type(failure).__name__}: {reason})") from failure
