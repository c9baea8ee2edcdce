"""Networks recorded as CUDA graphs.

Python starts each of some hundred kernels of a network on its own. While other threads read files, that takes longer
than the GPU needs to compute them, since all wait for Python's lock. A graph is one start for the whole network, with
the same kernels and so the same values (benchmarks/speed/gpu_extraction.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["recorded"]

Function = Callable[[Tensor], Tensor]

_RECORDING = threading.Lock()  # torch records one graph at a time


def recorded(function: Function, example: Tensor) -> Function:
    """Record a function of one tensor on a GPU, and return one that replays it; the same function if it cannot be.

    Functions that copy from the GPU in between, or decide by values, cannot be recorded. The recorded function may be
    called from several threads; it returns its result in the memory of the host.

    :param example: inputs of the only shape and type that will be passed.
    """
    try:
        with _RECORDING:
            recording = _Recording(function, *_record(function, example))
    except RuntimeError:
        return function
    return recording.replay


@dataclass(frozen=True)
class _Recording:
    """A graph, with all whose memory it reads and writes. It knows only addresses, and keeps none of this alive."""

    function: Function  # and with it the weights of the network
    graph: torch.cuda.CUDAGraph
    inputs: Tensor
    outputs: Tensor
    lock: threading.Lock = field(default_factory=threading.Lock)

    def replay(self, images: Tensor) -> Tensor:
        with self.lock:  # until the results are on the host: the memory of inputs and outputs is always the same
            self.inputs.copy_(images)
            self.graph.replay()
            return self.outputs.cpu()


def _record(function: Function, example: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
    inputs, stream = example.clone(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # a first time without recording: libraries choose their kernels and take memory
        function(inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        outputs = function(inputs)
    return graph, inputs, outputs
