"""The checksum of TensorFlow files: CRC-32C (RFC 3720, appendix B.4), in masked form."""

from __future__ import annotations

import google_crc32c

__all__ = ["masked_crc32c"]


def masked_crc32c(data: bytes) -> int:
    """Return the checksum of ``data`` in the form that LevelDB and TensorFlow store (leveldb/util/crc32c.h).

    The CRC of data that contains its own CRC is problematic; hence the rotation by 15 bits and the added constant.

    >>> hex(masked_crc32c(b"123456789"))
    '0xc78ab0e5'
    """
    value: int = google_crc32c.value(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
