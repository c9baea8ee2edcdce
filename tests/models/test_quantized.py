"""8-bit networks: near what float32 gives, the same for the same pictures, refused in words where they cannot be."""

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
from headstart.models import openvino_engine, prepared, quantized
from headstart.models.engine import Engine, open_engine, refuse_int8
from headstart.models.quantized import BATCH, MOST, Calibration, calibration

pytestmark = pytest.mark.usefixtures("one_thread")
SPEC = InputSpec(height=32, width=32, crop=1.0)
PHOTO = Image.fromarray(data.astronaut())


def crops(count: int, *, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Pieces of a photograph."""
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
    place = None if folder is None else partial(prepared.place, folder, "small", module, SPEC, batch)
    ranges = Calibration(f"int8-{images.sum()}", lambda: images)
    return open_engine(module, SPEC, batch=batch, device="cpu", precision="int8", prepared=place, calibration=ranges)


def test_it_is_near_what_float32_gives_and_not_the_same() -> None:
    engine = opened()
    assert (engine.name, engine.precision) == ("openvino", "int8")
    exact = open_engine(network(), SPEC, batch=4, device="cpu", precision="float32")(IMAGES)
    coarse = engine(IMAGES)
    difference = np.linalg.norm(coarse - exact) / np.linalg.norm(exact)
    assert 1e-4 < difference < 0.05


def test_how_many_images_go_through_at_a_time_changes_nothing() -> None:
    assert np.array_equal(opened(batch=1)(IMAGES[:5]), opened(batch=4)(IMAGES[:5]))


def test_other_pictures_make_another_network_and_the_same_the_same() -> None:
    dark = opened(IMAGES // 8)(IMAGES)
    assert np.array_equal(opened()(IMAGES), opened()(IMAGES))
    assert not np.allclose(dark, opened()(IMAGES), rtol=0.01)  # what is brighter than they were is cut off


def test_it_is_made_once_and_kept_beside_the_exact_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(folder=tmp_path)(IMAGES)
    exact = partial(prepared.place, tmp_path, "small", network(), SPEC, 4)
    open_engine(network(), SPEC, batch=4, device="cpu", precision="float32", prepared=exact)
    assert len(list(tmp_path.glob("*.json"))) == 2

    def never(*_: object) -> None:
        raise RuntimeError("made again")

    monkeypatch.setattr(openvino_engine, "quantize", never)
    assert np.array_equal(opened(folder=tmp_path)(IMAGES), first)
    with pytest.raises(ModelError, match=r"\(made again\); leave --precision int8 out"):
        opened(IMAGES[:32], folder=tmp_path)


def test_it_says_nothing_where_results_are_written(capfd: pytest.CaptureFixture[str]) -> None:
    opened()
    assert capfd.readouterr() == ("", "")


def test_its_makers_are_told_nothing() -> None:
    code = (
        "import sys; from headstart.models.openvino_library import nncf; library = nncf(); "
        "from nncf.telemetry.wrapper import telemetry; "
        "print(type(telemetry).__name__, 'openvino_telemetry' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["MagicMock", "False"]  # NNCF's own stand-in for what is not installed


# -- the pictures that ranges are set by ------------------------------------------------------------------------------


def inspected(images: list[NDArray[np.uint8]]) -> Manifest:
    from headstart.data.checkup import inspect_all

    return inspect_all(Manifest.from_rows([f"array:{row}" for row in range(len(images))], arrays=images))


def ranges(manifest: Manifest) -> Calibration:
    return calibration(manifest, SPEC, max_pixels=10_000)


def test_the_same_pictures_in_another_order_are_the_same_calibration() -> None:
    images = crops(300)
    one, other = ranges(inspected(images)), ranges(inspected(images[::-1]))
    assert one.name == other.name
    assert np.array_equal(one.images(), other.images())
    assert one.images().shape == (MOST, 32, 32, 3)
    assert ranges(inspected(images[:200])).name != one.name


def test_pictures_that_nobody_inspected_are_told_apart_by_their_pixels() -> None:
    def uninspected(images: list[NDArray[np.uint8]]) -> Calibration:
        return ranges(Manifest.from_rows([f"array:{row}" for row in range(len(images))], arrays=images))

    images = crops(40)
    found = uninspected(images)
    assert np.array_equal(found.images(), np.stack(images))
    assert found.name == uninspected(images).name
    assert found.name != uninspected(images[1:]).name


@pytest.mark.parametrize("look", [True, False])
def test_too_few_pictures_are_refused(look: bool) -> None:
    few = [*crops(BATCH - 1), np.zeros((1, 1, 9), np.uint8)]  # one that is no picture
    manifest = inspected(few) if look else Manifest.from_rows([f"array:{row}" for row in range(BATCH)], arrays=few)
    with pytest.raises(SettingsError, match="by the images it is given and needs 32; 31 can be read: leave --prec"):
        ranges(manifest)


@pytest.mark.parametrize(("device", "engine"), [("cpu", "torch"), ("auto", "torch")])
def test_what_cannot_compute_with_it_is_refused(device: str, engine: str) -> None:
    with pytest.raises(
        SettingsError, match=r"computed by OpenVINO on a processor: use --device cpu, and no --engine t"
    ):
        refuse_int8(device, engine)
    with pytest.raises(SettingsError, match="computed by OpenVINO"):
        open_engine(network(), SPEC, device=device, engine=engine, precision="int8")


def test_how_to_get_nncf_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r'run "pip install headstart\[int8\]", or leave --precision out'):
        refuse_int8("cpu", "auto")
