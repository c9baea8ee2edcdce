"""Networks to choose from where none is named: accurate for their speed, with a licence that permits any use."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.models import catalog, weights
from headstart.models.published import published_results

__all__ = ["FASTEST", "Recommendation", "recommendations"]

FASTEST = "tf_efficientnet_lite0"

# Seconds per image relative to those of FASTEST: on a CPU (Core i7-12700H, float32, batch 1) and on a GPU (RTX 4090,
# automatic mixed precision). From timm's benchmark-infer-fp32-nchw-pt240-cpu-i7_12700h-dynamo.csv and
# benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv: github.com/huggingface/pytorch-image-models, results/, Apache-2.0.
_RELATIVE_TIME = {
    FASTEST: (1.0, 1.0),
    "tf_efficientnet_lite2": (1.62, 1.89),
    "convnext_nano.in12k_ft_in1k": (2.80, 1.54),
    "convnext_tiny.in12k_ft_in1k": (3.66, 2.02),
    "tiny_vit_21m_224.dist_in22k_ft_in1k": (4.28, 2.27),
    "vit_base_patch16_clip_224.laion2b_ft_in12k_in1k": (11.75, 3.44),
}


@dataclass(frozen=True)
class Recommendation:
    """A network with what speaks for it and against it."""

    name: str
    accuracy: float  # published top-1 accuracy on ImageNet, in percent
    relative_time: float  # seconds per image, relative to those of FASTEST
    location: str  # of the weights: "here", "package" or "hub"
    licence: str


def recommendations(device: str) -> list[Recommendation]:
    """The recommended networks, the least accurate first.

    >>> [each.name for each in recommendations("cpu")][:2]
    ['tf_efficientnet_lite0', 'tf_efficientnet_lite2']
    """
    found = []
    for name, times in _RELATIVE_TIME.items():
        info = catalog.model_info(name)
        accuracy = published_results(info).top1 or 0.0
        relative = times[0 if device == "cpu" else 1]
        found.append(Recommendation(name, accuracy, relative, weights.location(info), info.licence))
    return sorted(found, key=lambda each: each.accuracy)
