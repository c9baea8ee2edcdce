from __future__ import annotations

from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from headstart.errors import ModelError
from headstart.models.importers.keras import load_keras


def rejected(path: Path) -> str:
    with pytest.raises(ModelError) as raised:
        load_keras(path)
    return str(raised.value)


def test_html_page_instead_of_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_text("<html>404 not found</html>")
    assert (
        rejected(path)
        == f"{path}: not an HDF5 file, or damaged (Unable to synchronously open file (file signature not found))"
    )


def test_truncated_download(writer: ModuleType, tmp_path: Path) -> None:
    path = writer.write_h5(tmp_path / "weights.h5", writer.variables())
    path.write_bytes(path.read_bytes()[:500_000])
    assert rejected(path).startswith(
        f"{path}: not an HDF5 file, or damaged (Unable to synchronously open file (truncated file: eof = 500000, "
    )


def test_empty_file(writer: ModuleType, tmp_path: Path) -> None:
    path = writer.write_h5(tmp_path / "weights.h5", {})
    text = "only MobileNetV2 is converted, which has 35 layers of the kind convolution; this network has 0"
    assert rejected(path) == f"{path}: {text}"


def test_missing_variable(writer: ModuleType, tmp_path: Path) -> None:
    path = writer.write_h5(tmp_path / "weights.h5", writer.variables())
    with h5py.File(path, "a") as file:
        del file["block_3_project/block_3_project/kernel"]
    text = "its variable block_3_project/block_3_project/kernel is missing, or a link, which is not followed"
    assert rejected(path) == f"{path}: {text}"


@pytest.mark.parametrize("link", [h5py.SoftLink("/Conv1/Conv1/kernel"), h5py.ExternalLink("other.h5", "/secret")])
def test_links_are_not_followed(writer: ModuleType, tmp_path: Path, link: object) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.zeros((1, 1, 8, 48), np.float32)
    path = writer.write_h5(tmp_path / "weights.h5", writer.variables())
    with h5py.File(path, "a") as file:
        del file["block_1_expand/block_1_expand/kernel"]
        file["block_1_expand/block_1_expand/kernel"] = link
    text = "its variable block_1_expand/block_1_expand/kernel is missing, or a link, which is not followed"
    assert rejected(path) == f"{path}: {text}"


def test_linked_layer_is_rejected(writer: ModuleType, tmp_path: Path) -> None:
    path = writer.write_h5(tmp_path / "weights.h5", writer.variables())
    with h5py.File(path, "a") as file:
        del file["Conv1"]
        file["Conv1"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/Conv1")
    assert rejected(path) == f"{path}: its layer Conv1 is missing, or a link, which is not followed"


def test_external_data_is_not_read(writer: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(4000))
    path = writer.write_h5(tmp_path / "weights.h5", writer.variables())
    with h5py.File(path, "a") as file:
        del file["Conv1/Conv1/kernel"]
        outside = [(str(tmp_path / "secret"), 0, 4 * 3 * 3 * 3 * 16)]
        file["Conv1/Conv1"].create_dataset("kernel", (3, 3, 3, 16), np.float32, external=outside)
    assert rejected(path) == f"{path}: its variable Conv1/kernel is in another file, which is not opened"


def test_size_limit(writer: ModuleType, tmp_path: Path) -> None:
    path = writer.write_h5(tmp_path / "weights.h5", writer.variables())
    with h5py.File(path, "a") as file:
        file.create_dataset("more", (1 << 40,), np.float32, chunks=(1 << 20,), compression="gzip")
    assert path.stat().st_size < 4 << 20
    assert rejected(path) == f"{path}: larger than the limit of 512 MiB, which is ample for MobileNetV2"


def test_configuration_that_is_not_text(writer: ModuleType, tmp_path: Path) -> None:
    path = writer.write_h5(tmp_path / "weights.h5", writer.variables())
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = 3
    text = "its configuration is damaged (the JSON object must be str, bytes or bytearray, not int64)"
    assert rejected(path) == f"{path}: {text}"


def test_integers_are_rejected(writer: ModuleType, tmp_path: Path) -> None:
    values = writer.variables()
    values["Conv1/kernel"] = values["Conv1/kernel"].astype(np.int8)
    path = writer.write_h5(tmp_path / "weights.h5", values)
    assert rejected(path) == f"{path}: its variable Conv1/kernel has the type int8, must be floating point"


def test_half_precision_and_tensorflow_1_names(writer: ModuleType, tmp_path: Path) -> None:
    values = {name: each.astype(np.float16) for name, each in writer.variables().items()}
    state = load_keras(writer.write_h5(tmp_path / "weights.h5", values, suffix=":0")).state
    assert np.array_equal(state["classifier.bias"].numpy(), values["predictions/bias"].astype(np.float32))


def test_long_list_of_names_in_parts(writer: ModuleType, tmp_path: Path) -> None:
    path = writer.write_h5(tmp_path / "weights.h5", writer.variables())
    whole = load_keras(path).state
    with h5py.File(path, "a") as file:
        names = file.attrs["layer_names"]
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:50], names[50:]
    parts = load_keras(path).state
    assert all(np.array_equal(parts[name], whole[name]) for name in whole)


def test_hdf5_with_keras_suffix(writer: ModuleType, tmp_path: Path) -> None:
    values = writer.variables()
    path = writer.write_h5(tmp_path / "model.keras", values, config=writer.config())
    assert load_keras(path).spec.width == 128


@pytest.mark.parametrize("named", [True, False])
def test_keras_3_numbers_layers_by_type(writer: ModuleType, tmp_path: Path, named: bool) -> None:
    values = writer.variables()
    path = tmp_path / "model.weights.h5"
    path.write_bytes(writer.keras3_h5(values, named=named))
    read, legacy = load_keras(path), load_keras(writer.write_h5(tmp_path / "legacy.h5", values))
    assert read.classes == legacy.classes == 7
    assert all(np.array_equal(read.state[name], legacy.state[name]) for name in legacy.state)


def test_layer_of_another_type(writer: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/lstm/vars/0"] = np.zeros(3, np.float32)
    text = "its variable layers/lstm/vars/0 is not part of MobileNetV2, the only Keras network that is converted"
    assert rejected(path) == f"{path}: {text}"


def test_duplicate_variable(writer: ModuleType, tmp_path: Path) -> None:
    path = writer.write_h5(tmp_path / "weights.h5", writer.variables())
    with h5py.File(path, "a") as file:
        file["Conv1"].attrs["weight_names"] = ["Conv1/kernel", "Conv1/kernel"]
    assert rejected(path) == f"{path}: it has two variables called Conv1/kernel"
