"""Engines that run a frozen network as fast as the machine allows.

Images stay uint8, height × width × channel, until they are on the device; normalization is part of the network that
runs. All batches have the same number of images (the last one is padded), so that the output for an image does not
depend on how the images fall into batches: interrupted and resumed work computes the same features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.data.spec import InputSpec
from headstart.errors import ModelError, SettingsError
from headstart.inference import openvino_engine
from headstart.inference.cuda_graph import recorded
from headstart.inference.forked import adapt_to_fork
from headstart.inference.quantization import Calibration, require_nncf
from headstart.models.importers.graphs import FrozenGraph

__all__ = [
    "Engine",
    "Images",
    "Normalized",
    "check_int8",
    "choose_batch_size",
    "choose_device",
    "choose_precision",
    "computes_on",
    "open_engine",
    "padded",
    "runs_on_cpu",
]


Images: TypeAlias = "NDArray[np.uint8] | Tensor"
"""Images, uint8 (B, H, W, 3): in the memory of the host, or already on the device of an engine that torch runs."""

_MIN_RECORDED = 64  # images per batch; for fewer, recording would take longer than it saves


def padded(images: Images, size: int) -> Images:
    """Images (B, H, W, 3), with the last one repeated until there are ``size``."""
    missing = size - len(images)
    if missing <= 0:
        return images
    if isinstance(images, Tensor):
        return torch.cat([images, images[-1:].expand(missing, -1, -1, -1)])
    return np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])


@dataclass(frozen=True)
class Engine:
    """A network that is ready to run: a function from images, uint8 (B, H, W, 3), to float32 (B, ...)."""

    name: str  # "openvino", "cpu", "cuda", "mps"
    precision: str  # "float32", "bfloat16" or "int8"
    batch_size: int
    forward: Callable[..., NDArray[np.float32]]  # of images

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """Run any number of images, in batches of one size.

        :raises ValueError: there are no images, or they are not uint8.
        """
        if not len(images) or images.dtype != (torch.uint8 if isinstance(images, Tensor) else np.uint8):
            raise ValueError(f"images must be at least one, of dtype uint8; got {len(images)} of {images.dtype}")
        starts = range(0, len(images), self.batch_size)
        batches = [self._run(images[start : start + self.batch_size]) for start in starts]
        return batches[0] if len(batches) == 1 else np.concatenate(batches)

    def _run(self, images: Images) -> NDArray[np.float32]:
        full = padded(images, self.batch_size)
        if not isinstance(
            full, Tensor
        ):  # writable, since torch warns about arrays that are not, as of a file in memory
            full = np.require(full, requirements=["C", "W"])
        return self.forward(full)[: len(images)]


def open_engine(
    module: nn.Module,
    spec: InputSpec,
    *,
    batch_size: int = 32,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    compiled_path: Callable[[], Path] | None = None,
    calibration: Calibration | None = None,
) -> Engine:
    """Prepare ``module`` for running on this machine.

    :param module: takes normalized images (B, 3, H, W), returns one tensor (B, ...). It is neither changed nor moved.
    :param device: "auto" chooses a GPU if there is one.
    :param precision: "auto" chooses bfloat16 where the hardware computes with it, else float32. "int8" needs OpenVINO
        and a ``calibration``.
    :param engine: "auto" chooses OpenVINO on a CPU if it is installed and can run the network (3 times as fast as torch
        in bfloat16: benchmarks/speed/engine_choice.py), else torch.
    :param compiled_path: returns where the OpenVINO model is cached, so that it is converted once (see
        :func:`headstart.inference.compiled_cache.cache_path`). Called only if OpenVINO is used, since computing the
        path reads all weights.
    :raises SettingsError: the device or engine is not available on this machine, or cannot compute with int8.
    :raises ModelError: OpenVINO was requested and cannot run the network.

    >>> spec = InputSpec(height=32, width=32)
    >>> run = open_engine(nn.Flatten(), spec, batch_size=2, precision="float32", engine="torch")
    >>> run(np.zeros((3, 32, 32, 3), np.uint8)).shape
    (3, 3072)
    """
    adapt_to_fork()
    chosen = computes_on(module, device)
    resolved = choose_precision(precision, choose_device(device))
    network = Normalized(module, spec).eval()
    is_graph = isinstance(module, FrozenGraph)
    if resolved == "int8":
        check_int8(device, engine)
        if calibration is None:
            raise ValueError("precision int8 needs a calibration")
    if _uses_openvino(engine, chosen):
        try:
            # A graph of another framework needs no conversion.
            path = compiled_path() if compiled_path is not None and not is_graph else None
            forward = openvino_engine.compile_network(
                network, spec, batch_size, resolved, compiled_path=path, calibration=calibration
            )
            return Engine("openvino", resolved, batch_size, forward)
        except ModelError:
            if engine == "openvino" or resolved == "int8":
                raise
    shape = (batch_size, spec.height, spec.width, 3)
    return Engine(chosen, resolved, batch_size, _torch_forward(network, chosen, resolved, shape))


def check_int8(device: str, engine: str) -> None:
    """Check that ``precision="int8"`` is possible, before any image is read.

    :raises SettingsError: the engine is not OpenVINO on a CPU, or NNCF is not installed.
    """
    if not _uses_openvino(engine, choose_device(device)):
        raise SettingsError("--precision int8 needs OpenVINO on a CPU: use --device cpu, and not --engine torch")
    require_nncf()


def _uses_openvino(engine: str, device: str) -> bool:
    installed = find_spec("openvino") is not None
    if engine != "openvino":
        return engine == "auto" and device == "cpu" and installed
    if device != "cpu":
        raise SettingsError(f"--engine openvino runs on a CPU: add --device cpu, or use --engine torch for {device}")
    if not installed:
        raise SettingsError(
            '--engine openvino: OpenVINO is not installed; run "pip install openvino", or use --engine torch'
        )
    return True


def choose_device(requested: str) -> str:
    """The device to compute on: "cpu", "cuda" or "mps"; the best one for "auto".

    :raises SettingsError: the device is not available on this machine.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if requested == "auto":
        return "cuda" if available["cuda"] else "mps" if available["mps"] else "cpu"
    if not available.get(requested, False):
        usable = ", ".join(name for name, found in available.items() if found)
        raise SettingsError(f"--device {requested}: torch finds no such device; available: {usable}")
    return requested


