"""WebP files of which only the first frame is read."""

from __future__ import annotations

from PIL.WebPImagePlugin import WebPImageFile

__all__ = ["OneFrame"]


class OneFrame(WebPImageFile):
    """A WebP that frees its decoder once the first frame is read.

    Pillow keeps the decoder, which holds two whole frames, for further ones. Without it before the pixels are copied, a
    photograph of 40 megapixels takes 480 MB at most instead of 640.
    """

    def _get_next(self) -> tuple[bytes, int, int]:
        frame = super()._get_next()
        self._decoder = None
        return frame
