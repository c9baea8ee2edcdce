from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from headstart.errors import ModelError
from headstart.models.keras import load_keras, tensor_bundle
from headstart.models.keras.networks import KerasWeights


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as raised:
        load_keras(path)
    return str(raised.value).removeprefix(f"{path}: ")


def same(one: KerasWeights, other: KerasWeights) -> bool:
    return all(np.array_equal(one.state[name], other.state[name]) for name in other.state)


def test_a_folder_and_an_archive_give_what_keras_gives(made: ModuleType, tmp_path: Path) -> None:
    values = made.variables()
    expected = load_keras(made.write_h5(tmp_path / "weights.h5", values))
    folder = made.write_saved_model(tmp_path / "model", values)
    assert same(load_keras(folder), expected)
    assert same(load_keras(made.write_tar(tmp_path / "model.tar.gz", folder)), expected)


def test_the_names_of_googles_modules(made: ModuleType, tmp_path: Path) -> None:
    values = made.variables(classes=1001)
    expected = load_keras(made.write_h5(tmp_path / "weights.h5", values))
    renamed = {f"module/{name}:0": each for name, each in made.slim(values).items()}
    read = load_keras(made.write_saved_model(tmp_path / "model", renamed))
    assert same(read, expected)
    assert read.classes == 1001
    assert read.class_names is not None
    assert read.class_names[:2] == ("background", "tench, Tinca tinca")


def test_what_training_keeps_is_left_out(made: ModuleType, tmp_path: Path) -> None:
    values = made.variables()
    folder = made.write_saved_model(tmp_path / "model", values)
    index, data = made.bundle(values)
    entry = made.entry(9, (), 0, 8, 0)
    more = dict.fromkeys((b"optimizer/_variables/1", b"save_counter/.ATTRIBUTES", b"keras_api/metrics/0/total"), entry)
    blocks = _entries(made, index) | more
    assert len(blocks) == len(values) + 5
    (folder / "variables" / "variables.index").write_bytes(made.table(blocks))
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(data)
    assert same(load_keras(folder), load_keras(made.write_h5(tmp_path / "weights.h5", values)))


def test_the_state_of_a_dropout_is_left_out(made: ModuleType, tmp_path: Path) -> None:
    values = made.variables()
    folder = made.write_saved_model(
        tmp_path / "model", {**values, "seed_generator/seed_generator_state": np.zeros(2, int)}
    )
    assert load_keras(folder).classes == 7


def test_variables_that_share_their_bytes_are_a_bomb(made: ModuleType, tmp_path: Path) -> None:
    folder = made.write_saved_model(tmp_path / "model", made.variables())
    entries = _entries(made, made.bundle(made.variables())[0])
    kernel = entries[b"variables/0/.ATTRIBUTES/VARIABLE_VALUE"]
    entries.update({f"more/{number}".encode(): kernel for number in range(2000)})
    (folder / "variables" / "variables.index").write_bytes(made.table(entries))
    assert refused(folder) == "damaged: its variables overlap"


@pytest.mark.parametrize(("twin", "differs"), [(0, False), (1, True)])
def test_a_variable_kept_twice_is_one_unless_it_differs(
    made: ModuleType, tmp_path: Path, twin: int, differs: bool
) -> None:
    values = made.variables()
    folder = made.write_saved_model(tmp_path / "model", values)
    index, data = made.bundle(values)
    entries = _entries(made, index)
    key = b"_all_variables/3/.ATTRIBUTES/VARIABLE_VALUE"
    entries[key] = entries[f"variables/{twin}/.ATTRIBUTES/VARIABLE_VALUE".encode()]
    graph = tensor_bundle.read_text(tensor_bundle.read_index(index)[1][tensor_bundle.OBJECT_GRAPH], data)
    graph += made.field(1, made.field(2, made.field(2, b"Conv1/kernel") + made.field(3, key)))
    entries[tensor_bundle.OBJECT_GRAPH.encode()], content = made.text(graph, len(data))
    (folder / "variables" / "variables.index").write_bytes(made.table(entries))
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(data + content)
    if differs:
        assert refused(folder) == "it has two variables called Conv1/kernel"
    else:
        assert load_keras(folder).classes == 7


def test_a_variable_that_is_no_float_is_named(made: ModuleType, tmp_path: Path) -> None:
    values = made.variables()
    values["Conv1/kernel"] = values["Conv1/kernel"].astype(np.int64)
    assert refused(made.write_saved_model(tmp_path / "model", values)) == (
        "its variable Conv1/kernel has TensorFlow's type 9, which is not read; "
        "float16, float32 and float64 in one piece are"
    )


def test_damaged_data(made: ModuleType, tmp_path: Path) -> None:
    folder = made.write_saved_model(tmp_path / "model", made.variables())
    data = folder / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[7] ^= 1
    data.write_bytes(content)
    assert refused(folder) == "its variable Conv1/kernel damaged: a checksum does not fit"
    data.write_bytes(content[:1000])
    assert refused(folder).startswith("truncated: ")
    data.unlink()
    assert refused(folder) == "its file variables/variables.data-00000-of-00001 is missing"


def test_folders_of_something_else(made: ModuleType, tmp_path: Path) -> None:
    text = "not a TensorFlow SavedModel: variables/variables.index is not in it"
    (tmp_path / "empty" / "variables").mkdir(parents=True)
    assert refused(tmp_path / "empty") == text
    assert refused(tmp_path) == text
    assert refused(made.write_tar(tmp_path / "empty.tar.gz", tmp_path / "empty")) == text


def test_tensorflow_1_is_told_apart(made: ModuleType, tmp_path: Path) -> None:
    folder = made.write_saved_model(tmp_path / "model", {})
    (folder / "variables" / "variables.index").write_bytes(made.table({b"": b"\x08\x01"}))
    text = "it has no graph of objects, which TensorFlow 2 writes; a SavedModel of TensorFlow 1 is not read"
    assert refused(folder) == text


def _entries(made: ModuleType, index: bytes) -> dict[bytes, bytes]:
    """Keys and values of an index, raw."""
    _, entries = tensor_bundle.read_index(index)
    raw = {b"": b"\x08\x01"}
    for key, each in entries.items():
        raw[key.encode()] = made.entry(each.dtype, each.shape, each.offset, each.size, each.crc32c)
    return raw
