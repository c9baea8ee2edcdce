"""Checking that a graph gives the same answer to the same image each time.

A network that was saved in its training form draws random numbers (dropout, augmentation, noise), and one with a state
remembers earlier images. Either would make every figure meaningless, so such a graph is refused.

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ModelError
from headstart.models.openvino_library import core

__all__ = ["check_inference_form"]

_RANDOM = frozenset(["RandomUniform", "RandomNormal", "Multinomial", "RandomPoisson"])
_STATEFUL = frozenset(["ReadValue", "Assign"])
_BODIES = ("get_function", "get_then_body", "get_else_body")  # of loops and conditions
_REMEDY = (
    "export the network for inference (in Keras, call the model with training=False; in PyTorch, after model.eval())"
)


def check_inference_form(model: Any, images: NDArray[np.float32]) -> None:
    """Check a graph with one input, by its operations and by running it several times.

    :param images: (N, 3, H, W), different ones; they are run one by one.
    :raises ModelError: an operation is random or has a state, or the answers differ; the message names the operation.
    """
    for node in _operations(model):
        kind = node.get_type_name()
        if kind in _RANDOM:
            raise ModelError(f"its operation {_name(node)} draws random numbers in every prediction; {_REMEDY}")
        if kind in _STATEFUL:
            raise ModelError(
                f"its operation {_name(node)} has a state, so that an answer depends on earlier images; {_REMEDY}"
            )
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    first, second = (core().compile_model(model, "CPU", settings) for _ in range(2))
    forward, again = ([_run(first, each) for each in images] for _ in range(2))
    backward = [_run(second, each) for each in images[::-1]][::-1]
    for one, two, three in zip(forward, again, backward, strict=True):
        if not all(np.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True) for other in (two, three)):
            raise ModelError(f"it gives another answer to the same image each time; {_REMEDY}")


def _operations(model: Any) -> Iterator[Any]:
    """All operations of a graph, with those in the bodies of loops and conditions."""
    for node in model.get_ordered_ops():
        yield node
        for name in _BODIES:
            body = getattr(node, name, None)
            if callable(body):
                yield from _operations(body())


def _name(node: Any) -> str:
    return f"{node.get_friendly_name()} ({node.get_type_name()})"


def _run(program: Any, image: NDArray[np.float32]) -> NDArray[np.float32]:
    result = program.create_infer_request().infer({0: image[None]}, share_outputs=False)
    return np.asarray(result[0], np.float32)
