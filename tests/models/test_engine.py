from __future__ import annotations

import platform
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
from headstart.models import openvino_engine
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut
from headstart.models.engine import Engine, Normalised, choose_batch, choose_device, choose_precision, open_engine

SPEC = InputSpec(height=64, width=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))
WAYS = [(engine, precision) for engine in ("torch", "openvino") for precision in ("float32", "bfloat16")]


def noise(count: int, side: int = 64) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), np.uint8)


def prefix(name: str, train: str = "head", **smaller: object) -> nn.Module:
    torch.manual_seed(0)
    return cut(timm.create_model(name, **smaller).eval(), train, input_shape=(3, 64, 64)).prefix


@lru_cache
def lite0(engine: str, precision: str) -> Engine:
    module = cut(load_backbone("tf_efficientnet_lite0").module, "last:2", input_shape=(3, 64, 64)).prefix
    return open_engine(module, SPEC, batch=3, device="cpu", precision=precision, engine=engine)


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    from skimage import data

    spec = InputSpec(height=64, width=64)
    photos = [data.chelsea(), data.astronaut(), data.coffee(), data.rocket()]
    return np.stack([evaluation_view(Image.fromarray(photo), spec) for photo in photos])


def relative(given: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(given - expected) / np.linalg.norm(expected))


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


# -- what is computed -------------------------------------------------------------------------------------------------


def test_torch_gives_what_the_network_gives() -> None:
    module = prefix("tf_efficientnet_lite0")
    run = open_engine(module, SPEC, batch=4, device="cpu", precision="float32", engine="torch")
    images = noise(4)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (SPEC.mean, SPEC.std))
    with torch.no_grad():
        expected = module((x - mean) / std).numpy()
    np.testing.assert_allclose(run(images), expected, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        same = Normalised(module, SPEC).eval()(torch.from_numpy(images)).numpy()
    assert np.array_equal(run(images), same)
    assert (run.name, run.precision, run.batch, run(images).dtype) == ("cpu", "float32", 4, np.float32)


def test_openvino_gives_what_torch_gives(pictures: NDArray[np.uint8]) -> None:
    expected = lite0("torch", "float32")(pictures)
    assert lite0("openvino", "float32").name == "openvino"
    assert relative(lite0("openvino", "float32")(pictures), expected) < 1e-4
    for engine in ("openvino", "torch"):
        assert cosines(lite0(engine, "bfloat16")(pictures), expected).min() > 0.99


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
def test_openvino_runs_transformers_too(name: str, train: str, smaller: dict[str, object]) -> None:
    # Asked for by name, so that OpenVINO cannot be left out silently.
    module = prefix(name, train, **smaller)
    ways = [
        open_engine(module, SPEC, batch=2, device="cpu", precision="float32", engine=each)
        for each in ("openvino", "torch")
    ]
    given, expected = (way(noise(3)) for way in ways)
    assert given.shape == expected.shape
    assert relative(given, expected) < 1e-4


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_channels(channels: str, engine: str) -> None:
    spec = InputSpec(height=4, width=4, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0), channels=channels)
    run = open_engine(nn.Flatten(2), spec, batch=2, device="cpu", precision="float32", engine=engine)
    images = noise(2, 4)
    expected = ((images / 255 - spec.mean) / spec.std).transpose(0, 3, 1, 2).reshape(2, 3, 16)
    np.testing.assert_allclose(run(images), expected[:, ::-1] if channels == "BGR" else expected, rtol=1e-5, atol=1e-6)


