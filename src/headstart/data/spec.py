"""The input of a network: size, crop, resampling, normalization."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from headstart.config.values import three_numbers, two_numbers
from headstart.data.value_range import ANY, ValueRange

__all__ = ["InputSpec"]

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RANGES = {
    "0:1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "-1:1": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0:255": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
    "imagenet": _IMAGENET,
}
"""The mean and standard deviation that normalize pixels in [0, 1] to a range."""


@dataclass(frozen=True)
class InputSpec:
    """The input of a network, as its own pretrained configuration states it.

    An image is resized so that the share ``crop`` of its shorter side fills the input, center-cropped to
    ``height`` × ``width``, scaled to [0, 1] and normalized: ``(value - mean) / std``.

    >>> InputSpec(height=224, width=224, crop=0.875).resize
    256
    """

    height: int = 224
    width: int = 224
    crop: float = 0.875  # share of the shorter side that is kept
    crop_mode: str = "center"  # "center", or "squash": both sides are resized, and the aspect ratio is not kept
    interpolation: str = "bicubic"  # "nearest", "bilinear", "bicubic", "lanczos" (Pillow's, with antialiasing)
    mean: tuple[float, float, float] = _IMAGENET[0]
    std: tuple[float, float, float] = _IMAGENET[1]
    channels: str = "RGB"  # or "BGR", as OpenCV reads
    value_ranges: tuple[
        ValueRange, ...
    ] = ()  # black and white of pixels that are not 8-bit; for others, their full range

    @property
    def resize(self) -> int:
        """The shorter side in pixels before the crop, rounded down as in timm."""
        return int(min(self.height, self.width) / self.crop)

    def whole(self) -> InputSpec:
        """Return a copy without a crop: the whole image is resized to the input, and the aspect ratio is not kept."""
        return replace(self, crop=1.0, crop_mode="squash")

    def with_value_range(self, value_range: str | None) -> InputSpec:
        """Return a copy in which all pixels that are not 8-bit have one range, "LOW,HIGH"; without one, the same spec.

        >>> InputSpec().with_value_range("0,4095").value_ranges
        (ValueRange(dtype='any', low=0.0, high=4095.0),)
        """
        if value_range is None:
            return self
        return replace(self, value_ranges=(ValueRange(ANY, *two_numbers(value_range)),))

    def changed(
        self,
        *,
        framing: str | None = None,
        size: int | None = None,
        range: str | None = None,
        mean: str | None = None,
        std: str | None = None,
        **others: Any,
    ) -> InputSpec:
        """Return a copy with changes: fields by name, and the settings of :class:`InputSettings`.

        :param framing: "whole", or "model", which changes nothing.
        :param size: height and width in pixels.
        :param range: of the normalized values: "0:1", "-1:1", "0:255" or "imagenet".
        :param mean: "R,G,B", of pixels in [0, 1].
        :param std: "R,G,B".

        >>> InputSpec().changed(range="-1:1", channels="BGR").mean
        (0.5, 0.5, 0.5)
        """
        spec = self.whole() if framing == "whole" else self
        if size is not None:
            others |= {"height": size, "width": size}
        if range is not None:
            others["mean"], others["std"] = _RANGES[range]
        if mean is not None:
            others["mean"] = three_numbers(mean)
        if std is not None:
            others["std"] = three_numbers(std)
        return replace(spec, **others)
