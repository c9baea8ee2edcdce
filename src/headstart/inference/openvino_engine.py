"""A network in OpenVINO, compared with torch before it is used."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.data.spec import InputSpec
from headstart.errors import ModelError
from headstart.execution import available_cores
from headstart.execution.base import core_limit
from headstart.inference.compiled_cache import load, save, variant_path
from headstart.inference.quantization import BATCH_SIZE, Calibration, quantize
from headstart.models.importers.graphs import FrozenGraph
from headstart.models.openvino_library import core, openvino
from headstart.models.trace import TRACING

__all__ = ["compile_network"]

_REQUEST_SIZE = 4
"""Images per request. Cores with a request each do not wait for one another at the end of every layer, and the maps of
few images are in memory at a time. A batch that is not divisible is one request (benchmarks/speed/extraction.py)."""

_TOLERANCE = 1e-3
"""Largest relative difference between OpenVINO and torch in float32. 20 networks of all kinds stayed below 5e-6."""

Forward: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def compile_network(
    module: nn.Module,
    spec: InputSpec,
    batch_size: int,
    precision: str,
    *,
    compiled_path: Path | None = None,
    calibration: Calibration | None = None,
) -> Forward:
    """Compile the network to a function from ``batch_size`` images, uint8 (B, H, W, 3), to float32 (B, ...).

    The conversion is verified in float32, where both must return the same values. How much bfloat16 changes them
    depends on the network: cosines below 0.99 on noise in an untrained or small network are no error.

    :param compiled_path: where the converted network is cached.
    :param calibration: for "int8". The quantized network is cached too, under the name of the calibration.
    :raises ModelError: OpenVINO cannot run the network, or returns other values than torch.
    """
    request_size = _REQUEST_SIZE if batch_size % _REQUEST_SIZE == 0 else batch_size
    requests = min(available_cores(), batch_size // request_size)
    try:
        if calibration is not None:
            quantized = _quantized(module, spec, request_size, calibration, compiled_path)
            return _compile(quantized, "float32", requests)
        if compiled_path is not None and (cached := load(compiled_path)) is not None:
            return _compile(cached, precision, requests)
        model, exact = _verified(module, spec, request_size, requests)
        forward = exact if precision == "float32" else _compile(model, precision, requests)
    except ModelError:
        raise
    except Exception as failure:  # neither torch's tracer nor OpenVINO has an exception type of its own for this
        reason = str(failure).strip().split("\n")[0]
        remedy = "use --engine torch" if calibration is None else "choose another --precision"
        raise ModelError(f"OpenVINO cannot run this network ({reason}); {remedy}") from failure
    if compiled_path is not None:
        save(model, compiled_path)
    return forward


def _verified(module: nn.Module, spec: InputSpec, batch_size: int, requests: int) -> tuple[Any, Forward]:
    """The converted network, and the same compiled in float32, after a comparison with torch."""
    model = _convert(module, spec, batch_size)
    exact = _compile(model, "float32", requests)
    difference = _difference(module, exact, spec, batch_size)
    if not difference <= _TOLERANCE:  # so that NaN counts as a difference
        raise ModelError(
            f"OpenVINO returns other values than torch in float32 (relative difference {difference:.2g}); "
            "use --engine torch"
        )
    return model, exact


def _quantized(
    module: nn.Module, spec: InputSpec, batch_size: int, calibration: Calibration, compiled_path: Path | None
) -> Any:
    path = None if compiled_path is None else variant_path(compiled_path, calibration.name)
    model = None if path is None else load(path)
    if model is None:
        # Calibrated with a constant batch size, so that the features do not depend on that of inference.
        model = quantize(_verified(module, spec, BATCH_SIZE, 1)[0], calibration.images())
        if path is not None:
            save(model, path)
    model.reshape([batch_size, spec.height, spec.width, 3])
    return model


def _convert(module: nn.Module, spec: InputSpec, batch_size: int) -> Any:
    if isinstance(module.module, FrozenGraph):  # already an OpenVINO graph
        return module.module.with_normalization(module, batch_size)
    example = torch.zeros((2, spec.height, spec.width, 3), dtype=torch.uint8)  # traced with 2, converted for a batch
    with TRACING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch.jit
        # The converter would have the trace checked, which keeps more than the weights in memory for good and takes
        # longer than the trace itself. What it returns is compared with torch below.
        traced = torch.jit.trace(module, example, strict=False, check_trace=False)  # type: ignore[no-untyped-call]
        return openvino().convert_model(traced, example_input=example, input=[(batch_size, *example.shape[1:])])


def _compile(model: Any, precision: str, requests: int) -> Forward:
    """A function of any number of the model's batches, of which ``requests`` run at the same time."""
    kind = "bf16" if precision == "bfloat16" else "f32"
    hints = {"INFERENCE_PRECISION_HINT": kind, "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(requests)}
    if (limit := core_limit()) is not None:  # else OpenVINO knows better than we how many threads are best
        # Pinned, the first thread of each worker of a machine would be on the same core.
        hints |= {"INFERENCE_NUM_THREADS": str(limit), "ENABLE_CPU_PINNING": "NO"}
    compiled, size = core().compile_model(model, "CPU", hints), model.input(0).shape[0]
    queue = openvino().AsyncInferQueue(compiled, requests)
    outputs: dict[int, NDArray[np.float32]] = {}  # by the index of the first image
    queue.set_callback(
        lambda request, start: outputs.update({start: np.array(request.get_output_tensor(0).data, np.float32)})
    )
    lock = threading.Lock()  # one call at a time: a single one uses all cores

    def forward(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        starts = range(0, len(images), size)
        with lock:
            outputs.clear()
            for start in starts:
                queue.start_async({0: images[start : start + size]}, start, share_inputs=True)
            queue.wait_all()
            batches = [outputs.pop(start) for start in starts]
        return batches[0] if len(batches) == 1 else np.concatenate(batches)

    return forward


def _difference(module: nn.Module, forward: Forward, spec: InputSpec, batch_size: int) -> float:
    """The norm of the difference between the two on noise, relative to the norm of torch's values."""
    noise = np.random.default_rng(0).integers(0, 256, (batch_size, spec.height, spec.width, 3), np.uint8)
    with torch.inference_mode():
        expected = module(torch.from_numpy(noise[:2])).float().flatten().numpy()
    actual = forward(noise)[:2].reshape(-1)
    return float(np.linalg.norm(actual - expected) / max(float(np.linalg.norm(expected)), 1e-12))
