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
from headstart.models.imagenet import imagenet_names
from headstart.models.importers.graphs import ImportedNetwork, import_network

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
def write(writer: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """Write a convolution, a mean over positions and further nodes: write(nodes, "prob", 6) -> net.onnx."""

    def write(
        more: list[tuple[str, list[str], list[str], dict[str, Any]]],
        output: str,
        columns: int,
        inputs: Mapping[str, Any] | None = None,
        **constants: np.ndarray,
    ) -> Path:
        return writer.write_onnx(  # type: ignore[no-any-return]
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


def loaded(path: Path) -> ImportedNetwork:
    return import_network(path).network


def close(values: torch.Tensor, expected: torch.Tensor) -> bool:
    return values.shape == expected.shape and float((values - expected).abs().max()) <= 1e-4


def rejected(path: Path) -> str:
    with pytest.raises(ModelError) as raised:
        import_network(path)
    return str(raised.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("dynamic", [False, True])
def test_same_outputs_as_torch(network: nn.Module, exported: Callable[..., Path], dynamic: bool) -> None:
    read = import_network(exported(dynamic=dynamic))
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert close(read.network(x), network(x))
        assert close(read.network.prefix(x), network.forward_head(network.forward_features(x), pre_logits=True))  # type: ignore[operator]
    head, own = read.network.get_classifier(), network.get_classifier()  # type: ignore[operator]
    assert isinstance(head, nn.Linear)
    assert close(head.weight.detach(), own.weight.detach())
    assert close(head.bias.detach(), own.bias.detach())
    assert (read.spec.height, read.spec.width, read.spec.mean[0]) == (64, 64, 0.485)
    assert not read.network.prefix.single_image_only
    assert read.network.prefix.num_values > 300_000


def test_transformer_exported_with_batch_size_one(exported: Callable[..., Path]) -> None:
    import timm

    transformer = timm.create_model("test_vit", num_classes=5).eval()
    read = import_network(exported(transformer, side=160))
    x = torch.rand(3, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    assert not read.network.prefix.single_image_only
    with torch.no_grad():
        assert close(read.network(x), transformer(x))


def test_cut_only_before_the_head(exported: Callable[..., Path]) -> None:
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


def test_digest_depends_on_the_file(exported: Callable[..., Path], write: Callable[..., Path]) -> None:
    path = exported()
    first = digest(import_network(path).network.prefix)
    assert digest(import_network(path).network.prefix) == first
    assert digest(import_network(write([], "pool", 4)).network.prefix) != first


def test_linear_layer_in_various_forms(write: Callable[..., Path]) -> None:
    bias = np.arange(6, dtype=np.float32)
    gemm = ("Gemm", ["pool", "dense", "bias"], ["y"], {"alpha": 0.5, "beta": 2.0, "transB": 1})
    softmax = ("Softmax", ["y"], ["prob"], {"axis": -1})
    path = write([gemm, softmax], "prob", 6, dense=np.ascontiguousarray(DENSE.T), bias=bias)
    network = loaded(path)
    assert close(network(X).detach(), 0.5 * pooled(X) @ torch.from_numpy(DENSE) + 2 * torch.from_numpy(bias))
    assert close(network.prefix(X), pooled(X))


def test_scores_without_a_linear_layer(write: Callable[..., Path]) -> None:
    network = loaded(write([("Softmax", ["pool"], ["prob"], {"axis": 1})], "prob", 4))
    assert network.num_classes == 4
    assert close(network(X).detach().softmax(1), pooled(X).softmax(1))


def test_probabilities_become_logits(write: Callable[..., Path]) -> None:
    sums = ("ReduceSum", ["pool", "axis"], ["sum"], {"keepdims": 1})
    network = loaded(write([sums, ("Div", ["pool", "sum"], ["prob"], {})], "prob", 4, axis=np.array([1])))
    probabilities = pooled(X) / pooled(X).sum(1, keepdim=True)
    assert close(network(X).detach().softmax(1), probabilities)


def test_networks_without_classes(write: Callable[..., Path], tmp_path: Path) -> None:
    network = loaded(write([], "pool", 4))
    assert network.num_classes == 0
    assert load_backbone(str(tmp_path / "net.onnx")).classes is None
    with pytest.raises(ModelError, match=r"^this network ends in features and has no head to train; "):
        cut(network, "head", input_shape=(3, 8, 8))
    network.reset_classifier(2)
    assert network(X).shape == (3, 2)
    # One column, or a sigmoid, is no list of classes; the features before it are used.
    product, sigmoid = ("MatMul", ["pool", "dense"], ["y"], {}), ("Sigmoid", ["y"], ["p"], {})
    for nodes, output, dense in (([product], "y", DENSE[:, :1]), ([product, sigmoid], "p", DENSE)):
        network = loaded(write(nodes, output, dense.shape[1], dense=dense))
        assert network.num_classes == 0
        assert close(network.prefix(X), pooled(X))


def test_feature_map_is_averaged(writer: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "map.onnx"
    writer.write_onnx(path, *CONV, inputs={"images": [1, 3, 8, 8]}, outputs={"relu": [1, 4, 6, 6]}, kernel=KERNEL)
    assert close(loaded(path)(X), pooled(X))


def test_names_of_a_thousand_classes_are_a_guess(write: Callable[..., Path]) -> None:
    dense = np.zeros((4, 1001), np.float32)
    path = str(write([("MatMul", ["pool", "dense"], ["y"], {})], "y", 1001, dense=dense))
    guessed = load_backbone(path)
    assert guessed.classes == ("background", *imagenet_names())
    assert guessed.reading()[-1] == (
        "net.onnx: its 1,001 classes are those of ImageNet, by their number (guessed; --class-names settles it)"
    )
    for asked, names in (("imagenet", guessed.classes), ("none", None)):
        told = load_backbone(path, class_names=asked)
        assert told.classes == names
        assert not any("classes are" in line for line in told.reading())


def test_reading_is_told(write: Callable[..., Path]) -> None:
    path = str(write([("MatMul", ["pool", "dense"], ["y"], {}), ("Softmax", ["y"], ["p"], {})], "p", 6, dense=DENSE))
    backbone = load_backbone(path)
    fact = "net.onnx: input images [?,3,8,8], channels first; output p [?,6], probabilities of the classes"
    guess = (
        "net.onnx: pixels are shown as RGB, normalized with the mean and standard deviation of ImageNet (guessed; "
        "--range or --channels settles it)"
    )
    framing = (
        "net.onnx: images are resized so that their center, 87.5% of the shorter side, is shown (guessed; --framing or "
        "--crop settles it)"
    )
    assert backbone.reading() == [fact, guess, framing]
    assert backbone.with_input(framing="whole").reading() == [fact, guess]
    assert backbone.with_input(range="0:1").reading() == [fact, framing]
    assert backbone.with_input(crop=1.0).reading() == [fact, guess]


def test_fixed_batch_size_in_reshapes(write: Callable[..., Path]) -> None:
    nodes: list[Any] = [
        ("Reshape", ["relu", "flat"], ["row"], {}),
        ("MatMul", ["row", "wide"], ["y"], {}),
    ]
    wide = RNG.normal(size=(144, 5)).astype(np.float32)
    one = {"images": [1, 3, 8, 8]}
    network = loaded(write(nodes, "y", 5, inputs=one, flat=np.array([1, 144]), wide=wide))
    expected = nn.functional.conv2d(X, torch.from_numpy(KERNEL)).relu().flatten(1) @ torch.from_numpy(wide)
    assert not network.prefix.single_image_only
    assert close(network(X).detach(), expected)
    # Here the images of a batch would affect each other, so they are run one by one.
    nodes = [
        ("Reshape", ["relu", "line"], ["all"], {}),
        ("Softmax", ["all"], ["weighed"], {"axis": 0}),
        ("Reshape", ["weighed", "flat"], ["row"], {}),
        nodes[1],
    ]
    path = write(nodes, "y", 5, inputs=one, line=np.array([144]), flat=np.array([1, 144]), wide=wide)
    network = loaded(path)
    assert network.prefix.single_image_only
    rows = nn.functional.conv2d(X, torch.from_numpy(KERNEL)).relu().flatten(1).softmax(1)
    assert close(network(X).detach(), rows @ torch.from_numpy(wide))


def test_channels_last_uint8_input(writer: ModuleType, tmp_path: Path) -> None:
    from onnx import TensorProto

    nodes = [
        ("Cast", ["pixels"], ["floats"], {"to": TensorProto.FLOAT}),
        ("Transpose", ["floats"], ["images"], {"perm": [0, 3, 1, 2]}),
        *CONV,
        POOL,
    ]
    path = tmp_path / "net.onnx"
    sides = ["n", "h", "w", 3]
    writer.write_onnx(
        path, *nodes, inputs={"pixels": sides}, outputs={"pool": ["n", 4]}, kind=TensorProto.UINT8, kernel=KERNEL
    )
    read = import_network(path)
    assert (read.spec.height, read.spec.width, read.spec.mean, read.spec.std) == (224, 224, (0,) * 3, (1 / 255,) * 3)
    x = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(0)).float()
    expected = pooled(x)
    assert float((read.network(x) - expected).abs().max() / expected.max()) <= 1e-5


def test_first_operation_that_scales_pixels(writer: ModuleType, tmp_path: Path) -> None:
    for kind, value, wanted in (("Div", 255.0, 1 / 255), ("Mul", 2.0, 0.229), ("Sub", 103.9, 1 / 255)):
        nodes = [(kind, ["pixels", "value"], ["images"], {}), *CONV, POOL]
        writer.write_onnx(
            tmp_path / "net.onnx",
            *nodes,
            inputs={"pixels": ["n", 3, 8, 8]},
            outputs={"pool": ["n", 4]},
            kernel=KERNEL,
            value=np.array(value, np.float32),
        )
        assert import_network(tmp_path / "net.onnx").spec.std[0] == wanted


def test_unsupported_networks(writer: ModuleType, write: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    two = {"relu": ["n", 4, 6, 6], "conv": ["n", 4, 6, 6]}
    writer.write_onnx(path, *CONV, inputs={"images": ["n", 3, 8, 8]}, outputs=two, kernel=KERNEL)
    assert rejected(path) == (
        "must have exactly one output with a row of values per image; its outputs are: relu [?,4,6,6], conv [?,4,6,6]"
    )
    writer.write_onnx(
        path, *CONV, inputs={"images": [1, 1, 8, 8]}, outputs={"relu": [1, 4, 6, 6]}, kernel=KERNEL[:, :1]
    )
    assert rejected(path) == "its input must be images with three channels; it is images [1,1,8,8]"
    add = ("Add", ["pool", "other"], ["y"], {})
    both = {"images": ["n", 3, 8, 8], "other": ["n", 4]}
    assert rejected(write([add], "y", 4, inputs=both)) == (
        "must have one input, the image; has 2: images [?,3,8,8], other [?,4]"
    )
    path.write_bytes(b"no network")
    assert rejected(path).startswith("OpenVINO cannot read the ONNX file (")
    unknown = ("Mystery", ["pool"], ["y"], {})
    text = rejected(write([unknown], "y", 4))
    assert text.startswith("OpenVINO cannot read the ONNX file (")
    assert "Mystery" in text
    with pytest.raises(WeightsNotFound, match=r"nothing\.onnx: no such file; expected an ONNX file, a Keras file or"):
        import_network(tmp_path / "nothing.onnx")


def test_onnx_file_as_weights_is_rejected(exported: Callable[..., Path]) -> None:
    path = exported()
    with pytest.raises(ModelError) as raised:
        load_backbone("test_resnet", weights_file=str(path))
    assert str(raised.value) == f"{path}: contains a whole network, not weights for test_resnet; use --model {path}"
