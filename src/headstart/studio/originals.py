"""The file of an image for a browser: as it is where it is safe to show, else as a JPEG."""

from __future__ import annotations

import io
import re

import numpy as np

from headstart.data.decode import decode, read_content

__all__ = ["original"]

_SHOWN = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)


def original(uri: str, *, max_pixels: int) -> tuple[bytes, str]:
    """The bytes and the media type. What a file is named does not matter: a drawing with scripts is never sent as one.

    :raises ImageProblem: it cannot be read.
    """
    content = read_content(uri)
    if not isinstance(content, np.ndarray):
        for signature, kind in _SHOWN:
            if signature.match(content):
                return content, kind
    buffer = io.BytesIO()
    decode(content, max_pixels=max_pixels).save(buffer, "JPEG", quality=92)
    return buffer.getvalue(), "image/jpeg"
