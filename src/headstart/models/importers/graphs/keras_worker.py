"""Script for a separate process in which Keras uses its OpenVINO backend: converts a Keras file to an OpenVINO graph.

It does not import headstart. The file has been checked before and names no code.
"""

from __future__ import annotations

import sys
from typing import Any


def main(source: str, target: str) -> None:
    """Load ``source`` and write ``target``, an ``.xml`` file with a ``.bin`` file next to it."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # disables OpenVINO's telemetry
    import keras

    model = keras.saving.load_model(
        source, custom_objects={"DepthwiseConv2D": _depthwise_layer(keras)}, compile=False, safe_mode=True
    )
    model.export(target, format="openvino", verbose=False)


def _depthwise_layer(keras: Any) -> Any:
    """The layer with the option ``groups``, which Keras 2 always saves as 1 and Keras 3 does not accept."""

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
        def __init__(self, *args: Any, groups: int = 1, **settings: Any) -> None:
            if groups != 1:
                raise ValueError(f"DepthwiseConv2D: groups must be 1, got {groups}")
            super().__init__(*args, **settings)

    return DepthwiseConv2D


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose modules would shadow others of the same name
    main(*sys.argv[1:])
