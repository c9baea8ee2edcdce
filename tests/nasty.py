"""A folder of image files: valid ones in every format and mode, and everything that can be wrong with one."""

from __future__ import annotations

import errno
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

# What is said of a damaged HEIC file, with and without the package that reads them.
_HEIC = "damaged" if find_spec("pi_heif") else "HEIC, a format of phone cameras, which needs pi_heif"

__all__ = ["encode", "forged_end", "make_nasty", "pattern", "png"]

# Complete JPEG files of patterns are larger than Pillow's buffer for writing one.
_BUFFER = 1 << 20


def pattern(width: int = 64, height: int = 48) -> Image.Image:
    """An image without symmetry: red increases to the right, green downwards, blue is a pattern."""
    y, x = np.mgrid[:height, :width]
    red, green = x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1)
    return Image.fromarray(np.stack([red, green, (x * y) % 256], axis=-1).astype(np.uint8))


def encode(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    before, ImageFile.MAXBLOCK = ImageFile.MAXBLOCK, _BUFFER
    try:
        image.save(buffer, format_name, **options)
    finally:
        ImageFile.MAXBLOCK = before
    return buffer.getvalue()


def png(width: int, height: int, data: bytes, *, bits: int = 8, color: int = 2) -> bytes:
    """A PNG file whose header may claim anything."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def forged_end(jpeg: bytes, keep: float) -> bytes:
    """A JPEG that is truncated in its data, with an added end marker."""
    return jpeg[: int(len(jpeg) * keep)] + b"\xff\xd9"


def make_nasty(folder: Path) -> dict[Path, str | None]:
    """Fill ``folder``; return the beginning of the problem of each entry, None for a valid image."""
    folder.mkdir(parents=True, exist_ok=True)
    expected: dict[Path, str | None] = {}
    for name, data, reason in [*_damaged(), *_other_files(), *_modes(), *_formats(), *_oriented(), *_named()]:
        path = folder / os.fsdecode(name)
        try:
            path.write_bytes(data)
        except OSError as error:  # some file systems require names in UTF-8
            if error.errno not in (errno.EILSEQ, errno.EINVAL):
                raise
            continue
        assert path not in expected
        expected[path] = reason
    return expected | _special_entries(folder)


Entry = tuple[bytes, bytes, str | None]


def _damaged() -> Iterator[Entry]:
    whole = {
        "jpg": encode(pattern(), "JPEG", quality=90),
        "progressive.jpg": encode(pattern(), "JPEG", quality=90, progressive=True),
        "cmyk.jpg": encode(pattern().convert("CMYK"), "JPEG", quality=90),
        "png": encode(pattern(), "PNG"),
        "gif": encode(pattern().convert("P"), "GIF"),
        "webp": encode(pattern(), "WEBP"),
        "tif": encode(pattern(), "TIFF"),
        "lzw.tif": encode(pattern(), "TIFF", compression="tiff_lzw"),
        "bmp": encode(pattern(), "BMP"),
    }
    for name, data in whole.items():
        yield f"cut-header.{name}".encode(), data[:20], "truncated"
        yield f"cut-half.{name}".encode(), data[: len(data) // 2], "truncated"
        yield f"cut-end.{name}".encode(), data[: -len(data) // 20], "truncated"
    for keep in (0.5, 0.9):
        yield f"forged-end-{keep}.jpg".encode(), forged_end(whole["jpg"], keep), "truncated"
    yield b"zero-tail.jpg", whole["jpg"][:1500] + bytes(len(whole["jpg"]) - 1500), "truncated"
    yield b"bad-crc.png", whole["png"][:29] + b"\0\0\0\0" + whole["png"][33:], "truncated or damaged: begins as PNG"
    yield b"bad-data.png", png(64, 48, b"\x78\x9c" + b"\xaa" * 500), "damaged"
    yield b"bomb-claim.png", png(60_000, 60_000, b""), "60000x60000 is more than the 178,956,970 pixels"
    yield b"zero-width.png", png(0, 48, b""), "truncated or damaged: begins as PNG"
    yield b"zero-height.jpg", whole["jpg"].replace(b"\x00\x30\x00\x40", b"\x00\x00\x00\x40", 1), "truncated or damaged"
    yield b"only-start.jpg", b"\xff\xd8\xff\xe0", "truncated or damaged: begins as JPEG"


def _other_files() -> Iterator[Entry]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("cat.jpg", b"meow")
    no = "not an image that Pillow reads"
    yield b"empty.jpg", b"", "empty file"
    yield b"empty.png", b"", "empty file"
    yield b"text.jpg", b"this is not an image\n" * 50, no
    yield b"page.png", b"\n<!DOCTYPE html><html>404 Not Found</html>", f"{no}, but a web page"
    yield b"page.jpg", b"<html><body>403</body></html>", f"{no}, but a web page"
    yield b"archive.jpg", archive.getvalue(), f"{no}, but a zip archive"
    yield b"document.jpeg", b"%PDF-1.7\n1 0 obj", f"{no}, but a PDF document"
    yield b"drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", f"{no}, but an SVG drawing"
    yield b"photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", _HEIC
    yield b"script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", no
    yield b"noise.jpg", np.random.default_rng(3).bytes(5000), no
    yield b"zeros.jpg", bytes(5000), no


def _modes() -> Iterator[Entry]:
    image = pattern()
    gray16 = (np.asarray(image.convert("L")).astype(np.uint16)) * 257
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    rgba = image.copy()
    rgba.putalpha(image.convert("L"))
    yield b"cmyk-adobe.jpg", encode(image.convert("CMYK"), "JPEG"), None
    yield b"gray.jpg", encode(image.convert("L"), "JPEG"), None
    yield b"gray16.png", encode(Image.fromarray(gray16), "PNG"), None
    yield b"gray16.tif", encode(Image.fromarray(gray16), "TIFF"), None
    yield b"gray32.tif", encode(Image.fromarray(gray16.astype(np.int32)), "TIFF"), None
    yield b"float.tif", encode(Image.fromarray(gray16.astype(np.float32) / 65535), "TIFF"), None
    yield b"one-bit.png", encode(image.convert("1"), "PNG"), None
    yield b"one-bit.tif", encode(image.convert("1"), "TIFF", compression="group4"), None
    yield b"palette.png", encode(palette, "PNG"), None
    yield b"palette-clear.png", encode(palette, "PNG", transparency=0), None
    yield b"palette-alpha.png", encode(palette, "PNG", transparency=bytes(range(0, 256, 16))), None
    yield b"gray-alpha.png", encode(rgba.convert("LA"), "PNG"), None
    yield b"rgba.png", encode(rgba, "PNG"), None
    yield b"rgb-clear.png", encode(image, "PNG", transparency=(0, 0, 0)), None
    yield b"rgba.webp", encode(rgba, "WEBP"), None
    yield b"clear.gif", encode(palette, "GIF", transparency=0), None
    yield b"lab.tif", encode(_lab(image), "TIFF"), None
    yield b"ycbcr.tif", encode(image.convert("YCbCr"), "TIFF"), None
    yield b"color16.png", png(2, 2, zlib.compress((b"\0" + b"\x80\0" * 6) * 2), bits=16), None


def _lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    assert lab is not None
    return lab


def _formats() -> Iterator[Entry]:
    image = pattern()
    jpeg = encode(image, "JPEG")
    for name in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA", "ICO", "PCX", "JPEG2000"):
        yield f"good.{name.lower().replace('jpeg2000', 'jp2')}".encode(), encode(image, name), None
    yield b"progressive.jpg", encode(image, "JPEG", progressive=True), None
    yield b"restarts.jpg", encode(image, "JPEG", restart_marker_rows=1), None
    yield b"full-color.jpg", encode(image, "JPEG", subsampling=0, quality=100), None
    yield b"moving.gif", encode(image.convert("P"), "GIF", **_frames()), None
    yield b"moving.webp", encode(image, "WEBP", **_frames()), None
    yield b"moving.png", encode(image, "PNG", **_frames()), None
    yield b"stereo.mpo", encode(image, "MPO", **_frames()), None
    yield b"stereo.jpg", encode(image, "MPO", **_frames()), None
    yield b"pages.tif", encode(image, "TIFF", **_frames()), None
    yield b"interlaced.gif", encode(image.convert("P"), "GIF", interlace=1), None
    yield b"trailing.jpg", jpeg + b"MotionPhoto_Data" + bytes(3000), None
    yield b"really-jpeg.png", jpeg, None
    yield b"really-png.jpg", encode(image, "PNG"), None
    yield b"gray-end.jpg", encode(Image.new("RGB", (64, 48), (128, 128, 128)), "JPEG"), None
    yield b"gray-all.png", encode(Image.new("L", (64, 48), 128), "PNG"), None
    yield b"black.png", encode(Image.new("RGB", (64, 48)), "PNG"), None
    yield b"wide.png", encode(pattern(5000, 1), "PNG"), None
    yield b"tall.jpg", encode(pattern(1, 5000), "JPEG"), None
    yield b"one.png", encode(pattern(1, 1), "PNG"), None
    yield b"one.jpg", encode(pattern(1, 1), "JPEG"), None
    yield b"one.gif", encode(pattern(1, 1), "GIF"), None


def _frames() -> dict[str, Any]:
    return {"save_all": True, "append_images": [pattern().transpose(Image.Transpose.ROTATE_180)]}


def _oriented() -> Iterator[Entry]:
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"turn-{turn}.jpg".encode(), encode(pattern(), "JPEG", quality=95, exif=exif), None
        yield f"turn-{turn}.png".encode(), encode(pattern(), "PNG", exif=exif), None
        yield f"turn-{turn}.tif".encode(), encode(pattern(), "TIFF", exif=exif), None
        yield f"turn-{turn}.webp".encode(), encode(pattern(), "WEBP", exif=exif, lossless=True), None
    for turn in (0, 9, 300):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"turn-{turn}.jpg".encode(), encode(pattern(), "JPEG", exif=exif), None
    broken = {
        "short": b"Exif\0\0II*",
        "loop": b"Exif\0\0II*\0\x08\0\0\0" + b"\xff" * 40,
        "text": b"Exif\0\0not a tiff header at all",
        "type": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04abc\0\0\0\0\0",
    }
    for name, exif_bytes in broken.items():
        yield f"exif-{name}.jpg".encode(), encode(pattern(), "JPEG", exif=exif_bytes), None
        yield f"exif-{name}.webp".encode(), encode(pattern(), "WEBP", exif=exif_bytes), None


def _named() -> Iterator[Entry]:
    good = encode(pattern(), "JPEG")
    names = [
        "with space.jpg",
        " leading.jpg",
        "강아지.jpg",
        "🐶.jpg",
        "new\nline.jpg",
        "tab\t.jpg",
        'quote".jpg',
        "-rf.jpg",
    ]
    names += [
        "%41.jpg",
        "a#b.jpg",
        "what?.jpg",
        "a,b;c.jpg",
        "semi&amp;.jpg",
        "UPPER.JPG",
        "Mixed.JpEg",
        "..two.dots..jpg",
    ]
    names += ["file:colon.jpg", "back\\slash.jpg", "x" * 246 + ".jpg", "no_suffix", "photo.jpg_large", "wget.jpg?w=640"]
    # the second name has the decomposed "é" that macOS writes
    names += ["caf\u00e9.jpg", "cafe\u0301.jpg", "\u202egpj.exe.jpg", "jfif.jfif", "jpe.jpe"]
    for name in names:
        # A name that begins with a dot is hidden, and would not be found.
        yield name.lstrip(".").encode(), good, None
    yield b"latin-\xe9.jpg", good, None
    yield b"bytes-\xff\xfe.jpg", good, None
    yield b"bytes-\xff-bad.jpg", good[:300], "truncated"


def _special_entries(folder: Path) -> dict[Path, str | None]:
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "itself.jpg").symlink_to("itself.jpg")
    (folder / "link.jpg").symlink_to("good.jpeg")
    expected: dict[Path, str | None] = {
        folder / "folder.jpg": "a folder",
        folder / "dangling.jpg": "a link to a file that does not exist: nowhere.jpg",
        folder / "itself.jpg": "a link that leads to itself",
        folder / "link.jpg": None,
    }
    with suppress(AttributeError, OSError):  # not on every system
        os.mkfifo(folder / "pipe.jpg")
        expected[folder / "pipe.jpg"] = "not a regular file"
    locked = folder / "locked.jpg"
    locked.write_bytes(b"secret")
    locked.chmod(0)
    # The administrator may read everything.
    expected[locked] = "not an image that Pillow reads" if os.access(locked, os.R_OK) else "permission denied"
    return expected
