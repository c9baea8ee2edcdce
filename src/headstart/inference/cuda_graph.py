"""Networks recorded as CUDA graphs.

Python starts each of some hundred kernels of a network on its own. While other threads read files, that takes longer
than the GPU needs to compute them, since all wait for Python's lock. A graph is one start for the whole network, with
the same kernels and so the same values (benchmarks/speed/gpu_extraction.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["recorded"]

Function = Callable[[Tensor], Tensor]


def recorded(function: Function, example: Tensor) -> Function:
    """Record a function of one tensor on a GPU, and return one that replays it; the same function if it cannot be.

    Functions that copy from the GPU in between, or decide by values, cannot be recorded. No other thread should use the
    GPU meanwhile. The recorded function may be called from several threads.

    :param example: inputs of the only shape and type that will be passed.
    """
    try:
        graph, inputs, outputs = _record(function, example)
    except RuntimeError:
        return function
    lock = threading.Lock()

    def replay(images: Tensor) -> Tensor:
        with lock:  # the memory of inputs and outputs is always the same
            inputs.copy_(images)
            graph.replay()
            return outputs.clone()

    return replay


def _record(function: Function, example: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
    inputs, stream = example.clone(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # a first time without recording: libraries choose their kernels and take memory
        function(inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = function(inputs)
    return graph, inputs, outputs
