from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from headstart.errors import ModelError
from headstart.models.importers.keras import load_keras, tensor_bundle
from headstart.models.importers.keras.networks import KerasWeights


def rejected(path: Path) -> str:
    with pytest.raises(ModelError) as raised:
        load_keras(path)
    return str(raised.value).removeprefix(f"{path}: ")


def equal(weights: KerasWeights, expected: KerasWeights) -> bool:
    return all(np.array_equal(weights.state[name], expected.state[name]) for name in expected.state)


def test_folder_and_archive_match_the_keras_file(writer: ModuleType, tmp_path: Path) -> None:
    values = writer.variables()
    expected = load_keras(writer.write_h5(tmp_path / "weights.h5", values))
    folder = writer.write_saved_model(tmp_path / "model", values)
    assert equal(load_keras(folder), expected)
    assert equal(load_keras(writer.write_tar(tmp_path / "model.tar.gz", folder)), expected)


def test_variable_names_of_tf_slim(writer: ModuleType, tmp_path: Path) -> None:
    values = writer.variables(classes=1001)
    expected = load_keras(writer.write_h5(tmp_path / "weights.h5", values))
    renamed = {f"module/{name}:0": each for name, each in writer.slim(values).items()}
    read = load_keras(writer.write_saved_model(tmp_path / "model", renamed))
    assert equal(read, expected)
    assert read.classes == 1001
    assert read.class_names is not None
    assert read.class_names[:2] == ("background", "tench, Tinca tinca")


def test_training_state_is_ignored(writer: ModuleType, tmp_path: Path) -> None:
    values = writer.variables()
    folder = writer.write_saved_model(tmp_path / "model", values)
    index, data = writer.bundle(values)
    entry = writer.entry(9, (), 0, 8, 0)
    more = dict.fromkeys((b"optimizer/_variables/1", b"save_counter/.ATTRIBUTES", b"keras_api/metrics/0/total"), entry)
    blocks = _entries(writer, index) | more
    assert len(blocks) == len(values) + 5
    (folder / "variables" / "variables.index").write_bytes(writer.table(blocks))
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(data)
    assert equal(load_keras(folder), load_keras(writer.write_h5(tmp_path / "weights.h5", values)))


def test_dropout_state_is_ignored(writer: ModuleType, tmp_path: Path) -> None:
    values = writer.variables()
    folder = writer.write_saved_model(
        tmp_path / "model", {**values, "seed_generator/seed_generator_state": np.zeros(2, int)}
    )
    assert load_keras(folder).classes == 7


def test_variables_with_shared_bytes_are_rejected(writer: ModuleType, tmp_path: Path) -> None:
    folder = writer.write_saved_model(tmp_path / "model", writer.variables())
    entries = _entries(writer, writer.bundle(writer.variables())[0])
    kernel = entries[b"variables/0/.ATTRIBUTES/VARIABLE_VALUE"]
    entries.update({f"more/{number}".encode(): kernel for number in range(2000)})
    (folder / "variables" / "variables.index").write_bytes(writer.table(entries))
    assert rejected(folder) == "damaged: its variables overlap"


@pytest.mark.parametrize(("twin", "differs"), [(0, False), (1, True)])
def test_variable_stored_twice(writer: ModuleType, tmp_path: Path, twin: int, differs: bool) -> None:
    values = writer.variables()
    folder = writer.write_saved_model(tmp_path / "model", values)
    index, data = writer.bundle(values)
    entries = _entries(writer, index)
    key = b"_all_variables/3/.ATTRIBUTES/VARIABLE_VALUE"
    entries[key] = entries[f"variables/{twin}/.ATTRIBUTES/VARIABLE_VALUE".encode()]
    graph = tensor_bundle.read_string(tensor_bundle.read_index(index)[1][tensor_bundle.OBJECT_GRAPH], data)
    graph += writer.field(1, writer.field(2, writer.field(2, b"Conv1/kernel") + writer.field(3, key)))
    entries[tensor_bundle.OBJECT_GRAPH.encode()], content = writer.text(graph, len(data))
    (folder / "variables" / "variables.index").write_bytes(writer.table(entries))
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(data + content)
    if differs:
        assert rejected(folder) == "it has two variables called Conv1/kernel"
    else:
        assert load_keras(folder).classes == 7


def test_integer_variable_is_rejected(writer: ModuleType, tmp_path: Path) -> None:
    values = writer.variables()
    values["Conv1/kernel"] = values["Conv1/kernel"].astype(np.int64)
    assert rejected(writer.write_saved_model(tmp_path / "model", values)) == (
        "its variable Conv1/kernel: has TensorFlow's type 9, which is not supported; "
        "must be float16, float32 or float64 in one piece"
    )


def test_damaged_data(writer: ModuleType, tmp_path: Path) -> None:
    folder = writer.write_saved_model(tmp_path / "model", writer.variables())
    data = folder / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[7] ^= 1
    data.write_bytes(content)
    assert rejected(folder) == "its variable Conv1/kernel: damaged: a checksum does not match"
    data.write_bytes(content[:1000])
    assert rejected(folder).startswith("truncated: ")
    data.unlink()
    assert rejected(folder) == "its file variables/variables.data-00000-of-00001 is missing"


def test_other_folders_are_rejected(writer: ModuleType, tmp_path: Path) -> None:
    text = "not a TensorFlow SavedModel: contains no variables/variables.index"
    (tmp_path / "empty" / "variables").mkdir(parents=True)
    assert rejected(tmp_path / "empty") == text
    assert rejected(tmp_path) == text
    assert rejected(writer.write_tar(tmp_path / "empty.tar.gz", tmp_path / "empty")) == text


def test_tensorflow_1_is_rejected(writer: ModuleType, tmp_path: Path) -> None:
    folder = writer.write_saved_model(tmp_path / "model", {})
    (folder / "variables" / "variables.index").write_bytes(writer.table({b"": b"\x08\x01"}))
    text = "contains no object graph, so it was saved by TensorFlow 1; only TensorFlow 2 is supported"
    assert rejected(folder) == text


def _entries(writer: ModuleType, index: bytes) -> dict[bytes, bytes]:
    """Keys and values of an index, raw."""
    _, entries = tensor_bundle.read_index(index)
    raw = {b"": b"\x08\x01"}
    for key, each in entries.items():
        raw[key.encode()] = writer.entry(each.dtype, each.shape, each.offset, each.size, each.crc32c)
    return raw