# -- the same, however images fall into batches -----------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "precision"), WAYS)
@settings(max_examples=12, deadline=None)
@given(order=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_an_image_gives_the_same_in_any_company(engine: str, precision: str, order: list[int]) -> None:
    run = lite0(engine, precision)
    alone = np.concatenate([run(noise(5)[[index]]) for index in range(5)])
    assert np.array_equal(run(noise(5)[order]), alone[order])


@pytest.mark.parametrize(("engine", "precision"), WAYS)
def test_transformers_too_give_the_same_in_any_company(engine: str, precision: str) -> None:
    module = prefix("test_vit", "last:1", img_size=64)
    run = open_engine(module, SPEC, batch=7, device="cpu", precision=precision, engine=engine)
    images = noise(16)
    together, order = run(images), np.random.default_rng(0).permutation(16)
    assert np.array_equal(run(images[order]), together[order])
    assert np.array_equal(np.concatenate([run(images[index : index + 1]) for index in range(16)]), together)


def test_images_in_a_file_and_images_turned_over() -> None:
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
        (np.zeros((0, 64, 64, 3), np.uint8), "an engine takes one image or more, of uint8; got 0 of uint8"),
        (np.zeros((2, 64, 64, 3), np.float32), "an engine takes one image or more, of uint8; got 2 of float32"),
    ],
)
def test_what_is_no_batch(images: NDArray[np.generic], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        lite0("torch", "float32")(images)  # type: ignore[arg-type]


def test_the_network_stays_as_it_is() -> None:
    module = prefix("test_resnet").train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for precision in ("float32", "bfloat16"):
        open_engine(module, SPEC, batch=2, device="cpu", precision=precision, engine="torch")(noise(3))
    after = module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


# -- what cannot be -----------------------------------------------------------------------------------------------


class Polynomial(nn.Module):
    """Of an operation that OpenVINO does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x).mean((2, 3))


class Undecided(nn.Module):
    """A trace keeps the way that it took for a black image."""

    def forward(self, x: Tensor) -> Tensor:
        return (x if bool(x.sum() < 0) else x + 1).flatten(1)


def test_auto_takes_openvino_where_it_can() -> None:
    taken = {
        kind: open_engine(kind(), SPEC, batch=2, device="cpu", precision="float32").name
        for kind in (Polynomial, Undecided)
    }
    assert taken == {Polynomial: "cpu", Undecided: "cpu"}
    assert open_engine(nn.Flatten(), SPEC, batch=2, device="cpu", precision="float32").name == "openvino"


def test_openvino_that_cannot_says_why() -> None:
    with pytest.raises(ModelError, match=r"^OpenVINO cannot run this network \(.*\); use --engine torch$"):
        open_engine(Polynomial(), SPEC, batch=2, device="cpu", engine="openvino")
    with pytest.raises(ModelError) as failure:
        openvino_engine.compiled(Normalised(Undecided(), SPEC).eval(), SPEC, 2, "bfloat16")
    assert str(failure.value).startswith("OpenVINO gives other values than torch in float32 (relative difference ")
    assert str(failure.value).endswith("); use --engine torch")


def test_openvino_for_numbers_that_are_none() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) * float("nan")

    with pytest.raises(ModelError) as failure:
        open_engine(Broken(), SPEC, batch=2, device="cpu", engine="openvino")
    assert str(failure.value) == (
        "OpenVINO gives other values than torch in float32 (relative difference nan); use --engine torch"
    )


def test_devices_that_are_not_there() -> None:
    there = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
    for device in {"cuda", "mps", "tpu"} - set(there):
        with pytest.raises(SettingsError) as failure:
            choose_device(device)
        assert str(failure.value) == (
            f"--device {device}: torch finds none on this machine; it can use: {', '.join(there)}"
        )
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == max(there, key=["cpu", "mps", "cuda"].index)


def test_precision() -> None:
    assert choose_precision("float32", "cpu") == "float32"
    assert choose_precision("bfloat16", "cpu") == "bfloat16"
    assert choose_precision("auto", "mps") == "float32"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="asks OpenVINO what an x86 processor can do")
def test_precision_is_what_the_processor_computes_with() -> None:
    import openvino

    can = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert choose_precision("auto", "cpu") == ("bfloat16" if can else "float32")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_openvino_and_a_gpu() -> None:
    with pytest.raises(SettingsError) as failure:
        open_engine(nn.Flatten(), SPEC, device="cuda", engine="openvino")
    assert str(failure.value) == (
        "--engine openvino runs on the processor: use --device cpu with it, or --engine torch for cuda"
    )


@pytest.mark.parametrize(("asked", "batch"), [(None, 32), (1, 1), (500, 500)])
def test_a_processor_takes_32_images_at_a_time(asked: int | None, batch: int) -> None:
    assert choose_batch(asked, "cpu") == batch


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_takes_more() -> None:
    assert choose_batch(None, "auto") == choose_batch(None, "cuda") == 256
    assert choose_batch(None, "cpu") == 32
