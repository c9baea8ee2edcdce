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
from headstart.models.backbone import load_backbone
from headstart.models.engine import Normalised
from headstart.models.foreign import keras_files


def answers(folder: Path, name: str) -> np.ndarray:
    with np.load(folder / "answers.npz") as kept:
        return np.asarray(kept[name])


def logits(file: Path) -> torch.Tensor:
    """What headstart gives for the same pictures, normalised as the file wants them."""
    backbone = load_backbone(str(file))
    images = np.load(file.parent / "images.npy")
    with torch.no_grad():
        return Normalised(backbone.module, backbone.spec)(torch.from_numpy(images))  # type: ignore[no-any-return]


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_it_gives_what_keras_gives(by_keras: Path, ending: str) -> None:
    file = by_keras / f"scaled{ending}"
    assert np.abs(logits(file).softmax(1).numpy() - answers(by_keras, "scaled")).max() <= 1e-4
    backbone = load_backbone(str(file))
    assert backbone.module.num_classes == 5
    assert (backbone.spec.height, backbone.spec.width, backbone.spec.std) == (32, 40, (1 / 255,) * 3)


def test_without_top(by_keras: Path) -> None:
    expected = answers(by_keras, "map").mean((1, 2))
    assert np.abs(logits(by_keras / "map.keras").numpy() - expected).max() <= 1e-4


def test_a_gate_on_channels_and_a_name_that_keras_applications_has(by_keras: Path) -> None:
    backbone = load_backbone(str(by_keras / "gated.keras"))
    assert (backbone.spec.channels, backbone.module.num_classes) == ("BGR", 0)
    assert backbone.spec.mean[0] == pytest.approx(123.68 / 255)
    images = torch.from_numpy(np.load(by_keras / "images.npy")).float().permute(0, 3, 1, 2) / 255
    assert not backbone.module.prefix.one_at_a_time  # type: ignore[union-attr]
    with torch.no_grad():
        features = backbone.module(images)
        alone = torch.cat([backbone.module(each[None]) for each in images])
    assert features.shape == (3, 8)
    assert float((features - alone).abs().max()) <= 1e-6


def test_weights_alone(by_keras: Path) -> None:
    file = by_keras / "scaled.weights.h5"
    with pytest.raises(ModelError) as raised:
        load_backbone(str(file))
    assert str(raised.value).startswith(
        f"{file}: holds weights alone, of a network other than MobileNetV2, which no one can build from them: "
        "save the whole model, model.save('FILE.keras')"
    )


def test_what_keras_cannot_load(by_keras: Path, tmp_path: Path, tensorflow_made: ModuleType) -> None:
    config = {"class_name": "Functional", "module": "keras.models", "config": {"name": "odd", "layers": "none"}}
    members = {"config.json": json.dumps(config), "model.weights.h5": b"", "metadata.json": "{}"}
    file = tensorflow_made.write_keras(tmp_path / "odd.keras", members)
    with pytest.raises(ModelError) as raised:
        keras_files.converted(file, tmp_path)
    assert str(raised.value).startswith("Keras cannot load it or write it as OpenVINO's graph (")
    assert keras_files.described(file) == config
    file.write_bytes(b"no archive")
    with pytest.raises(ModelError, match="not a zip archive, or damaged"):
        keras_files.described(file)


def layer(kind: str, module: str | None, **settings: Any) -> dict[str, Any]:
    return {"class_name": kind, "module": module, "config": {"name": "odd", **settings}}


def test_code_is_refused_wherever_it_stands() -> None:
    def refused(inside: dict[str, Any]) -> str:
        wrapped = layer("TimeDistributed", "keras.layers", layer=inside)
        with pytest.raises(ModelError) as raised:
            keras_files.refuse_foreign_code(layer("Sequential", "keras", layers=[wrapped]))
        return str(raised.value)

    assert refused(layer("Lambda", "keras.layers")) == (
        "its layer odd is a Lambda, which is code; it is never run. Save the model without it"
    )
    function = {"module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization"}
    assert refused(function) == (
        "it names keras.config.enable_unsafe_deserialization, which is no layer of Keras: code is not run. "
        "Export the model as ONNX (model.export('FILE.onnx', format='onnx')) and give that"
    )
    for kind, module in (("Popen", "subprocess"), ("Mine", "my_package.layers"), ("Evil", "kerasx.layers")):
        assert refused(layer(kind, module)).startswith(f"it names {module}.{kind}, which is no layer of Keras")
    activation = {"module": "keras.activations", "class_name": "function", "config": "swish"}
    compiled = {"optimizer": {"class_name": "Mine", "module": "my_package"}}
    fine = layer("Dense", "keras.src.layers", activation=activation) | {"compile_config": compiled}
    keras_files.refuse_foreign_code(layer("Sequential", None, layers=[fine]))


def test_keras_is_missing_or_old(by_keras: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = shutil.copy(by_keras / "scaled.keras", tmp_path / "scaled.keras")

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(keras_files, "version", missing)
    with pytest.raises(ModelError) as raised:
        load_backbone(str(file))
    assert str(raised.value).startswith(
        f"{file}: a network other than MobileNetV2, which Keras is needed for, and it is not installed; run "
        '"pip install headstart[keras]". Nor is it MobileNetV2'
    )
    monkeypatch.setattr(keras_files, "version", lambda _: "3.9.2")
    with pytest.raises(ModelError, match=r"needs Keras 3\.12 or later, this is 3\.9\.2; run"):
        load_backbone(str(file))
