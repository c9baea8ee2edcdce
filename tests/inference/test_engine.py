from __future__ import annotations

import platform
import subprocess
import sys
from functools import lru_cache

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from headstart.data.spec import InputSpec
from headstart.data.transforms import evaluation_view
from headstart.errors import ModelError, SettingsError
from headstart.inference import openvino_engine
from headstart.inference.engine import (
    Engine,
    Normalized,
    choose_batch_size,
    choose_device,
    choose_precision,
    open_engine,
)
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut

SPEC = InputSpec(height=64, width=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))
VARIANTS = [(engine, precision) for engine in ("torch", "openvino") for precision in ("float32", "bfloat16")]


def noise(count: int, side: int = 64) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), np.uint8)


def prefix(name: str, train: str = "head", **smaller: object) -> nn.Module:
    torch.manual_seed(0)
    return cut(timm.create_model(name, **smaller).eval(), train, input_shape=(3, 64, 64)).prefix


@lru_cache
def lite0(engine: str, precision: str) -> Engine:
    module = cut(load_backbone("tf_efficientnet_lite0").module, "last:2", input_shape=(3, 64, 64)).prefix
    return open_engine(module, SPEC, batch_size=3, device="cpu", precision=precision, engine=engine)


@pytest.fixture(scope="module")
def photos() -> NDArray[np.uint8]:
    from skimage import data

    spec = InputSpec(height=64, width=64)
    arrays = [data.chelsea(), data.astronaut(), data.coffee(), data.rocket()]
    return np.stack([evaluation_view(Image.fromarray(photo), spec) for photo in arrays])


def relative_difference(given: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(given - expected) / np.linalg.norm(expected))


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def test_tensors_on_the_device_are_taken_as_arrays_are() -> None:
    run = open_engine(nn.Flatten(), SPEC, batch_size=4, device="cpu", precision="float32", engine="torch")
    images = noise(6)
    assert np.array_equal(run(torch.from_numpy(images)), run(images))
    with pytest.raises(ValueError, match=r"^images must be at least one, of dtype uint8; got 6 of torch.float32$"):
        run(torch.from_numpy(images).float())


# -- values ---------------------------------------------------------------------------------------------------------


def test_torch_returns_the_values_of_the_network() -> None:
    module = prefix("tf_efficientnet_lite0")
    run = open_engine(module, SPEC, batch_size=4, device="cpu", precision="float32", engine="torch")
    images = noise(4)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (SPEC.mean, SPEC.std))
    with torch.no_grad():
        expected = module((x - mean) / std).numpy()
    np.testing.assert_allclose(run(images), expected, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        same = Normalized(module, SPEC).eval()(torch.from_numpy(images)).numpy()
    assert np.array_equal(run(images), same)
    assert (run.name, run.precision, run.batch_size, run(images).dtype) == ("cpu", "float32", 4, np.float32)


def test_openvino_returns_the_values_of_torch(photos: NDArray[np.uint8]) -> None:
    expected = lite0("torch", "float32")(photos)
    assert lite0("openvino", "float32").name == "openvino"
    assert relative_difference(lite0("openvino", "float32")(photos), expected) < 1e-4
    for engine in ("openvino", "torch"):
        assert cosines(lite0(engine, "bfloat16")(photos), expected).min() > 0.99


@pytest.mark.parametrize(
    ("name", "train", "smaller"),
    [
        ("test_resnet", "head", {}),
        ("test_vit", "head", {"img_size": 64}),
        ("test_convnext", "last:1", {}),
        ("vit_tiny_patch16_224", "last:1", {"img_size": 64, "depth": 3}),
        (
            "swin_tiny_patch4_window7_224",
            "last:1",
            {"img_size": 64, "window_size": 2, "embed_dim": 16, "depths": (1, 1, 2, 2)},
        ),
    ],
)
def test_openvino_runs_many_architectures(name: str, train: str, smaller: dict[str, object]) -> None:
    # Requested by name, so that no other engine is used silently.
    module = prefix(name, train, **smaller)
    engines = [
        open_engine(module, SPEC, batch_size=2, device="cpu", precision="float32", engine=each)
        for each in ("openvino", "torch")
    ]
    given, expected = (run(noise(3)) for run in engines)
    assert given.shape == expected.shape
    assert relative_difference(given, expected) < 1e-4


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_channels(channels: str, engine: str) -> None:
    spec = InputSpec(height=4, width=4, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0), channels=channels)
    run = open_engine(nn.Flatten(2), spec, batch_size=2, device="cpu", precision="float32", engine=engine)
    images = noise(2, 4)
    expected = ((images / 255 - spec.mean) / spec.std).transpose(0, 3, 1, 2).reshape(2, 3, 16)
    np.testing.assert_allclose(run(images), expected[:, ::-1] if channels == "BGR" else expected, rtol=1e-5, atol=1e-6)


