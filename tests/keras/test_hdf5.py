from __future__ import annotations

from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from headstart.errors import ModelError
from headstart.models.keras import load_keras


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as raised:
        load_keras(path)
    return str(raised.value)


def test_another_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_text("<html>404 not found</html>")
    assert (
        refused(path)
        == f"{path}: not an HDF5 file, or damaged (Unable to synchronously open file (file signature not found))"
    )


def test_a_download_cut_short(made: ModuleType, tmp_path: Path) -> None:
    path = made.write_h5(tmp_path / "weights.h5", made.variables())
    path.write_bytes(path.read_bytes()[:500_000])
    assert refused(path).startswith(
        f"{path}: not an HDF5 file, or damaged (Unable to synchronously open file (truncated file: eof = 500000, "
    )


def test_an_empty_file(made: ModuleType, tmp_path: Path) -> None:
    path = made.write_h5(tmp_path / "weights.h5", {})
    text = "only MobileNetV2 is converted today, which has 35 layers of the kind convolution; this has 0"
    assert refused(path) == f"{path}: {text}"


def test_names_that_are_not_there(made: ModuleType, tmp_path: Path) -> None:
    path = made.write_h5(tmp_path / "weights.h5", made.variables())
    with h5py.File(path, "a") as file:
        del file["block_3_project/block_3_project/kernel"]
    text = "its variable block_3_project/block_3_project/kernel is missing, or a link, which is not followed"
    assert refused(path) == f"{path}: {text}"


@pytest.mark.parametrize("link", [h5py.SoftLink("/Conv1/Conv1/kernel"), h5py.ExternalLink("other.h5", "/secret")])
def test_links_are_not_followed(made: ModuleType, tmp_path: Path, link: object) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.zeros((1, 1, 8, 48), np.float32)
    path = made.write_h5(tmp_path / "weights.h5", made.variables())
    with h5py.File(path, "a") as file:
        del file["block_1_expand/block_1_expand/kernel"]
        file["block_1_expand/block_1_expand/kernel"] = link
    text = "its variable block_1_expand/block_1_expand/kernel is missing, or a link, which is not followed"
    assert refused(path) == f"{path}: {text}"


def test_a_layer_that_is_a_link(made: ModuleType, tmp_path: Path) -> None:
    path = made.write_h5(tmp_path / "weights.h5", made.variables())
    with h5py.File(path, "a") as file:
        del file["Conv1"]
        file["Conv1"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/Conv1")
    assert refused(path) == f"{path}: its layer Conv1 is missing, or a link, which is not followed"


def test_data_in_another_file_are_not_read(made: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(4000))
    path = made.write_h5(tmp_path / "weights.h5", made.variables())
    with h5py.File(path, "a") as file:
        del file["Conv1/Conv1/kernel"]
        outside = [(str(tmp_path / "secret"), 0, 4 * 3 * 3 * 3 * 16)]
        file["Conv1/Conv1"].create_dataset("kernel", (3, 3, 3, 16), np.float32, external=outside)
    assert refused(path) == f"{path}: its variable Conv1/kernel lies in another file, which is not opened"


def test_a_file_that_unpacks_to_terabytes(made: ModuleType, tmp_path: Path) -> None:
    path = made.write_h5(tmp_path / "weights.h5", made.variables())
    with h5py.File(path, "a") as file:
        file.create_dataset("more", (1 << 40,), np.float32, chunks=(1 << 20,), compression="gzip")
    assert path.stat().st_size < 4 << 20
    assert refused(path) == f"{path}: holds more than the 512 MiB that are read, which no MobileNetV2 needs"


def test_a_configuration_that_is_no_text(made: ModuleType, tmp_path: Path) -> None:
    path = made.write_h5(tmp_path / "weights.h5", made.variables())
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = 3
    text = "its configuration is damaged (the JSON object must be str, bytes or bytearray, not int64)"
    assert refused(path) == f"{path}: {text}"


def test_integers(made: ModuleType, tmp_path: Path) -> None:
    values = made.variables()
    values["Conv1/kernel"] = values["Conv1/kernel"].astype(np.int8)
    path = made.write_h5(tmp_path / "weights.h5", values)
    assert refused(path) == f"{path}: its variable Conv1/kernel is of type int8, not floating point"


def test_half_precision_and_names_of_tensorflow_1(made: ModuleType, tmp_path: Path) -> None:
    values = {name: each.astype(np.float16) for name, each in made.variables().items()}
    state = load_keras(made.write_h5(tmp_path / "weights.h5", values, suffix=":0")).state
    assert np.array_equal(state["classifier.bias"].numpy(), values["predictions/bias"].astype(np.float32))


def test_a_long_list_of_names_is_kept_in_parts(made: ModuleType, tmp_path: Path) -> None:
    path = made.write_h5(tmp_path / "weights.h5", made.variables())
    whole = load_keras(path).state
    with h5py.File(path, "a") as file:
        names = file.attrs["layer_names"]
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:50], names[50:]
    parts = load_keras(path).state
    assert all(np.array_equal(parts[name], whole[name]) for name in whole)


def test_hdf5_under_the_ending_of_archives(made: ModuleType, tmp_path: Path) -> None:
    values = made.variables()
    path = made.write_h5(tmp_path / "model.keras", values, config=made.config())
    assert load_keras(path).spec.width == 128


@pytest.mark.parametrize("named", [True, False])
def test_keras_3_numbers_layers_by_type(made: ModuleType, tmp_path: Path, named: bool) -> None:
    values = made.variables()
    path = tmp_path / "model.weights.h5"
    path.write_bytes(made.keras3_h5(values, named=named))
    read, legacy = load_keras(path), load_keras(made.write_h5(tmp_path / "legacy.h5", values))
    assert read.classes == legacy.classes == 7
    assert all(np.array_equal(read.state[name], legacy.state[name]) for name in legacy.state)


def test_a_layer_of_another_kind(made: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/lstm/vars/0"] = np.zeros(3, np.float32)
    text = "its variable layers/lstm/vars/0 is of no layer of MobileNetV2, the only Keras network converted today"
    assert refused(path) == f"{path}: {text}"


def test_a_variable_twice(made: ModuleType, tmp_path: Path) -> None:
    path = made.write_h5(tmp_path / "weights.h5", made.variables())
    with h5py.File(path, "a") as file:
        file["Conv1"].attrs["weight_names"] = ["Conv1/kernel", "Conv1/kernel"]
    assert refused(path) == f"{path}: it has two variables called Conv1/kernel"
