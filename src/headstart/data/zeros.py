"""Image files parts of which were never written: blocks of zeros in the middle of compressed data, or at their end.

A crash, a full disk or a broken copy leaves a file of full size in which some blocks read as zeros. Most decoders take
zeros for valid codes, and return an image that is wrong below or in part.

Length alone does not tell such blocks from honest data: a large area of one color may be coded as thousands of zeros,
by Huffman codes of a single zero bit or as empty packets of JPEG 2000. But honest zeros begin and end anywhere. What
was lost begins and ends where the blocks of a file system do, at multiples of 4,096 bytes, or reaches to the end of the
data. Honest data do not end with zeros: there are checksums, end markers, or the last bits of a coder. The exception is
lossless WebP, where it is tried whether the last zeros are needed for the pixels.

Only the compressed pixels are searched, since metadata may be padded with zeros. Pixels that are not compressed may be
black, so that nothing can be told about them; nor about a file whose zeros are not those of whole blocks.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from PIL import ImageFile
from PIL.WebPImagePlugin import WebPImageFile

from headstart.data import jpeg

__all__ = ["missing_blocks", "zero_runs"]

BLOCK = 4096
"""Bytes: the size of a block, or a part of it, in all common file systems, and of a page of memory."""

MIN_TAIL = 256
"""Bytes of zeros at the end of compressed data; a coder ends with a few at most, while it fills up a byte or a word."""

_COMPRESSED = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF", "TIFF")  # PNG has checksums
_SPARE = 32  # bytes; more than a decoder of WebP reads ahead
_AT_EDGE = 3  # bytes of the data beside a lost block that may be zeros themselves
_ZEROS = bytes(BLOCK)
_STRIPS = ((273, 279), (324, 325))  # tags of a TIFF: where its strips and tiles are, and how long


def missing_blocks(data: bytes, image: ImageFile.ImageFile) -> str | None:
    """What is missing from the compressed pixels of a file that Pillow opened as ``image``; None if nothing is."""
    if image.format not in _COMPRESSED or image.info.get("compression") == "raw":
        return None
    runs = list(zero_runs(data, 0, len(data), MIN_TAIL))  # first, since most files have none
    for start, end in _compressed(data, image) if runs else ():
        for first, last in ((max(first, start), min(last, end)) for first, last in runs):
            if last - first < MIN_TAIL:
                continue
            if _has_whole_blocks(first, last) or (last == end and _is_lost_end(data, start, end)):
                zeros = f"{last - first:,} zero bytes from offset {first:,}"
                return f"{zeros}: the file was not written or copied completely"
    return None


def zero_runs(data: bytes, start: int, end: int, minimum: int) -> Iterator[tuple[int, int]]:
    """Yield where each run of zeros between ``start`` and ``end`` begins and ends, if it has ``minimum`` bytes.

    >>> list(zero_runs(b"abc" + bytes(30) + b"d" + bytes(9), 0, 43, 10))
    [(3, 33)]
    """
    # Every run of that length has a byte in this sample, which has few zeros in most files.
    sample, at, last = data[start:end:minimum], -1, start
    while (at := sample.find(0, at + 1)) >= 0:
        position = start + at * minimum
        if position < last:
            continue
        before = data[max(start, position - minimum) : position]
        first, last = position - (len(before) - len(before.rstrip(b"\0"))), _end_of_zeros(data, position, end)
        if last - first >= minimum:
            yield first, last


def _end_of_zeros(data: bytes, at: int, end: int) -> int:
    while at + BLOCK <= end and data.startswith(_ZEROS, at):
        at += BLOCK
    rest = data[at : min(at + BLOCK, end)]
    return at + len(rest) - len(rest.lstrip(b"\0"))


def _has_whole_blocks(first: int, last: int) -> bool:
    """Whether a run of zeros is one or more whole blocks of a file."""
    return last - first >= BLOCK and -first % BLOCK <= _AT_EDGE and last % BLOCK <= _AT_EDGE


def _is_lost_end(data: bytes, start: int, end: int) -> bool:
    """Whether zeros at the end of compressed pixels are no data: in lossless WebP, if the pixels need them not."""
    if data[start - 8 : start - 4] != b"VP8L":
        return True
    shorter = data[start : end - _SPARE]
    shorter += bytes(len(shorter) % 2)
    chunk = b"WEBPVP8L" + len(shorter).to_bytes(4, "little") + shorter
    try:
        WebPImageFile(io.BytesIO(b"RIFF" + len(chunk).to_bytes(4, "little") + chunk), "").load()
    except Exception:  # as decoders raise on truncated files
        return False
    return True


def _compressed(data: bytes, image: ImageFile.ImageFile) -> Iterator[tuple[int, int]]:
    """Where the compressed pixels begin and end."""
    kind = image.format
    if kind in ("JPEG", "MPO"):
        scan = jpeg.first_scan(data)
        if scan is not None:
            yield scan, data.find(jpeg.END, scan) + len(jpeg.END)  # without which the file counts as truncated
    elif kind == "WEBP":
        yield from _webp(data)
    elif kind == "JPEG2000":
        for start, end in [(0, len(data))] if data.startswith(b"\xff\x4f") else _boxes(data, b"jp2c"):
            marker = data.rfind(jpeg.END, start, end)  # the same in both formats, and never within packets
            yield start, end if marker < 0 else marker + len(jpeg.END)
    elif kind == "AVIF":
        metadata = [text for name in ("exif", "xmp") if isinstance(text := image.info.get(name), bytes) and text]
        for start, end in _boxes(data, b"mdat"):  # which may be among the pixels there
            yield from _without(data, start, end, metadata)
    elif kind == "TIFF":
        yield from _tiff(data, image)


def _webp(data: bytes) -> Iterator[tuple[int, int]]:
    at = 12
    while at + 8 <= len(data) and data[at]:
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8 ", b"VP8L") or (kind == b"ALPH" and data[at + 8 : at + 9] != b"\0"):  # else not compressed
            yield at + 8, min(at + 8 + size, len(data))
        at += 24 if kind == b"ANMF" else 8 + size + size % 2  # a frame has chunks of its own


def _boxes(data: bytes, wanted: bytes) -> Iterator[tuple[int, int]]:
    """The contents of the boxes of one kind, at the top of an ISO base media file."""
    at = 0
    while at + 8 <= len(data):
        size, header = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = len(data) if size < header else min(at + size, len(data))  # 0: to the end
        if data[at + 4 : at + 8] == wanted:
            yield at + header, end
        at = end


def _without(data: bytes, start: int, end: int, texts: list[bytes]) -> Iterator[tuple[int, int]]:
    """The parts of a range that remain without some texts."""
    found = sorted((at, at + len(text)) for text in texts if (at := data.find(text, start, end)) >= 0)
    for first, last in found:
        yield start, first
        start = last
    yield start, end


def _tiff(data: bytes, image: ImageFile.ImageFile) -> Iterator[tuple[int, int]]:
    tags = getattr(image, "tag_v2", {})
    for starts, sizes in _STRIPS:
        if starts in tags and sizes in tags:
            ends = (start + size for start, size in zip(tags[starts], tags[sizes], strict=False))
            yield min(tags[starts]), min(max(ends), len(data))
