"""Run a frozen network as fast as this machine can.

Images stay uint8, height × width × channel, until they are on the device; normalisation is part of the network that
runs. Every batch has the same number of images (the last is filled up), so that what an image gives does not depend on
how the images fell into batches: work that was interrupted and taken up again gives the same features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.data.spec import InputSpec
from headstart.errors import ModelError, SettingsError
from headstart.models import openvino_engine
from headstart.models.foreign import FrozenGraph
from headstart.models.quantized import Calibration, refuse_if_not_there

__all__ = [
    "Engine",
    "Normalised",
    "choose_batch",
    "choose_device",
    "choose_precision",
    "open_engine",
    "refuse_int8",
]


@dataclass(frozen=True)
class Engine:
    """A network that is ready to run: call it with images, uint8 (B, H, W, 3); it gives float32 (B, …)."""

    name: str  # "openvino", "cpu", "cuda", "mps"
    precision: str  # "float32", "bfloat16" or "int8"
    batch: int  # images at a time
    forward: Callable[[NDArray[np.uint8]], NDArray[np.float32]]

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run any number of images; they go through in batches of one size."""
        if not len(images) or images.dtype != np.uint8:
            raise ValueError(f"an engine takes one image or more, of uint8; got {len(images)} of {images.dtype}")
        parts = [self._run(images[start : start + self.batch]) for start in range(0, len(images), self.batch)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        missing = self.batch - len(images)
        full = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images
        # A view into a file in memory cannot be written to, which torch warns of.
        return self.forward(np.require(full, requirements=["C", "W"]))[: len(images)]


def open_engine(
    module: nn.Module,
    spec: InputSpec,
    *,
    batch: int = 32,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    prepared: Callable[[], Path] | None = None,
    calibration: Calibration | None = None,
) -> Engine:
    """Prepare ``module`` for running on this machine.

    :param module: takes normalised images (B, 3, H, W), gives one tensor (B, …). It is left as it is, where it is.
    :param device: "auto" takes a GPU where there is one.
    :param precision: "auto" takes bfloat16 where the processor computes with it, else float32; "int8" is for OpenVINO
        alone, and needs ``calibration``.
    :param engine: "auto" takes OpenVINO on a processor where it is installed and can run the network (3 times
        faster than torch in bfloat16: benchmarks/choices.py), else torch.
    :param prepared: tells where OpenVINO's network is kept (:func:`headstart.models.prepared.place`), so that it is
        converted once. It is asked only where OpenVINO runs, since the answer takes a look at all weights.
    :raises SettingsError: the device or the engine asked for is not on this machine, or cannot compute with int8.
    :raises ModelError: OpenVINO was asked for, and cannot run the network.

    >>> spec = InputSpec(height=32, width=32)
    >>> run = open_engine(nn.Flatten(), spec, batch=2, precision="float32", engine="torch")
    >>> run(np.zeros((3, 32, 32, 3), np.uint8)).shape
    (3, 3072)
    """
    place = choose_device(device)
    wanted = choose_precision(precision, place)
    whole = Normalised(module, spec).eval()
    if isinstance(module, FrozenGraph):
        place = "cpu"  # where OpenVINO computes, whatever device trains the head
    if wanted == "int8":
        refuse_int8(device, engine)
        if calibration is None:
            raise ValueError("precision int8 needs a calibration")
    if _takes_openvino(engine, place):
        try:
            # A graph of another framework is OpenVINO's already.
            kept = prepared() if prepared is not None and not isinstance(module, FrozenGraph) else None
            forward = openvino_engine.compiled(whole, spec, batch, wanted, prepared=kept, calibration=calibration)
            return Engine("openvino", wanted, batch, forward)
        except ModelError:
            if engine == "openvino" or wanted == "int8":
                raise
    return Engine(place, wanted, batch, _torch(whole, place, wanted))


def refuse_int8(device: str, engine: str) -> None:
    """Say so where ``precision="int8"`` cannot be had, before anything is read.

    :raises SettingsError: another than OpenVINO on a processor shall compute, or NNCF is not installed.
    """
    if not _takes_openvino(engine, choose_device(device)):
        raise SettingsError(
            "--precision int8 is computed by OpenVINO on a processor: use --device cpu, and no --engine torch"
        )
    refuse_if_not_there()


def _takes_openvino(engine: str, place: str) -> bool:
    installed = find_spec("openvino") is not None
    if engine != "openvino":
        return engine == "auto" and place == "cpu" and installed
    if place != "cpu":
        raise SettingsError(
            f"--engine openvino runs on the processor: use --device cpu with it, or --engine torch for {place}"
        )
    if not installed:
        raise SettingsError('--engine openvino: it is not installed; run "pip install openvino", or use --engine torch')
    return True


def choose_device(asked: str) -> str:
    """ "cpu", "cuda" or "mps", as asked for or the best there is.

    :raises SettingsError: it is not on this machine.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked == "auto":
        return "cuda" if there["cuda"] else "mps" if there["mps"] else "cpu"
    if not there.get(asked, False):
        known = ", ".join(name for name, usable in there.items() if usable)
        raise SettingsError(f"--device {asked}: torch finds none on this machine; it can use: {known}")
    return asked


def choose_batch(asked: int | None, device: str) -> int:
    """How many images go through at a time, as asked for or by the device, "auto" or one of :func:`choose_device`.

    OpenVINO divides them among the cores; a GPU needs many to be kept busy (benchmarks/gpu.py).
    """
    return asked or (32 if choose_device(device) == "cpu" else 256)


def choose_precision(asked: str, device: str) -> str:
    """What was asked for, or by itself "bfloat16" where the device computes with it, else "float32"."""
    if asked != "auto":
        return asked
    if device == "cpu":
        # Asked for oneDNN first: without it, as on a Mac, torch has no operation that could be asked.
        fast = (
            torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and torch.ops.mkldnn._is_mkldnn_bf16_supported()
            and torch.cpu._is_avx512_bf16_supported()
        )
    else:
        fast = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if fast else "float32"


class Normalised(nn.Module):
    """A network that takes images as they are decoded, uint8 (B, H, W, 3), and normalises them itself.

    The mean and deviation are those of red, green and blue, also where the network then takes them as BGR.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, module: nn.Module, spec: InputSpec) -> None:
        super().__init__()
        self.module = module
        self.flip = spec.channels == "BGR"
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(spec.mean).view(shape) * 255)
        self.register_buffer("scale", 1 / (torch.tensor(spec.std).view(shape) * 255))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, H, W, 3) to what the network gives."""
        x = images.permute(0, 3, 1, 2)  # (B, 3, H, W), channels last in memory: no copy
        x = (x.to(self.mean.dtype) - self.mean) * self.scale
        result: Tensor = self.module(x.flip(1) if self.flip else x)
        return result


def _torch(module: nn.Module, device: str, precision: str) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    if device != "cpu":
        module = copy.deepcopy(module).to(device).to(memory_format=torch.channels_last)
    kind = torch.device(device).type

    pinned = device == "cuda"  # memory that the device fetches by itself

    def forward(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = torch.from_numpy(images)
        batch = batch.pin_memory().to(device, non_blocking=True) if pinned else batch.to(device)
        # Autocast, not a cast of the module: the tail that is trained shares its parameters.
        with (
            torch.inference_mode(),
            torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16"),
        ):
            return module(batch).float().cpu().contiguous().numpy()  # type: ignore[no-any-return]

    return forward
