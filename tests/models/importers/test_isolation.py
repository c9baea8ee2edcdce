"""Foreign files that crash a library, or keep it busy, end in an error that names the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, save

from headstart import paths
from headstart.errors import ModelError
from headstart.models.importers.graphs import import_isolated
from headstart.models.importers.isolation import Limits

_HERE = Path(__file__).parent
AMPLE = Limits(seconds=120, bytes=8 << 30)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tensorflow_variables(tmp_path: Path, load_module: Callable[[Path], ModuleType]) -> Path:
    """The folder "variables" of a SavedModel with one variable."""
    writer = load_module(_HERE / "keras" / "writer.py")
    return writer.write_saved_model(tmp_path / "other", {"a/kernel": np.ones((2, 2), np.float32)}) / "variables"  # type: ignore[no-any-return]


def write_network(path: Path, *middle: object, scale: float = 1.0, **constants: np.ndarray) -> Path:
    """A mean over positions, "pool", nodes that end in "features", and a linear layer."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["pool"], axes=[2, 3], keepdims=0),
        *(middle or (helper.make_node("Relu", ["pool"], ["features"]),)),
        helper.make_node("MatMul", ["features", "dense"], ["y"]),
    ]
    dense = scale * np.arange(15, dtype=np.float32).reshape(3, 5)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(value, name) for name, value in {"dense": dense, **constants}.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def endless(path: Path) -> Path:
    """A network with a loop of 2^62 rounds."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["next_condition"]),
            helper.make_node("Sin", ["value"], ["next_value"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, ["n", 3]),
        ],
        [
            helper.make_tensor_value_info("next_condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_value", TensorProto.FLOAT, ["n", 3]),
        ],
    )
    loop = helper.make_node("Loop", ["rounds", "", "pool"], ["features"], body=body)
    return write_network(path, loop, rounds=np.array(1 << 62))


def rejected(path: Path, limits: Limits) -> str:
    with pytest.raises(ModelError) as raised:
        import_isolated(path, limits)
    return str(raised.value).removeprefix(f"{path}: ")


def test_a_file_is_read_once(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    (paths.imported() / ".headstart-abc").mkdir(parents=True)  # of a process that was killed
    first = import_isolated(path, AMPLE)
    shutil.copy(path, tmp_path / "copy.onnx")
    no_time = Limits(seconds=0, bytes=0)
    second = import_isolated(tmp_path / "copy.onnx", no_time)  # by its content
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(first.network(x), second.network(x))
    assert (second.name, second.facts, second.guesses) == ("copy.onnx", first.facts, first.guesses)
    assert rejected(write_network(tmp_path / "net.onnx", scale=2), no_time).startswith(
        "damaged, or no network for images"
    )
    # A damaged cache is noticed.
    (kept,) = paths.imported().iterdir()
    assert {file.name for file in kept.iterdir()} == {f"frozen.{end}" for end in ("xml", "bin")} | {
        "head.npz",
        "network.json",
        "outcome.json",
    }
    (kept / "frozen.bin").write_bytes(b"")
    assert import_isolated(tmp_path / "copy.onnx", AMPLE).facts == first.facts


def test_a_damaged_cache_is_read_as_before_or_not_at_all(
    tmp_path: Path, load_module: Callable[[Path], ModuleType]
) -> None:
    mutations = load_module(_HERE.parent.parent / "mutations.py")
    path, no_time = write_network(tmp_path / "net.onnx"), Limits(seconds=0, bytes=0)
    first, x = import_isolated(path, AMPLE), torch.rand(2, 3, 8, 8)
    expected = first.network(x).detach()
    (kept,) = paths.imported().iterdir()
    whole = shutil.copytree(kept, tmp_path / "whole")
    read = 0
    for name in ("outcome.json", "network.json", "head.npz", "frozen.xml", "frozen.bin"):
        for changed in mutations.bytes_of(whole / name, 10):
            shutil.copytree(whole, kept, dirs_exist_ok=True)
            (kept / name).write_bytes(changed)
            try:
                found = import_isolated(path, no_time)  # where the cache cannot be used, there is no time to read anew
            except ModelError as failure:
                assert "reading it did not end within 0 s" in str(failure)  # noqa: PT017 - either is right
            else:
                read += 1
                assert torch.equal(found.network(x).detach(), expected)
                assert found.facts == first.facts
    assert read < 20


def test_endless_loop(tmp_path: Path) -> None:
    text = rejected(endless(tmp_path / "net.onnx"), Limits(seconds=6, bytes=8 << 30))
    assert text == "damaged, or no network for images: reading it did not end within 6 s"
    assert not list(paths.imported().iterdir())


def test_crash_of_the_library(
    tmp_path: Path, load_module: Callable[[Path], ModuleType], tensorflow_variables: Path
) -> None:
    """OpenVINO trusts the offsets in the index of the variables."""
    folder = tmp_path / "module"
    writers = [load_module(_HERE / kind / "writer.py") for kind in ("graphs", "keras")]
    kernel, dense = np.ones((3, 3, 3, 4), np.float32), np.ones((4, 6), np.float32)
    writers[0].write_saved_model(writers[1], folder, kernel, dense)
    shutil.copytree(tensorflow_variables, folder / "variables")
    assert rejected(folder, AMPLE).startswith("OpenVINO cannot read the SavedModel (Bundle Header: ")
    index = folder / "variables" / "variables.index"
    data = bytearray(index.read_bytes())
    data[139] = 0x80
    index.write_bytes(data)
    assert rejected(folder, AMPLE) == "damaged: the library that reads it crashed (signal 11)"


def test_memory(tmp_path: Path) -> None:
    many = helper.make_node("ConstantOfShape", ["sides"], ["many"])
    mean = helper.make_node("ReduceMean", ["many"], ["mean"], axes=[0, 1], keepdims=0)
    add = helper.make_node("Add", ["pool", "mean"], ["features"])
    path = write_network(tmp_path / "net.onnx", many, mean, add, sides=np.array([1 << 20, 1 << 14]))
    assert rejected(path, Limits(seconds=120, bytes=3 << 30))


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"no network", b"\x08\x08\x3a\x02\xff\xfe"])
def test_damaged_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    assert rejected(path, AMPLE)


def test_external_weights_belong_to_the_content(tmp_path: Path) -> None:
    import onnx

    paths_of = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        network = onnx.load(write_network(folder / "net.onnx", scale=1.0 + number))
        options = {"save_as_external_data": True, "location": "numbers.bin", "size_threshold": 0}
        onnx.save(network, folder / "net.onnx", **options)
        paths_of.append(folder / "net.onnx")
    assert paths_of[0].read_bytes() == paths_of[1].read_bytes()
    heads = [import_isolated(path, AMPLE).network.get_classifier().weight for path in paths_of]
    assert torch.equal(2 * heads[0], heads[1])  # type: ignore[operator]
