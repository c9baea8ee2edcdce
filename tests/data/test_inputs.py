"""What the Python interface takes as images: every shape is read in one way, or refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from numpy.typing import NDArray
from PIL import ExifTags, Image

from headstart.data.decode import decode
from headstart.data.inputs import images_as_manifest
from headstart.data.manifest import Manifest
from headstart.errors import DataError, ImageProblem

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (3, 20, 24, 3), np.uint8)  # three images
GRAY = COLOR[..., 0]


def pixels(images: Any) -> list[NDArray[Any]]:
    """The decoded images of what is given."""
    manifest = images_as_manifest(images)
    return [np.asarray(decode(manifest.source(row))) for row in range(len(manifest))]


def same(found: list[NDArray[Any]], expected: Any) -> bool:
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


def encoded(image: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def as_rgb(gray: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(gray[..., None], 3, axis=-1)


def channels_first(images: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(images.copy()).movedim(-1, -3)


@pytest.mark.parametrize(
    "one",
    [
        COLOR[0],
        encoded(COLOR[0]),
        bytearray(encoded(COLOR[0])),
        Image.fromarray(COLOR[0]),
        channels_first(COLOR[0]),
        torch.from_numpy(COLOR[0]),  # 20 channels are none
        channels_first(COLOR[0]).float().div(255),
        channels_first(COLOR[0]).double().div(255).requires_grad_(),
        COLOR[0].astype(np.float32) / 255,
        np.dstack([COLOR[0], np.full((20, 24), 255, np.uint8)]),
    ],
)
def test_one_image_is_one_image(one: Any) -> None:
    for given_images in (one, [one], (one,), iter([one])):
        assert same(pixels(given_images), COLOR[:1])


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (COLOR, COLOR),
        (list(COLOR), COLOR),
        (channels_first(COLOR), COLOR),
        (list(channels_first(COLOR)), COLOR),
        (torch.from_numpy(COLOR), COLOR),
        (COLOR[:1], COLOR[:1]),
        (COLOR[:0], []),
        (np.concatenate([GRAY, GRAY]), as_rgb(np.concatenate([GRAY, GRAY]))),
        (torch.from_numpy(np.concatenate([GRAY, GRAY])), as_rgb(np.concatenate([GRAY, GRAY]))),
        (GRAY[:1], as_rgb(GRAY[:1])),
        (GRAY[:2], as_rgb(GRAY[:2])),
        (GRAY[0], as_rgb(GRAY[:1])),
        (list(GRAY), as_rgb(GRAY)),
        (GRAY[..., None], as_rgb(GRAY)),
        (torch.from_numpy(GRAY)[:, None], as_rgb(GRAY)),
        ([COLOR[0], encoded(COLOR[1]), Image.fromarray(COLOR[2])], COLOR),
        (np.array([encoded(COLOR[0]), Image.fromarray(COLOR[1])], object), COLOR[:2]),
        ([], []),
        (np.array([]), []),
    ],
)
def test_batches(batch: Any, expected: Any) -> None:
    assert same(pixels(batch), expected)


def test_paths(tmp_path: Path) -> None:
    names = [str(tmp_path / f"{row}.png") for row in range(3)]
    for name, image in zip(names, COLOR, strict=True):
        Path(name).write_bytes(encoded(image))
    manifest = images_as_manifest(names)
    assert manifest.uris == names
    assert images_as_manifest(manifest) is manifest
    for some in (tuple(map(Path, names)), np.array(names), np.array(names)[:, None], iter(names)):
        assert images_as_manifest(some).uris == names
    assert images_as_manifest(names[0]).uris == images_as_manifest(np.str_(names[0])).uris == names[:1]
    assert same(pixels([names[0], COLOR[1], Path(names[2])]), COLOR)


def test_a_column_of_a_table(tmp_path: Path) -> None:
    class Series:
        """As those of pandas and polars."""

        def __init__(self, values: Any) -> None:
            self.values = values

        def to_numpy(self) -> NDArray[Any]:
            return np.array(self.values, object)

    paths = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert images_as_manifest(Series(paths)).uris == paths  # type: ignore[arg-type]
    assert images_as_manifest(Series([[path] for path in paths])).uris == paths  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"must have one axis, got the shape \(2, 2\)$"):
        images_as_manifest(Series([paths, paths]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "shape",
    [(3, 20, 24), (4, 20, 24), (3, 20, 20), (4, 4, 20), (5,), (2, 3, 20, 24), (2, 20, 24, 7), (1, 2, 20, 24, 3)],
)
def test_a_shape_that_is_none_or_two_things_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError) as refusal:
        images_as_manifest(np.zeros(shape, np.uint8))
    assert str(shape) in str(refusal.value)


def test_what_to_do_about_a_shape() -> None:
    with pytest.raises(DataError) as refusal:
        images_as_manifest(COLOR[0].transpose(2, 0, 1))
    assert str(refusal.value) == (
        "an array of the shape (3, 20, 24) can be 3 gray images (N, H, W), or one image with its channels first: "
        "pass list(array) for the former, np.moveaxis(array, 0, -1) for the latter"
    )
    with pytest.raises(DataError, match=r"\(3, 3, 20, 24\); its channels are not last: pass np.moveaxis\(array, 1, -1"):
        images_as_manifest(COLOR.transpose(0, 3, 1, 2))
    with pytest.raises(DataError, match=r"^a tensor of the shape \(3, 20, 3\) can have its channels first"):
        images_as_manifest(torch.zeros(3, 20, 3))
    with pytest.raises(DataError, match=r"^a tensor in a list must be one image, got the shape \(2, 3, 20, 24\)$"):
        images_as_manifest([torch.zeros(2, 3, 20, 24)])


@pytest.mark.parametrize(
    "wrong",
    [None, 3, 2.5, {"a": 1}, {"a.png"}, io.BytesIO(b""), [None], [3], [[1, 2], [3, 4]], [("a.png", 1)], object()],
)
def test_anything_else_is_a_type_error_that_names_what_is_taken(wrong: Any) -> None:
    with pytest.raises(TypeError) as refusal:
        images_as_manifest(wrong)
    name = type(wrong[0] if isinstance(wrong, list) else wrong).__name__
    assert str(refusal.value) == (
        "images must be a path, a URI, bytes, a PIL image, an array (H, W) or (H, W, C), a torch tensor (C, H, W), a "
        f"batch of arrays or tensors, a list of these, a data set of pairs (image, class), or a manifest; got {name}"
    )


def test_images_are_not_downloaded() -> None:
    with pytest.raises(DataError) as refusal:
        images_as_manifest(["https://example.org/a.jpg"])
    assert str(refusal.value) == (
        "https://example.org/a.jpg: headstart does not download images; pass the path of a file, or its bytes"
    )


def test_pil_images_are_read_as_their_files(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    made = {
        "turned.png": (Image.fromarray(COLOR[0]), {"exif": exif}),
        "palette.png": (Image.fromarray(COLOR[0]).quantize(16), {}),
        "clear.png": (Image.fromarray(np.dstack([COLOR[0], GRAY[0]])), {}),
        "deep.png": (Image.fromarray(GRAY[0].astype(np.uint16) * 200), {}),
        "one.png": (Image.fromarray(GRAY[0] > 100), {}),
        "turned.tif": (Image.fromarray(COLOR[0]), {"exif": exif}),
        "four.jpg": (Image.fromarray(COLOR[0]).convert("CMYK"), {}),
    }
    for name, (image, options) in made.items():
        path = tmp_path / name
        image.save(path, **options)
        with Image.open(path) as opened:
            assert same(pixels(opened), [np.asarray(decode(path))]), name
    cut = tmp_path / "cut.png"
    cut.write_bytes(encoded(COLOR[0])[:300])
    with Image.open(cut) as opened, pytest.raises(ImageProblem, match=r"^PIL image .*cut\.png: damaged: "):
        images_as_manifest([opened])


@given(
    numpy_strategies.arrays(np.uint8, numpy_strategies.array_shapes(min_dims=1, max_dims=5, min_side=1, max_side=6)),
    st.booleans(),
)
def test_every_shape_is_one_image_or_a_batch_or_refused(array: NDArray[np.uint8], tensor: bool) -> None:
    try:
        manifest = images_as_manifest(torch.from_numpy(array) if tensor else array)
    except DataError:
        return
    assert array.ndim in (2, 3, 4)
    if array.ndim == 2 or len(manifest) == 1:
        assert len(manifest) == 1
    else:
        assert len(manifest) == array.shape[0]
    assert sum(np.asarray(decode(manifest.source(row))).size // 3 for row in range(len(manifest))) in (
        array.size,
        array.size / 3,
        array.size / 4,
    )


def test_a_manifest_is_indexed_as_an_array() -> None:
    manifest = Manifest.from_rows([f"/photos/{row}.jpg" for row in range(5)], labels=list("abcde"))
    assert manifest.shape == (5,)
    for rows in ([3, 1], np.array([3, 1]), (np.array([3, 1]), ...)):
        assert manifest[rows].labels == ["d", "b"]
    assert manifest[np.arange(5) > 2].labels == manifest[3:].labels == ["d", "e"]
    assert manifest[-1].labels == ["e"]
    with pytest.raises(IndexError):
        manifest[5]
