"""Networks in 8-bit integers: close to float32, reproducible, and refused where they are not possible."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from torch import nn

from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.errors import ModelError, SettingsError
from headstart.inference import compiled_cache, openvino_engine
from headstart.inference.engine import Engine, check_int8, open_engine
from headstart.inference.quantization import BATCH_SIZE, MAX_IMAGES, Calibration, choose_calibration

pytestmark = pytest.mark.usefixtures("one_thread")
SPEC = InputSpec(height=32, width=32, crop=1.0)
PHOTO = Image.fromarray(data.astronaut())


def crops(count: int, *, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Crops of a photograph."""
    corners = np.random.default_rng(seed).integers(0, 400, (count, 2)).tolist()
    return [np.asarray(PHOTO.crop((x, y, x + 100, y + 100)).resize((32, 32))) for x, y in corners]


IMAGES = np.stack(crops(64))


def network() -> nn.Module:
    import torch

    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def opened(images: NDArray[np.uint8] = IMAGES, *, batch: int = 4, folder: Path | None = None) -> Engine:
    module = network()
    path = None if folder is None else partial(compiled_cache.cache_path, folder, "small", module, SPEC, batch)
    ranges = Calibration(f"int8-{images.sum()}", lambda: images)
    return open_engine(
        module, SPEC, batch_size=batch, device="cpu", precision="int8", compiled_path=path, calibration=ranges
    )


def test_values_are_close_to_float32_but_not_equal() -> None:
    engine = opened()
    assert (engine.name, engine.precision) == ("openvino", "int8")
    exact = open_engine(network(), SPEC, batch_size=4, device="cpu", precision="float32")(IMAGES)
    coarse = engine(IMAGES)
    difference = np.linalg.norm(coarse - exact) / np.linalg.norm(exact)
    assert 1e-4 < difference < 0.05


def test_values_do_not_depend_on_the_batch_size() -> None:
    assert np.array_equal(opened(batch=1)(IMAGES[:5]), opened(batch=4)(IMAGES[:5]))


def test_the_network_depends_on_the_calibration_images() -> None:
    dark = opened(IMAGES // 8)(IMAGES)
    assert np.array_equal(opened()(IMAGES), opened()(IMAGES))
    assert not np.allclose(dark, opened()(IMAGES), rtol=0.01)  # brighter values are clipped


def test_the_quantized_network_is_cached_beside_the_exact_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(folder=tmp_path)(IMAGES)
    exact = partial(compiled_cache.cache_path, tmp_path, "small", network(), SPEC, 4)
    open_engine(network(), SPEC, batch_size=4, device="cpu", precision="float32", compiled_path=exact)
    assert len(list(tmp_path.glob("*.json"))) == 2

    def never(*_: object) -> None:
        raise RuntimeError("quantized again")

    monkeypatch.setattr(openvino_engine, "quantize", never)
    assert np.array_equal(opened(folder=tmp_path)(IMAGES), first)
    with pytest.raises(ModelError, match=r"\(quantized again\); choose another --precision"):
        opened(IMAGES[:32], folder=tmp_path)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    opened()
    assert capfd.readouterr() == ("", "")


def test_no_telemetry() -> None:
    code = (
        "import sys; from headstart.models.openvino_library import nncf; library = nncf(); "
        "from nncf.telemetry.wrapper import telemetry; "
        "print(type(telemetry).__name__, 'openvino_telemetry' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["MagicMock", "False"]  # what NNCF uses when its telemetry is not installed


# -- calibration images ------------------------------------------------------------------------------------------------


def inspected(images: list[NDArray[np.uint8]]) -> Manifest:
    from headstart.data.inspection import inspect_all

    return inspect_all(Manifest.from_rows([f"array:{row}" for row in range(len(images))], arrays=images))


def ranges(manifest: Manifest) -> Calibration:
    return choose_calibration(manifest, SPEC, max_pixels=10_000)


def test_calibration_does_not_depend_on_the_order_of_images() -> None:
    images = crops(300)
    one, other = ranges(inspected(images)), ranges(inspected(images[::-1]))
    assert one.name == other.name
    assert np.array_equal(one.images(), other.images())
    assert one.images().shape == (MAX_IMAGES, 32, 32, 3)
    assert ranges(inspected(images[:200])).name != one.name


def test_uninspected_images_are_identified_by_their_pixels() -> None:
    def uninspected(images: list[NDArray[np.uint8]]) -> Calibration:
        return ranges(Manifest.from_rows([f"array:{row}" for row in range(len(images))], arrays=images))

    images = crops(40)
    found = uninspected(images)
    assert np.array_equal(found.images(), np.stack(images))
    assert found.name == uninspected(images).name
    assert found.name != uninspected(images[1:]).name


@pytest.mark.parametrize("inspect", [True, False])
def test_too_few_images_are_refused(inspect: bool) -> None:
    few = [*crops(BATCH_SIZE - 1), np.zeros((1, 1, 9), np.uint8)]  # the last is no image
    manifest = (
        inspected(few) if inspect else Manifest.from_rows([f"array:{row}" for row in range(BATCH_SIZE)], arrays=few)
    )
    with pytest.raises(
        SettingsError, match="needs at least 32 readable images for calibration, got 31; choose another --precision"
    ):
        ranges(manifest)


@pytest.mark.parametrize(("device", "engine"), [("cpu", "torch"), ("auto", "torch")])
def test_int8_needs_openvino_on_a_cpu(device: str, engine: str) -> None:
    with pytest.raises(
        SettingsError, match=r"^--precision int8 needs OpenVINO on a CPU: use --device cpu, and not --engine torch$"
    ):
        check_int8(device, engine)
    with pytest.raises(SettingsError, match="needs OpenVINO on a CPU"):
        open_engine(network(), SPEC, device=device, engine=engine, precision="int8")


def test_error_says_how_to_install_nncf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.extras.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r'run "pip install headstart\[int8\]", or choose another --precision'):
        check_int8("cpu", "auto")
