from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.errors import ModelError, WeightsNotFound
from headstart.models.backbone import digest, load_backbone
from headstart.models.cut import cut
from headstart.models.foreign import ForeignNetwork, load_foreign
from headstart.models.imagenet import imagenet_names

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
DENSE = RNG.normal(size=(4, 6)).astype(np.float32)
X = torch.from_numpy(RNG.random((3, 3, 8, 8), np.float32))

CONV: list[tuple[str, list[str], list[str], dict[str, Any]]] = [
    ("Conv", ["images", "kernel"], ["conv"], {}),
    ("Relu", ["conv"], ["relu"], {}),
]
POOL = ("ReduceMean", ["relu"], ["pool"], {"axes": [2, 3], "keepdims": 0})


@pytest.fixture
def write(made: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """A convolution, a mean over places and what is given: write(nodes, "prob", 6) -> net.onnx."""

    def write(
        more: list[tuple[str, list[str], list[str], dict[str, Any]]],
        output: str,
        columns: int,
        inputs: Mapping[str, Any] | None = None,
        **constants: np.ndarray,
    ) -> Path:
        return made.write_onnx(  # type: ignore[no-any-return]
            tmp_path / "net.onnx",
            *CONV,
            POOL,
            *more,
            inputs=inputs or {"images": ["n", 3, 8, 8]},
            outputs={output: ["n", columns]},
            kernel=KERNEL,
            **constants,
        )

    return write


def pooled(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.conv2d(x, torch.from_numpy(KERNEL)).relu().mean((2, 3))


def loaded(path: Path) -> ForeignNetwork:
    return load_foreign(path).network


def near(given: torch.Tensor, expected: torch.Tensor) -> bool:
    return given.shape == expected.shape and float((given - expected).abs().max()) <= 1e-4


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as raised:
        load_foreign(path)
    return str(raised.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("dynamic", [False, True])
def test_it_gives_what_torch_gave(network: nn.Module, exported: Callable[..., Path], dynamic: bool) -> None:
    read = load_foreign(exported(dynamic=dynamic))
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert near(read.network(x), network(x))
        assert near(read.network.prefix(x), network.forward_head(network.forward_features(x), pre_logits=True))  # type: ignore[operator]
    head, own = read.network.get_classifier(), network.get_classifier()  # type: ignore[operator]
    assert isinstance(head, nn.Linear)
    assert near(head.weight.detach(), own.weight.detach())
    assert near(head.bias.detach(), own.bias.detach())
    assert (read.spec.height, read.spec.width, read.spec.mean[0]) == (64, 64, 0.485)
    assert not read.network.prefix.one_at_a_time
    assert read.network.prefix.values > 300_000


def test_a_transformer_whose_class_token_was_made_for_one_image(exported: Callable[..., Path]) -> None:
    import timm

    transformer = timm.create_model("test_vit", num_classes=5).eval()
    read = load_foreign(exported(transformer, side=160))
    x = torch.rand(3, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    assert not read.network.prefix.one_at_a_time
    with torch.no_grad():
        assert near(read.network(x), transformer(x))


def test_it_is_cut_before_its_head_and_nowhere_else(exported: Callable[..., Path]) -> None:
    network = load_backbone(str(exported())).module
    parts = cut(network, "head", input_shape=(3, 64, 64))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(parts.tail(parts.prefix(x)), network(x))
    assert (parts.name, parts.feature_shape, parts.trainable) == ("features", (96,), ("head.weight", "head.bias"))
    for train in ("last:1", "from:prefix", "all"):
        with pytest.raises(ModelError) as raised:
            cut(network, train, input_shape=(3, 64, 64))
        assert str(raised.value) == (
            f"--train {train}: a network from an ONNX file, a SavedModel or a Keras file stays frozen; use --train head"
        )


def test_features_are_known_by_the_file(exported: Callable[..., Path], write: Callable[..., Path]) -> None:
    path = exported()
    first = digest(load_foreign(path).network.prefix)
    assert digest(load_foreign(path).network.prefix) == first
    assert digest(load_foreign(write([], "pool", 4)).network.prefix) != first


def test_a_linear_layer_however_it_is_written(write: Callable[..., Path]) -> None:
    bias = np.arange(6, dtype=np.float32)
    gemm = ("Gemm", ["pool", "dense", "bias"], ["y"], {"alpha": 0.5, "beta": 2.0, "transB": 1})
    softmax = ("Softmax", ["y"], ["prob"], {"axis": -1})
    path = write([gemm, softmax], "prob", 6, dense=np.ascontiguousarray(DENSE.T), bias=bias)
    network = loaded(path)
    assert near(network(X).detach(), 0.5 * pooled(X) @ torch.from_numpy(DENSE) + 2 * torch.from_numpy(bias))
    assert near(network.prefix(X), pooled(X))


def test_scores_without_a_linear_layer(write: Callable[..., Path]) -> None:
    network = loaded(write([("Softmax", ["pool"], ["prob"], {"axis": 1})], "prob", 4))
    assert network.num_classes == 4
    assert near(network(X).detach().softmax(1), pooled(X).softmax(1))


def test_probabilities_made_by_hand_become_logits(write: Callable[..., Path]) -> None:
    sums = ("ReduceSum", ["pool", "axis"], ["sum"], {"keepdims": 1})
    network = loaded(write([sums, ("Div", ["pool", "sum"], ["prob"], {})], "prob", 4, axis=np.array([1])))
    shares = pooled(X) / pooled(X).sum(1, keepdim=True)
    assert near(network(X).detach().softmax(1), shares)


def test_what_has_no_classes(write: Callable[..., Path], tmp_path: Path) -> None:
    network = loaded(write([], "pool", 4))
    assert (network.num_classes, load_foreign(tmp_path / "net.onnx").classes) == (0, None)
    with pytest.raises(ModelError, match=r"^this network ends in features and has no head to train; "):
        cut(network, "head", input_shape=(3, 8, 8))
    network.reset_classifier(2)
    assert network(X).shape == (3, 2)
    # One column, or a sigmoid, is no list of classes; the features before it are as good as any.
    product, sigmoid = ("MatMul", ["pool", "dense"], ["y"], {}), ("Sigmoid", ["y"], ["p"], {})
    for nodes, output, dense in (([product], "y", DENSE[:, :1]), ([product, sigmoid], "p", DENSE)):
        network = loaded(write(nodes, output, dense.shape[1], dense=dense))
        assert network.num_classes == 0
        assert near(network.prefix(X), pooled(X))


def test_a_map_is_averaged(made: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "map.onnx"
    made.write_onnx(path, *CONV, inputs={"images": [1, 3, 8, 8]}, outputs={"relu": [1, 4, 6, 6]}, kernel=KERNEL)
    assert near(loaded(path)(X), pooled(X))


@pytest.mark.parametrize(("classes", "first"), [(1000, "tench, Tinca tinca"), (1001, "background")])
def test_imagenets_classes_by_their_number(write: Callable[..., Path], classes: int, first: str) -> None:
    dense = np.zeros((4, classes), np.float32)
    read = load_foreign(write([("MatMul", ["pool", "dense"], ["y"], {})], "y", classes, dense=dense))
    assert read.classes is not None
    assert (read.classes[0], read.classes[-1], len(read.classes)) == (first, imagenet_names()[-1], classes)


def test_a_batch_of_one_that_is_written_into_shapes(write: Callable[..., Path]) -> None:
    nodes: list[Any] = [
        ("Reshape", ["relu", "flat"], ["row"], {}),
        ("MatMul", ["row", "wide"], ["y"], {}),
    ]
    wide = RNG.normal(size=(144, 5)).astype(np.float32)
    one = {"images": [1, 3, 8, 8]}
    network = loaded(write(nodes, "y", 5, inputs=one, flat=np.array([1, 144]), wide=wide))
    expected = nn.functional.conv2d(X, torch.from_numpy(KERNEL)).relu().flatten(1) @ torch.from_numpy(wide)
    assert not network.prefix.one_at_a_time
    assert near(network(X).detach(), expected)
    # Here all images would be weighed against each other, and they go through one by one.
    nodes = [
        ("Reshape", ["relu", "line"], ["all"], {}),
        ("Softmax", ["all"], ["weighed"], {"axis": 0}),
        ("Reshape", ["weighed", "flat"], ["row"], {}),
        nodes[1],
    ]
    path = write(nodes, "y", 5, inputs=one, line=np.array([144]), flat=np.array([1, 144]), wide=wide)
    network = loaded(path)
    assert network.prefix.one_at_a_time
    rows = nn.functional.conv2d(X, torch.from_numpy(KERNEL)).relu().flatten(1).softmax(1)
    assert near(network(X).detach(), rows @ torch.from_numpy(wide))


def test_channels_last_and_bytes(made: ModuleType, tmp_path: Path) -> None:
    from onnx import TensorProto

    nodes = [
        ("Cast", ["pixels"], ["floats"], {"to": TensorProto.FLOAT}),
        ("Transpose", ["floats"], ["images"], {"perm": [0, 3, 1, 2]}),
        *CONV,
        POOL,
    ]
    path = tmp_path / "net.onnx"
    sides = ["n", "h", "w", 3]
    made.write_onnx(
        path, *nodes, inputs={"pixels": sides}, outputs={"pool": ["n", 4]}, kind=TensorProto.UINT8, kernel=KERNEL
    )
    read = load_foreign(path)
    assert (read.spec.height, read.spec.width, read.spec.mean, read.spec.std) == (224, 224, (0,) * 3, (1 / 255,) * 3)
    x = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(0)).float()
    expected = pooled(x)
    assert float((read.network(x) - expected).abs().max() / expected.max()) <= 1e-5


def test_a_first_step_that_scales_pixels_down_wants_them_as_they_are(made: ModuleType, tmp_path: Path) -> None:
    for kind, value, wanted in (("Div", 255.0, 1 / 255), ("Mul", 2.0, 0.229), ("Sub", 103.9, 1 / 255)):
        nodes = [(kind, ["pixels", "value"], ["images"], {}), *CONV, POOL]
        made.write_onnx(
            tmp_path / "net.onnx",
            *nodes,
            inputs={"pixels": ["n", 3, 8, 8]},
            outputs={"pool": ["n", 4]},
            kernel=KERNEL,
            value=np.array(value, np.float32),
        )
        assert load_foreign(tmp_path / "net.onnx").spec.std[0] == wanted


def test_what_cannot_be_used(made: ModuleType, write: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    two = {"relu": ["n", 4, 6, 6], "conv": ["n", 4, 6, 6]}
    made.write_onnx(path, *CONV, inputs={"images": ["n", 3, 8, 8]}, outputs=two, kernel=KERNEL)
    assert refused(path) == (
        "one output with a row of values an image is needed; its outputs are: relu [1,4,6,6], conv [1,4,6,6]"
    )
    made.write_onnx(path, *CONV, inputs={"images": [1, 1, 8, 8]}, outputs={"relu": [1, 4, 6, 6]}, kernel=KERNEL[:, :1])
    assert refused(path) == "its input must be pictures in three colours; it is images [1,1,8,8]"
    add = ("Add", ["pool", "other"], ["y"], {})
    both = {"images": ["n", 3, 8, 8], "other": ["n", 4]}
    assert refused(write([add], "y", 4, inputs=both)) == (
        "one input, the picture, is needed; it has 2: images [?,3,8,8], other [?,4]"
    )
    path.write_bytes(b"no network")
    assert refused(path).startswith("OpenVINO cannot read ONNX (")
    unknown = ("Mystery", ["pool"], ["y"], {})
    told = refused(write([unknown], "y", 4))
    assert told.startswith("OpenVINO cannot read ONNX (")
    assert "Mystery" in told
    with pytest.raises(WeightsNotFound, match=r"nothing\.onnx: no such file; an ONNX or Keras file or"):
        load_foreign(tmp_path / "nothing.onnx")


def test_a_whole_network_is_no_file_of_weights(exported: Callable[..., Path]) -> None:
    path = exported()
    with pytest.raises(ModelError) as raised:
        load_backbone("test_resnet", weights_file=str(path))
    assert str(raised.value) == f"{path}: holds a whole network, not weights for test_resnet; use --model {path}"
