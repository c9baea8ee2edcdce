"""What is measured on a GPU alone: its pixels compared with Pillow's, the features of both, and recorded networks."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from headstart.data.device_decoder import DeviceDecoder
from headstart.data.manifest import Manifest
from headstart.data.readers import choose_decoder, view_reader
from headstart.data.spec import InputSpec
from headstart.data.transforms import FLIPPED_VIEW
from headstart.data.views import Views
from headstart.inference.engine import open_engine
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def photos(tmp_path: Path) -> Manifest:
    """Photographs with each way to store color, gray ones, and a PNG file."""
    from skimage import data

    paths = []
    for name in ("chelsea", "astronaut", "coffee", "rocket"):
        image = Image.fromarray(getattr(data, name)())
        for mode, subsampling in (("RGB", 0), ("RGB", 1), ("RGB", 2), ("L", 0)):
            path = tmp_path / f"{name}-{mode}-{subsampling}.jpg"
            image.convert(mode).save(path, "JPEG", quality=90, subsampling=subsampling)
            paths.append(path)
        image.save(tmp_path / f"{name}.png")
        paths.append(tmp_path / f"{name}.png")
    return Manifest.from_rows(paths)


def read(manifest: Manifest, decoder: str, spec: InputSpec, batch_size: int = 8) -> list[Views]:
    options = {"batch_size": batch_size, "max_pixels": 10**8, "views": (0, FLIPPED_VIEW)}
    return list(view_reader(decoder)(manifest, range(len(manifest)), spec, **options))


def pixels(batches: list[Views]) -> NDArray[np.uint8]:
    return np.concatenate([torch.as_tensor(batch.stacked()).cpu().numpy() for batch in batches])


def test_pixels_and_features_are_nearly_those_of_pillow(photos: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_decoder("cuda") == "nvjpeg"
    backbone = load_backbone("tf_efficientnet_lite0")
    device, host = (read(photos, decoder, backbone.spec) for decoder in ("nvjpeg", "pillow"))
    assert [batch.rows for batch in device] == [batch.rows for batch in host]
    one, other = pixels(device).astype(int), pixels(host).astype(int)
    difference = np.abs(one - other)
    module = cut(backbone.module, "head", input_shape=backbone.input_shape).prefix
    run = open_engine(module, backbone.spec, batch_size=64, device="cuda")
    features = [np.concatenate([run(batch.stacked()) for batch in batches]) for batches in (device, host)]
    a, b = (each.reshape(len(one), -1) for each in features)
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    told = f"\nlargest difference {difference.max()}, mean {difference.mean():.3f}; least cosine {cosines.min():.5f}\n"
    with capsys.disabled():
        sys.stdout.write(told)
    assert difference.mean() < 2
    assert cosines.min() >= 0.999


def test_a_view_does_not_depend_on_its_batch(photos: Manifest) -> None:
    whole = pixels(read(photos, "nvjpeg", InputSpec(), batch_size=64))
    for _ in range(3):
        assert np.array_equal(pixels(read(photos, "nvjpeg", InputSpec(), batch_size=3)), whole)


def test_a_file_whose_data_end_early_is_a_problem(tmp_path: Path, nasty: ModuleType) -> None:
    paths = []
    for number in range(8):
        data = nasty.encode(nasty.pattern(300, 200 + number), "JPEG", quality=90, subsampling=number % 3)
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(nasty.forged_end(data, 0.8) if number in (2, 5) else data)
    batches = read(Manifest.from_rows(paths), "nvjpeg", InputSpec())
    assert sorted(row for batch in batches for row, _ in batch.problems) == [2, 5]
    assert sorted({row for batch in batches for row in batch.rows}) == [0, 1, 3, 4, 6, 7]


def test_the_decoder_is_trusted_with_all_kinds_of_plain_files() -> None:
    assert (2, 2, 1, 1, 1, 1) in DeviceDecoder("nvjpeg", InputSpec()).trusted


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_recorded_network_returns_the_same_values(precision: str) -> None:
    spec = InputSpec(height=64, width=64)
    backbone = load_backbone("tf_efficientnet_lite0")
    module = cut(backbone.module, "head", input_shape=(3, 64, 64)).prefix
    images = np.random.default_rng(0).integers(0, 256, (200, 64, 64, 3), np.uint8)
    run = open_engine(module, spec, batch_size=64, device="cuda", precision=precision)
    first = run(images)
    assert np.array_equal(run(torch.from_numpy(images).cuda()), first)
    gc.collect()  # a graph keeps nothing alive of what it reads; so if it were free, this is where it would be lost
    lost = [torch.full((count,), torch.nan, device="cuda") for count in (64, 1 << 10, 1 << 15, 1 << 19) * 200]
    assert np.array_equal(run(images), first)
    del lost
    exact = open_engine(module, spec, batch_size=64, device="cpu", precision="float32", engine="torch")(images[:8])
    tolerance = 1e-3 if precision == "float32" else 5e-2
    assert np.linalg.norm(first[:8] - exact) <= tolerance * np.linalg.norm(exact)