def computes_on(module: nn.Module, requested: str) -> str:
    """The device that runs a module: a graph of another framework runs on the CPU, whatever device trains the head."""
    return "cpu" if runs_on_cpu(module) else choose_device(requested)


def runs_on_cpu(module: nn.Module) -> bool:
    """Whether a module runs on the CPU even where a GPU is asked for."""
    return isinstance(module, FrozenGraph)


def choose_batch_size(requested: int | None, device: str) -> int:
    """The requested number of images per batch, or the default for the device: 32 on a CPU, 256 on a GPU.

    OpenVINO divides a batch among the cores; a GPU needs large batches to be busy (benchmarks/speed/gpu.py).
    """
    return requested or (32 if choose_device(device) == "cpu" else 256)


def choose_precision(requested: str, device: str) -> str:
    """The requested precision; for "auto", "bfloat16" where the device computes with it, else "float32"."""
    if requested != "auto":
        return requested
    if device == "cpu":
        # oneDNN first: builds without it, as on a Mac, lack the operation that the next line calls.
        fast = (
            torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and torch.ops.mkldnn._is_mkldnn_bf16_supported()
            and torch.cpu._is_avx512_bf16_supported()
        )
    else:
        fast = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if fast else "float32"


class Normalized(nn.Module):
    """A network with normalization in front: it takes images as they are decoded, uint8 (B, H, W, 3).

    Mean and standard deviation are those of red, green and blue, even if the network then receives BGR.
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
        """Normalize images (B, H, W, 3) and run the network."""
        x = images.permute(0, 3, 1, 2)  # (B, 3, H, W), channels last in memory: no copy
        x = (x.to(self.mean.dtype) - self.mean) * self.scale
        result: Tensor = self.module(x.flip(1) if self.flip else x)
        return result


def _torch_forward(
    module: nn.Module, device: str, precision: str, shape: tuple[int, ...]
) -> Callable[[Images], NDArray[np.float32]]:
    if device != "cpu":
        module = copy.deepcopy(module).to(device).to(memory_format=torch.channels_last)
    kind = torch.device(device).type

    def compute(batch: Tensor) -> Tensor:
        # Autocast instead of a cast of the module, since it shares its parameters with the tail that is trained.
        rounding = torch.autocast(kind, torch.bfloat16) if precision == "bfloat16" else _full_precision(kind)
        with torch.inference_mode(), rounding:
            return module(batch).float()  # type: ignore[no-any-return]

    run: Callable[[Tensor], Tensor] = compute
    if device == "cuda" and shape[0] >= _MIN_RECORDED:
        run = recorded(compute, torch.zeros(shape, dtype=torch.uint8, device=device))

    def forward(images: Images) -> NDArray[np.float32]:
        batch = images if isinstance(images, Tensor) else torch.from_numpy(images)
        if device == "cuda" and not batch.is_cuda:
            batch = batch.pin_memory()  # page-locked memory, which the GPU copies asynchronously
        with torch.inference_mode():
            return run(batch.to(device, non_blocking=device == "cuda")).cpu().contiguous().numpy()

    return forward


@contextmanager
def _full_precision(kind: str) -> Iterator[None]:
    """Let cuDNN compute with float32 where it would round to TensorFloat-32, of 10 bits, as torch lets it by default.

    Meanwhile this holds in all threads of the process.
    """
    cudnn = torch.backends.cudnn
    if kind != "cuda" or not cudnn.allow_tf32:
        yield
        return
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = True
