"""A network in OpenVINO, checked against torch before it is used."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.data.spec import InputSpec
from headstart.errors import ModelError
from headstart.models.foreign import FrozenGraph
from headstart.models.openvino_library import openvino
from headstart.models.prepared import beside, keep, kept
from headstart.models.quantized import BATCH, Calibration, quantize
from headstart.scale import cores

__all__ = ["compiled"]

_PIECE = 4
"""Images of a request. Cores that have a request each do not wait for one another at the end of every layer, and maps
of few images are in memory at a time. A batch that cannot be divided is one request (benchmarks/extraction.py)."""

_MOST_DIFFERENCE = 1e-3
"""Of the values' length, between OpenVINO and torch in float32. 20 networks of different kinds stayed below 5e-6."""

Forward = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def compiled(
    module: nn.Module,
    spec: InputSpec,
    batch: int,
    precision: str,
    *,
    prepared: Path | None = None,
    calibration: Calibration | None = None,
) -> Forward:
    """The network as a function from ``batch`` images, uint8 (batch, H, W, 3), to float32 (batch, …).

    The conversion is checked in float32, where both must give the same. What bfloat16 makes of that depends on the
    network: for noise in an untrained or a small one, cosines below 0.99 are nothing wrong.

    :param prepared: where it is kept when it is converted, and read from when it was before
        (:func:`headstart.models.prepared.place`).
    :param calibration: for "int8": what is quantized is kept beside, by the pictures' name.
    :raises ModelError: OpenVINO cannot run this network, or gives other values than torch.
    """
    piece = _PIECE if batch % _PIECE == 0 else batch
    requests = min(cores(), batch // piece)
    try:
        if calibration is not None:
            return _compiled(_quantized(module, spec, piece, calibration, prepared), "float32", requests)
        if prepared is not None and (before := kept(prepared)) is not None:
            return _compiled(before, precision, requests)
        model, exact = _checked(module, spec, piece, requests)
        forward = exact if precision == "float32" else _compiled(model, precision, requests)
    except ModelError:
        raise
    except Exception as failure:  # neither torch's tracing nor OpenVINO has a type for what it does not know
        reason = str(failure).strip().split("\n")[0]
        instead = "use --engine torch" if calibration is None else "leave --precision int8 out"
        raise ModelError(f"OpenVINO cannot run this network ({reason}); {instead}") from failure
    if prepared is not None:
        keep(model, prepared)
    return forward


def _checked(module: nn.Module, spec: InputSpec, batch: int, requests: int) -> tuple[Any, Forward]:
    """OpenVINO's network and, ready to run, what it is in float32."""
    model = _converted(module, spec, batch)
    exact = _compiled(model, "float32", requests)
    difference = _difference(module, exact, spec, batch)
    if not difference <= _MOST_DIFFERENCE:  # so that NaN counts as a difference
        raise ModelError(
            f"OpenVINO gives other values than torch in float32 (relative difference {difference:.2g}); "
            "use --engine torch"
        )
    return model, exact


def _quantized(module: nn.Module, spec: InputSpec, batch: int, calibration: Calibration, prepared: Path | None) -> Any:
    place = None if prepared is None else beside(prepared, calibration.name)
    model = None if place is None else kept(place)
    if model is None:
        # Ranges are set with as many images at a time for every batch, so that features do not hang on it.
        model = quantize(_checked(module, spec, BATCH, 1)[0], calibration.images())
        if place is not None:
            keep(model, place)
    model.reshape([batch, spec.height, spec.width, 3])
    return model


def _converted(module: nn.Module, spec: InputSpec, batch: int) -> Any:
    if isinstance(module.module, FrozenGraph):  # OpenVINO's already: nothing to convert
        return module.module.normalised(module, batch)
    example = torch.zeros((2, spec.height, spec.width, 3), dtype=torch.uint8)  # traced small, made for a whole batch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own use of torch.jit
        return openvino().convert_model(module, example_input=example, input=[(batch, *example.shape[1:])])


def _compiled(model: Any, precision: str, requests: int) -> Forward:
    """A function of any number of the model's own batches, of which so many run at the same time."""
    kind = "bf16" if precision == "bfloat16" else "f32"
    hints = {"INFERENCE_PRECISION_HINT": kind, "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(requests)}
    compiled, size = openvino().Core().compile_model(model, "CPU", hints), model.input(0).shape[0]
    queue = openvino().AsyncInferQueue(compiled, requests)
    found: dict[int, NDArray[np.float32]] = {}  # by the place of its first image
    queue.set_callback(
        lambda request, start: found.update({start: np.array(request.get_output_tensor(0).data, np.float32)})
    )
    alone = threading.Lock()  # what runs takes all cores anyway

    def forward(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        starts = range(0, len(images), size)
        with alone:
            found.clear()
            for start in starts:
                queue.start_async({0: images[start : start + size]}, start, share_inputs=True)
            queue.wait_all()
            parts = [found.pop(start) for start in starts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    return forward


def _difference(module: nn.Module, forward: Forward, spec: InputSpec, batch: int) -> float:
    """Length of the difference between what the two give for noise, as a share of the values' length."""
    noise = np.random.default_rng(0).integers(0, 256, (batch, spec.height, spec.width, 3), np.uint8)
    with torch.inference_mode():
        expected = module(torch.from_numpy(noise[:2])).float().flatten().numpy()
    given = forward(noise)[:2].reshape(-1)
    return float(np.linalg.norm(given - expected) / max(float(np.linalg.norm(expected)), 1e-12))
