"""What a network wants to see: size, crop, resampling, normalisation."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["InputSpec"]


@dataclass(frozen=True)
class InputSpec:
    """The input of a network, as its own pretrained configuration states it.

    An image is resized so that ``crop`` of its shorter side fills the input, cropped in the centre to
    ``height`` × ``width``, scaled to [0, 1] and normalised: ``(value - mean) / std``.

    >>> InputSpec(height=224, width=224, crop=0.875).resize
    256
    """

    height: int = 224
    width: int = 224
    crop: float = 0.875  # share of the shorter side that is kept
    crop_mode: str = "center"  # "center", or "squash": both sides resized, the shape of the picture given up
    interpolation: str = "bicubic"  # "nearest", "bilinear", "bicubic", "lanczos" (Pillow's, with antialiasing)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channels: str = "RGB"  # or "BGR", as OpenCV reads

    @property
    def resize(self) -> int:
        """The shorter side in pixels before the crop, rounded down as timm does."""
        return int(min(self.height, self.width) / self.crop)

    def whole(self) -> InputSpec:
        """The same network shown the whole picture, resized to the input with its shape given up."""
        return replace(self, crop=1.0, crop_mode="squash")

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> InputSpec:
        """Back from :meth:`as_dict`."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
