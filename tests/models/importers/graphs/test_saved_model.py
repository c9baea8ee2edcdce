from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from headstart.errors import ModelError
from headstart.models.backbone import digest, is_network_file, load_backbone
from headstart.models.importers.graphs import import_network

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 3, 4)).astype(np.float32)
DENSE = RNG.normal(size=(4, 6)).astype(np.float32)


@pytest.fixture
def write(writer: ModuleType, tensorflow_writer: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    def write(name: str = "module", kernel: np.ndarray = KERNEL) -> Path:
        return writer.write_saved_model(tensorflow_writer, tmp_path / name, kernel, DENSE)  # type: ignore[no-any-return]

    return write


def test_saved_model_computes_its_operations(write: Callable[..., Path]) -> None:
    backbone = load_backbone(str(write()))
    x = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.conv2d(x, torch.from_numpy(KERNEL).permute(3, 2, 0, 1), padding="same")
    features = padded.relu().mean((2, 3))
    with torch.no_grad():
        assert float((backbone.module.prefix(x) - features).abs().max()) <= 1e-5  # type: ignore[operator]
        assert float((backbone.module(x) - features @ torch.from_numpy(DENSE)).abs().max()) <= 1e-4
    assert (backbone.name, backbone.licence) == ("module", "not stated")
    assert backbone.source.endswith("module (TensorFlow SavedModel)")
    assert (backbone.spec.height, backbone.spec.mean, backbone.spec.std) == (8, (0, 0, 0), (1, 1, 1))


def test_a_graph_for_training_is_refused(writer: ModuleType, tensorflow_writer: ModuleType, tmp_path: Path) -> None:
    path = writer.write_saved_model(tensorflow_writer, tmp_path / "module", KERNEL, DENSE, dropout=True)
    with pytest.raises(ModelError) as raised:
        import_network(path)
    assert str(raised.value) == (
        f"{path}: its operation dropout/random (RandomUniform) draws random numbers in every prediction; export the "
        "network for inference (in Keras, call the model with training=False; in PyTorch, after model.eval())"
    )


def test_archive_and_folder_are_the_same_network(
    write: Callable[..., Path], tensorflow_writer: ModuleType, tmp_path: Path
) -> None:
    folder = write()
    archive = tensorflow_writer.write_tar(tmp_path / "module.tar.gz", folder)
    networks = [import_network(each).network for each in (folder, archive)]
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(networks[0](x), networks[1](x))
    other = import_network(write("other", KERNEL + 1)).network
    digests = [digest(each.prefix) for each in (*networks, other)]
    assert digests[0] == digests[1] != digests[2]


def test_is_network_file(write: Callable[..., Path], tmp_path: Path) -> None:
    assert is_network_file(str(write()))
    (tmp_path / "run.onnx").mkdir()
    assert not is_network_file(str(tmp_path / "run.onnx"))
    assert is_network_file("some/net.onnx")
    assert not is_network_file("resnet50")


def test_unreadable_saved_model(write: Callable[..., Path], tensorflow_writer: ModuleType, tmp_path: Path) -> None:
    folder = write()
    (folder / "saved_model.pb").write_bytes(b"\0" * 50)
    for path in (folder, tensorflow_writer.write_tar(tmp_path / "module.tar.gz", folder)):
        with pytest.raises(ModelError) as raised:
            load_backbone(str(path))
        assert str(raised.value).startswith(f"{path}: OpenVINO cannot read the SavedModel (")
    assert ". It is not MobileNetV2 either, which is read directly: not a TensorFlow SavedModel: " in str(raised.value)
    (folder / "saved_model.pb").rename(folder / "other.pb")
    with pytest.raises(ModelError, match=r"not a TensorFlow SavedModel: contains no saved_model\.pb"):
        import_network(tensorflow_writer.write_tar(tmp_path / "module.tar.gz", folder))


@pytest.mark.shared
def test_error_contains_only_the_informative_lines_of_openvino(shared: Path) -> None:
    """A module that is otherwise read as MobileNetV2; OpenVINO does not find the variables of its signature."""
    path = shared.parent / "weights" / "tf2-preview_mobilenet_v2_classification"
    with pytest.raises(ModelError) as raised:
        import_network(path)
    assert str(raised.value) == (
        f"{path}: OpenVINO cannot read the SavedModel ([TensorFlow Frontend] Internal error: Cannot find requested "
        "variable.; Conversion is failed for: VarHandleOp)"
    )
