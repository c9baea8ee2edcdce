"""The checksum of TensorFlow's files: CRC-32C (RFC 3720, appendix B.4) in the form in which they keep it."""

from __future__ import annotations

import google_crc32c

__all__ = ["masked"]


def masked(data: bytes) -> int:
    """The checksum of ``data`` as LevelDB and TensorFlow store it (leveldb/util/crc32c.h).

    A checksum of data that hold checksums is a weak one; so they rotate it by 15 bits and add a constant.

    >>> hex(masked(b"123456789"))
    '0xc78ab0e5'
    """
    value: int = google_crc32c.value(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
