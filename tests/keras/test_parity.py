"""What torch answers beside what Keras answers, on files that Keras wrote, and on real pictures."""

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
from headstart.models.keras import SPEC, KerasWeights, build_keras, load_keras

KERAS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
HUB_MODULE = "tf2-preview_mobilenet_v2_classification"


def normalised(images: NDArray[np.generic], spec: InputSpec) -> torch.Tensor:
    """Images (B, H, W, 3), 0 to 255 -> (B, 3, H, W), as the network wants them."""
    x = torch.from_numpy(images.astype(np.float32) / 255)
    return ((x - torch.tensor(spec.mean)) / torch.tensor(spec.std)).permute(0, 3, 1, 2)


def probabilities(read: KerasWeights, images: NDArray[np.generic]) -> NDArray[np.float32]:
    network = build_keras(read.name, classes=read.classes)
    network.load_state_dict(read.state)
    with torch.inference_mode():
        result = network(normalised(images, read.spec))
        return (result.softmax(1) if read.classes else result).numpy()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("file", "answer"),
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
def test_the_same_probabilities_as_keras(by_keras: Path, file: str, answer: str) -> None:
    images, expected = np.load(by_keras / "images.npy"), np.load(by_keras / "answers.npz")[answer]
    given = probabilities(load_keras(by_keras / file), images)
    assert expected.std(axis=0).max() > 1e-3  # the pictures make a difference
    assert np.abs(given - expected).max() <= 1e-4 / 10


def test_the_same_features_as_keras(by_keras: Path) -> None:
    images, expected = np.load(by_keras / "images.npy"), np.load(by_keras / "answers.npz")["bare"]
    given = probabilities(load_keras(by_keras / "bare.h5"), images)
    assert np.allclose(given, expected, rtol=1e-4, atol=1e-4)


def test_padding_and_epsilon_make_a_difference(by_keras: Path) -> None:
    images, expected = np.load(by_keras / "images.npy"), np.load(by_keras / "answers.npz")["whole"]
    read = load_keras(by_keras / "whole.weights.h5")
    for options in ({"pad_type": "same"}, {"bn_eps": 1e-3}):
        network = timm.create_model(read.architecture, num_classes=7, **options).eval()
        network.load_state_dict(read.state)
        with torch.inference_mode():
            given = network(normalised(images, read.spec)).softmax(1).numpy()
        assert np.abs(given - expected).max() > 1e-4


def test_the_input_is_what_the_model_was_saved_with(by_keras: Path) -> None:
    assert load_keras(by_keras / "whole.keras").spec.height == 96
    assert load_keras(by_keras / "whole.weights.h5").spec == SPEC  # variables alone do not tell
    assert load_keras(by_keras / "nested.keras").spec.mean == (0, 0, 0)
    assert load_keras(by_keras / "nested.h5").spec.std == pytest.approx((1, 1, 1))


def test_a_lambda_is_never_run(by_keras: Path) -> None:
    with pytest.raises(ModelError) as raised:
        load_keras(by_keras / "lambda.keras")
    text = "its layer half is a Lambda, which is code; it is never run. Save the model without it"
    assert str(raised.value) == f"{by_keras / 'lambda.keras'}: {text}"


def test_another_network_is_told(by_keras: Path) -> None:
    with pytest.raises(ModelError, match=r"only MobileNetV2 is converted today, .*; this has 1, for example conv2d"):
        load_keras(by_keras / "other.keras")


def test_the_names_and_shapes_of_these_tests_are_those_of_keras(by_keras: Path, made: ModuleType) -> None:
    with h5py.File(by_keras / "whole.h5") as file:
        root = file["model_weights"]
        names = [f"{layer}/{name}" for layer in root.attrs["layer_names"] for name in root[layer].attrs["weight_names"]]
        shapes = [(name.partition("/")[2], root[name].shape) for name in names]
    assert shapes == list(made.shapes(alpha=0.35, classes=7))


# -- the tutorial's own files -----------------------------------------------------------------------------------------


def pictures(shared: Path, count: int) -> tuple[NDArray[np.uint8], list[int]]:
    """``count`` validation pictures spread over the classes, and their classes by number."""
    files = sorted((shared / "imagenet-val").rglob("*.*"))
    files = files[:: len(files) // count][:count]
    return np.stack([evaluation_view(decode(each), SPEC) for each in files]), [int(each.parent.name) for each in files]


_ANSWER = """
import sys, keras, numpy as np
model = keras.applications.MobileNetV2(weights=sys.argv[2])
images = keras.applications.mobilenet_v2.preprocess_input(np.load(sys.argv[1] + "/images.npy").astype("float32"))
np.save(sys.argv[1] + "/answers.npy", model.predict(images, verbose=0))
"""


@pytest.mark.shared
def test_the_tutorials_file_answers_as_in_keras(shared: Path, keras: Callable[..., None], tmp_path: Path) -> None:
    file = shared.parent / "weights" / KERAS_FILE
    images, _ = pictures(shared, 24)
    np.save(tmp_path / "images.npy", images)
    keras(_ANSWER, tmp_path, file)
    expected = np.load(tmp_path / "answers.npy")
    assert np.abs(probabilities(load_keras(file), images) - expected).max() <= 1e-4


@pytest.mark.shared
@pytest.mark.slow
def test_both_files_are_one_network(shared: Path) -> None:
    images, targets = pictures(shared, 300)
    files = load_keras(shared.parent / "weights" / KERAS_FILE), load_keras(shared.parent / "weights" / HUB_MODULE)
    keras, hub = (np.concatenate([probabilities(each, part) for part in np.split(images, 10)]) for each in files)
    keras_names, hub_names = files[0].class_names, files[1].class_names
    assert keras_names is not None
    assert hub_names is not None
    told = [keras_names[index] for index in keras.argmax(1)], [hub_names[index] for index in hub.argmax(1)]
    assert np.mean([one == other for one, other in zip(*told, strict=True)]) >= 0.99
    right = [name == keras_names[target] for name, target in zip(told[1], targets, strict=True)]
    assert np.mean(right) == pytest.approx(0.788, abs=0.05)  # two standard errors of 300 pictures


@pytest.mark.shared
def test_the_module_has_keras_count_of_parameters(shared: Path) -> None:
    read = load_keras(shared.parent / "weights" / HUB_MODULE)
    assert sum(each.numel() for each in read.state.values() if each.ndim) == 3_540_265
