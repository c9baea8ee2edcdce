"""Outputs of torch compared with those of Keras, on files written by Keras, and on real images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray

from headstart.data.decode import decode
from headstart.data.spec import InputSpec
from headstart.data.transforms import evaluation_view
from headstart.errors import ModelError
from headstart.models.importers.keras import SPEC, KerasWeights, build_keras, load_keras

KERAS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
HUB_MODULE = "tf2-preview_mobilenet_v2_classification"


def normalized(images: NDArray[np.generic], spec: InputSpec) -> torch.Tensor:
    """Images (B, H, W, 3), 0 to 255 -> (B, 3, H, W), normalized for the network."""
    x = torch.from_numpy(images.astype(np.float32) / 255)
    return ((x - torch.tensor(spec.mean)) / torch.tensor(spec.std)).permute(0, 3, 1, 2)


def probabilities(read: KerasWeights, images: NDArray[np.generic]) -> NDArray[np.float32]:
    network = build_keras(read.name, classes=read.classes)
    network.load_state_dict(read.state)
    with torch.inference_mode():
        result = network(normalized(images, read.spec))
        return (result.softmax(1) if read.classes else result).numpy()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("file", "output"),
    [
        ("whole.keras", "whole"),
        ("whole.h5", "whole"),
        ("whole.weights.h5", "whole"),
        ("flat.keras", "flat"),
        ("flat.h5", "flat"),
        ("nested.keras", "nested"),
        ("nested.h5", "nested"),
    ],
)
def test_same_probabilities_as_keras(keras_folder: Path, file: str, output: str) -> None:
    images, expected = np.load(keras_folder / "images.npy"), np.load(keras_folder / "outputs.npz")[output]
    actual = probabilities(load_keras(keras_folder / file), images)
    assert expected.std(axis=0).max() > 1e-3  # the outputs differ between images
    # float32 is summed in another order on each processor: 1.01e-5 was met, a wrong padding or epsilon gives over 1e-4
    assert np.abs(actual - expected).max() <= 5e-5


def test_same_features_as_keras(keras_folder: Path) -> None:
    images, expected = np.load(keras_folder / "images.npy"), np.load(keras_folder / "outputs.npz")["bare"]
    actual = probabilities(load_keras(keras_folder / "bare.h5"), images)
    assert np.allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_padding_and_epsilon_matter(keras_folder: Path) -> None:
    images, expected = np.load(keras_folder / "images.npy"), np.load(keras_folder / "outputs.npz")["whole"]
    read = load_keras(keras_folder / "whole.weights.h5")
    for options in ({"pad_type": "same"}, {"bn_eps": 1e-3}):
        network = timm.create_model(read.architecture, num_classes=7, **options).eval()
        network.load_state_dict(read.state)
        with torch.inference_mode():
            actual = network(normalized(images, read.spec)).softmax(1).numpy()
        assert np.abs(actual - expected).max() > 1e-4


def test_input_spec_of_saved_models(keras_folder: Path) -> None:
    assert load_keras(keras_folder / "whole.keras").spec.height == 96
    assert load_keras(keras_folder / "whole.weights.h5").spec == SPEC  # weights without configuration have no input
    assert load_keras(keras_folder / "nested.keras").spec.mean == (0, 0, 0)
    assert load_keras(keras_folder / "nested.h5").spec.std == pytest.approx((1, 1, 1))


def test_a_lambda_is_never_run(keras_folder: Path) -> None:
    with pytest.raises(ModelError) as raised:
        load_keras(keras_folder / "lambda.keras")
    text = "its layer half is a Lambda, which is code and is never run; save the model without it"
    assert str(raised.value) == f"{keras_folder / 'lambda.keras'}: {text}"


def test_another_network_is_rejected(keras_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"only MobileNetV2 is converted, .*; this network has 1, for example conv2d"):
        load_keras(keras_folder / "other.keras")


def test_writer_uses_the_names_and_shapes_of_keras(keras_folder: Path, writer: ModuleType) -> None:
    with h5py.File(keras_folder / "whole.h5") as file:
        root = file["model_weights"]
        names = [f"{layer}/{name}" for layer in root.attrs["layer_names"] for name in root[layer].attrs["weight_names"]]
        shapes = [(name.partition("/")[2], root[name].shape) for name in names]
    assert shapes == list(writer.shapes(alpha=0.35, classes=7))


# -- published files --------------------------------------------------------------------------------------------------


def validation_images(shared: Path, count: int) -> tuple[NDArray[np.uint8], list[int]]:
    """``count`` validation images spread over the classes, and their class indices."""
    files = sorted((shared / "imagenet-val").rglob("*.*"))
    files = files[:: len(files) // count][:count]
    return np.stack([evaluation_view(decode(each), SPEC) for each in files]), [int(each.parent.name) for each in files]


_PREDICT = """
import sys, keras, numpy as np
model = keras.applications.MobileNetV2(weights=sys.argv[2])
images = keras.applications.mobilenet_v2.preprocess_input(np.load(sys.argv[1] + "/images.npy").astype("float32"))
np.save(sys.argv[1] + "/outputs.npy", model.predict(images, verbose=0))
"""


@pytest.mark.shared
def test_published_file_matches_keras(shared: Path, keras: Callable[..., None], tmp_path: Path) -> None:
    file = shared.parent / "weights" / KERAS_FILE
    images, _ = validation_images(shared, 24)
    np.save(tmp_path / "images.npy", images)
    keras(_PREDICT, tmp_path, file)
    expected = np.load(tmp_path / "outputs.npy")
    assert np.abs(probabilities(load_keras(file), images) - expected).max() <= 1e-4


@pytest.mark.shared
@pytest.mark.slow
def test_published_keras_and_hub_files_agree(shared: Path) -> None:
    images, targets = validation_images(shared, 300)
    files = load_keras(shared.parent / "weights" / KERAS_FILE), load_keras(shared.parent / "weights" / HUB_MODULE)
    keras, hub = (np.concatenate([probabilities(each, part) for part in np.split(images, 10)]) for each in files)
    keras_names, hub_names = files[0].class_names, files[1].class_names
    assert keras_names is not None
    assert hub_names is not None
    predicted = [keras_names[index] for index in keras.argmax(1)], [hub_names[index] for index in hub.argmax(1)]
    assert np.mean([one == other for one, other in zip(*predicted, strict=True)]) >= 0.99
    correct = [name == keras_names[target] for name, target in zip(predicted[1], targets, strict=True)]
    assert np.mean(correct) == pytest.approx(0.788, abs=0.05)  # two standard errors for 300 images


@pytest.mark.shared
def test_hub_module_has_the_parameter_count_of_keras(shared: Path) -> None:
    read = load_keras(shared.parent / "weights" / HUB_MODULE)
    assert sum(each.numel() for each in read.state.values() if each.ndim) == 3_540_265