# -- independence of batches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "precision"), VARIANTS)
@settings(max_examples=12, deadline=None)
@given(order=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_values_do_not_depend_on_other_images_in_the_batch(engine: str, precision: str, order: list[int]) -> None:
    run = lite0(engine, precision)
    alone = np.concatenate([run(noise(5)[[index]]) for index in range(5)])
    assert np.array_equal(run(noise(5)[order]), alone[order])


@pytest.mark.parametrize(("engine", "precision"), VARIANTS)
def test_values_of_transformers_do_not_depend_on_other_images(engine: str, precision: str) -> None:
    module = prefix("test_vit", "last:1", img_size=64)
    run = open_engine(module, SPEC, batch_size=7, device="cpu", precision=precision, engine=engine)
    images = noise(16)
    together, order = run(images), np.random.default_rng(0).permutation(16)
    assert np.array_equal(run(images[order]), together[order])
    assert np.array_equal(np.concatenate([run(images[index : index + 1]) for index in range(16)]), together)


def test_read_only_and_non_contiguous_images() -> None:
    run = lite0("torch", "float32")
    images = noise(3)
    expected = run(images)
    locked = images.copy()
    locked.flags.writeable = False
    assert np.array_equal(run(locked), expected)
    assert np.array_equal(run(np.asfortranarray(images)), expected)
    assert np.array_equal(run(images[::-1]), expected[::-1])


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (np.zeros((0, 64, 64, 3), np.uint8), "images must be at least one, of dtype uint8; got 0 of uint8"),
        (np.zeros((2, 64, 64, 3), np.float32), "images must be at least one, of dtype uint8; got 2 of float32"),
    ],
)
def test_invalid_images(images: NDArray[np.generic], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        lite0("torch", "float32")(images)  # type: ignore[arg-type]


def test_the_network_is_not_changed() -> None:
    module = prefix("test_resnet").train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for precision in ("float32", "bfloat16"):
        open_engine(module, SPEC, batch_size=2, device="cpu", precision=precision, engine="torch")(noise(3))
    after = module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


# -- errors -------------------------------------------------------------------------------------------------------


class Bessel(nn.Module):
    """Uses an operation that OpenVINO lacks."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x).mean((2, 3))


class Branching(nn.Module):
    """Branches on its input: a trace keeps the branch of a black image."""

    def forward(self, x: Tensor) -> Tensor:
        return (x if bool(x.sum() < 0) else x + 1).flatten(1)


def test_auto_uses_openvino_where_possible() -> None:
    chosen = {
        kind: open_engine(kind(), SPEC, batch_size=2, device="cpu", precision="float32").name
        for kind in (Bessel, Branching)
    }
    assert chosen == {Bessel: "cpu", Branching: "cpu"}
    assert open_engine(nn.Flatten(), SPEC, batch_size=2, device="cpu", precision="float32").name == "openvino"


def test_error_says_why_openvino_cannot_run_a_network() -> None:
    with pytest.raises(ModelError, match=r"^OpenVINO cannot run this network \(.*\); use --engine torch$"):
        open_engine(Bessel(), SPEC, batch_size=2, device="cpu", engine="openvino")
    with pytest.raises(ModelError) as failure:
        openvino_engine.compile_network(Normalized(Branching(), SPEC).eval(), SPEC, 2, "bfloat16")
    assert str(failure.value).startswith("OpenVINO returns other values than torch in float32 (relative difference ")
    assert str(failure.value).endswith("); use --engine torch")


def test_nan_counts_as_a_difference() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) * float("nan")

    with pytest.raises(ModelError) as failure:
        open_engine(Broken(), SPEC, batch_size=2, device="cpu", engine="openvino")
    assert str(failure.value) == (
        "OpenVINO returns other values than torch in float32 (relative difference nan); use --engine torch"
    )


def test_unavailable_devices() -> None:
    available = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
    for device in {"cuda", "mps", "tpu"} - set(available):
        with pytest.raises(SettingsError) as failure:
            choose_device(device)
        assert str(failure.value) == (
            f"--device {device}: torch finds no such device; available: {', '.join(available)}"
        )
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == max(available, key=["cpu", "mps", "cuda"].index)


def test_precision() -> None:
    assert choose_precision("float32", "cpu") == "float32"
    assert choose_precision("bfloat16", "cpu") == "bfloat16"
    assert choose_precision("auto", "mps") == "float32"


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="compares with what OpenVINO reports for x86 processors"
)
def test_auto_precision_depends_on_the_processor() -> None:
    import openvino

    supported = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert choose_precision("auto", "cpu") == ("bfloat16" if supported else "float32")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_openvino_does_not_run_on_a_gpu() -> None:
    with pytest.raises(SettingsError) as failure:
        open_engine(nn.Flatten(), SPEC, device="cuda", engine="openvino")
    assert str(failure.value) == ("--engine openvino runs on a CPU: add --device cpu, or use --engine torch for cuda")


@pytest.mark.parametrize(("requested", "expected"), [(None, 32), (1, 1), (500, 500)])
def test_default_batch_size_of_a_cpu(requested: int | None, expected: int) -> None:
    assert choose_batch_size(requested, "cpu") == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_default_batch_size_of_a_gpu() -> None:
    assert choose_batch_size(None, "auto") == choose_batch_size(None, "cuda") == 256
    assert choose_batch_size(None, "cpu") == 32


def test_ctrl_c_after_several_networks_is_an_exception() -> None:
    """Where each network had a core of its own, it was a segmentation fault: of a signal stack that was freed."""
    code = """
import gc, os, signal
from torch import nn
from headstart.data.spec import InputSpec
from headstart.inference.engine import open_engine

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
spec = InputSpec(height=32, width=32)
engines = [open_engine(nn.Flatten(), spec, batch_size=2, precision="float32", engine="openvino") for _ in range(2)]
while engines:
    engines.pop(0)
    gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "interrupted\n")
