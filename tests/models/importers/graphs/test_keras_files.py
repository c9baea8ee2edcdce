from __future__ import annotations

import json
import shutil
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from headstart.errors import ModelError
from headstart.inference.engine import Normalized
from headstart.models.backbone import load_backbone
from headstart.models.importers.graphs import keras_files, keras_process


def outputs_of(folder: Path, name: str) -> np.ndarray:
    with np.load(folder / "outputs.npz") as outputs:
        return np.asarray(outputs[name])


def logits(file: Path) -> torch.Tensor:
    """Logits of headstart for the same images, normalized as the file requires."""
    backbone = load_backbone(str(file))
    images = np.load(file.parent / "images.npy")
    with torch.no_grad():
        return Normalized(backbone.module, backbone.spec)(torch.from_numpy(images))  # type: ignore[no-any-return]


FRAMING = (
    "images are resized so that their center, 87.5% of the shorter side, is shown "
    "(guessed; --framing or --crop settles it)"
)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_same_probabilities_as_keras(keras_folder: Path, ending: str) -> None:
    file = keras_folder / f"scaled{ending}"
    assert np.abs(logits(file).softmax(1).numpy() - outputs_of(keras_folder, "scaled")).max() <= 1e-4
    backbone = load_backbone(str(file))
    assert backbone.module.num_classes == 5
    assert (backbone.spec.height, backbone.spec.width, backbone.spec.std) == (32, 40, (1 / 255,) * 3)


@pytest.mark.parametrize("name", ["augmented.keras", "adapted.h5"])
def test_augmentation_and_pixel_range_inside(keras_folder: Path, name: str) -> None:
    backbone = load_backbone(str(keras_folder / name))
    assert np.abs(logits(keras_folder / name).numpy() - outputs_of(keras_folder, Path(name).stem)).max() <= 1e-3
    assert [str(each) for each in backbone.guesses] == [FRAMING]
    assert backbone.facts[1].startswith("pixels are shown as RGB from 0 to 255, since it ")


def test_without_top(keras_folder: Path) -> None:
    expected = outputs_of(keras_folder, "map").mean((1, 2))
    assert np.abs(logits(keras_folder / "map.keras").numpy() - expected).max() <= 1e-4


def test_channel_gating_and_input_of_keras_applications(keras_folder: Path) -> None:
    backbone = load_backbone(str(keras_folder / "gated.keras"))
    assert [str(each) for each in backbone.guesses] == [
        "pixels are shown as keras.applications shows them to resnet50, after which a model in the file is named "
        "(guessed; --range or --channels settles it)",
        FRAMING,
    ]
    assert (backbone.spec.channels, backbone.module.num_classes) == ("BGR", 0)
    assert backbone.spec.mean[0] == pytest.approx(123.68 / 255)
    images = torch.from_numpy(np.load(keras_folder / "images.npy")).float().permute(0, 3, 1, 2) / 255
    assert not backbone.module.prefix.single_image_only  # type: ignore[union-attr]
    with torch.no_grad():
        features = backbone.module(images)
        alone = torch.cat([backbone.module(each[None]) for each in images])
    assert features.shape == (3, 8)
    assert float((features - alone).abs().max()) <= 1e-6


def test_weights_without_configuration(keras_folder: Path) -> None:
    file = keras_folder / "scaled.weights.h5"
    with pytest.raises(ModelError) as raised:
        load_backbone(str(file))
    assert str(raised.value).startswith(
        f"{file}: contains only weights, and not those of MobileNetV2: the network cannot be built from them; "
        "save the whole model, model.save('FILE.keras')"
    )


def test_file_that_keras_cannot_load(keras_folder: Path, tmp_path: Path, tensorflow_writer: ModuleType) -> None:
    config = {"class_name": "Functional", "module": "keras.models", "config": {"name": "odd", "layers": "none"}}
    members = {"config.json": json.dumps(config), "model.weights.h5": b"", "metadata.json": "{}"}
    file = tensorflow_writer.write_keras(tmp_path / "odd.keras", members)
    with pytest.raises(ModelError) as raised:
        keras_process.convert(file, tmp_path)
    assert str(raised.value).startswith("Keras cannot load it or export it to OpenVINO (")
    assert keras_files.read_config(file) == config
    file.write_bytes(b"no archive")
    with pytest.raises(ModelError, match="not a zip archive, or damaged"):
        keras_files.read_config(file)


def layer(kind: str, module: str | None, **settings: Any) -> dict[str, Any]:
    return {"class_name": kind, "module": module, "config": {"name": "odd", **settings}}


def test_code_is_rejected_at_any_depth() -> None:
    def rejected(inner: dict[str, Any]) -> str:
        wrapped = layer("TimeDistributed", "keras.layers", layer=inner)
        with pytest.raises(ModelError) as raised:
            keras_files.check_no_code(layer("Sequential", "keras", layers=[wrapped]))
        return str(raised.value)

    assert rejected(layer("Lambda", "keras.layers")) == (
        "its layer odd is a Lambda, which is code and is never run; save the model without it"
    )
    function = {"module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization"}
    assert rejected(function) == (
        "it refers to keras.config.enable_unsafe_deserialization, which is not part of Keras, and custom code is never "
        "run; export the model as ONNX (model.export('FILE.onnx', format='onnx')) and use that file"
    )
    for kind, module in (("Popen", "subprocess"), ("Mine", "my_package.layers"), ("Evil", "kerasx.layers")):
        assert rejected(layer(kind, module)).startswith(f"it refers to {module}.{kind}, which is not part of Keras")
    activation = {"module": "keras.activations", "class_name": "function", "config": "swish"}
    compiled = {"optimizer": {"class_name": "Mine", "module": "my_package"}}
    fine = layer("Dense", "keras.src.layers", activation=activation)
    keras_files.check_no_code(layer("Sequential", None, layers=[fine]))
    # Keras compiles a nested model in spite of compile=False.
    assert rejected(fine | {"compile_config": compiled}).startswith(
        "it refers to my_package.Mine, which is not part of"
    )


def test_compile_config_of_the_whole_model_is_not_loaded(tmp_path: Path, tensorflow_writer: ModuleType) -> None:
    compiled = {"compile_config": {"optimizer": {"class_name": "Mine", "module": "my_package"}}}
    config = layer("Sequential", "keras", layers=[]) | compiled
    file = tensorflow_writer.write_keras(tmp_path / "net.keras", {"config.json": json.dumps(config)})
    assert keras_files.read_config(file) == config


def test_missing_or_old_keras(keras_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = shutil.copy(keras_folder / "scaled.keras", tmp_path / "scaled.keras")

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(keras_process, "version", missing)
    with pytest.raises(ModelError) as raised:
        load_backbone(str(file))
    assert str(raised.value).startswith(
        f"{file}: networks other than MobileNetV2 need Keras, which is not installed; run "
        '"pip install headstart[keras]". It is not MobileNetV2 either'
    )
    monkeypatch.setattr(keras_process, "version", lambda _: "3.9.2")
    with pytest.raises(ModelError, match=r"need Keras 3\.12 or later, installed is 3\.9\.2; run"):
        load_backbone(str(file))
