from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_iris
from torch.utils.data import Subset, TensorDataset
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms.functional import to_tensor

from headstart.data.decode import decode
from headstart.data.inputs import images_as_manifest
from headstart.data.inspection import inspect_all
from headstart.data.sources.read import read_images
from headstart.errors import DataError

FAKE = "torchvision:FakeData?size=6&image_size=(3,12,10)&num_classes=2"


def test_digits_of_scikit_learn_are_read_by_name() -> None:
    manifest = read_images("sklearn:digits")
    assert len(manifest) == 1797
    assert manifest.classes == tuple("0123456789")
    pixels = np.asarray(decode(manifest.source(5)))[..., 0]
    assert np.abs(pixels / 255 - load_digits().images[5] / 16).max() < 1 / 255
    assert inspect_all(manifest[:20]).problems == [None] * 20


def test_data_sets_of_torchvision_are_read_by_name() -> None:
    manifest = inspect_all(read_images(FAKE))
    expected = FakeData(size=6, image_size=(3, 12, 10), num_classes=2)
    assert manifest.labels == [str(int(expected[row][1])) for row in range(6)]
    assert manifest.problems == [None] * 6
    assert np.array_equal(np.asarray(decode(manifest.source(3))), np.asarray(expected[3][0]))
    assert manifest.splits == [None] * 6


def test_the_parts_of_a_data_set_are_splits(tmp_path: Path) -> None:
    """MNIST in the format in which it is published."""
    for part, count in (("train", 4), ("t10k", 2)):
        folder = tmp_path / "MNIST" / "raw"
        folder.mkdir(parents=True, exist_ok=True)
        images = np.arange(count * 784, dtype=np.uint32).astype(np.uint8)
        head = bytes([0, 0, 8, 3]) + b"".join(each.to_bytes(4, "big") for each in (count, 28, 28))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(
            bytes([0, 0, 8, 1]) + count.to_bytes(4, "big") + bytes(range(count))
        )
    manifest = read_images(f"torchvision:MNIST?root={tmp_path}")
    assert manifest.splits == ["train"] * 4 + ["test"] * 2
    assert manifest.labels == ["0 - zero", "1 - one", "2 - two", "3 - three", "0 - zero", "1 - one"]
    assert manifest.description is not None
    assert [str(split) for split in manifest.description.splits] == ["train 4", "test 2"]
    assert np.asarray(decode(manifest.source(5))).shape == (28, 28, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sklearn:digit", "no data set of this name"),
        ("sklearn:iris", "no data set of images"),
        ("torchvision:Cifar10", "no data set of this name"),
        ("torchvision:FakeData?sise=3", "unexpected keyword argument 'sise'"),
        ("torchvision:MNIST?root=/nowhere&download=False", "Dataset not found"),
    ],
)
def test_a_name_that_is_not_known_is_refused(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_images(name)


def test_data_sets_in_memory_have_their_labels(tmp_path: Path) -> None:
    fake = FakeData(size=5, image_size=(3, 12, 10), num_classes=3)
    manifest = images_as_manifest(fake)
    assert manifest.labels == [str(int(fake[row][1])) for row in range(5)]
    tensors = FakeData(size=5, image_size=(3, 12, 10), num_classes=3, transform=to_tensor)
    assert inspect_all(images_as_manifest(tensors)).problems == [None] * 5
    assert images_as_manifest(Subset(fake, [3, 1])).labels == [manifest.labels[3], manifest.labels[1]]
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
    files = images_as_manifest(ImageFolder(tmp_path))
    assert files.uris == [str(tmp_path / name / "a.png") for name in ("cat", "dog")]
    assert files.labels == ["cat", "dog"]
    assert images_as_manifest(load_digits()).classes == tuple("0123456789")


def test_other_data_sets_are_refused() -> None:
    with pytest.raises(DataError, match="must be a pair"):
        images_as_manifest(TensorDataset(torch.zeros(2, 3, 8, 8)))
    with pytest.raises(DataError, match="must be one class"):
        images_as_manifest(TensorDataset(torch.zeros(2, 3, 8, 8), torch.zeros(2, 4)))
    with pytest.raises(TypeError, match="got Bunch"):
        images_as_manifest(load_iris())
