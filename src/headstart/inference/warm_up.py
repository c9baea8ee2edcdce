"""A GPU that starts while the images are read: its first use takes seconds, whatever is computed."""

from __future__ import annotations

import threading
from contextlib import suppress

import torch
from torch.nn import functional as F

__all__ = ["warm_up"]


def warm_up(device: str) -> threading.Thread | None:
    """Start a GPU in a thread, with the libraries for convolutions and products of matrices.

    Join the thread before the GPU is used.

    :returns: the thread; None for a CPU, which needs no start.
    """
    if device != "cuda":
        return None
    thread = threading.Thread(target=_compute, name="headstart-warm-up")
    thread.start()
    return thread


def _compute() -> None:
    with suppress(RuntimeError):  # where a GPU is broken, the work that needs it says so
        images = torch.zeros((8, 16, 32, 32), device="cuda")
        weight = torch.zeros((16, 16, 3, 3), device="cuda")
        for dtype in (torch.float32, torch.bfloat16):
            F.conv2d(images.to(dtype), weight.to(dtype))
            images.to(dtype).flatten(1) @ images.to(dtype).flatten(1).T
        torch.cuda.synchronize()
