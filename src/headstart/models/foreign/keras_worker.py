"""Run by itself, in a process where Keras works on OpenVINO: a Keras file to OpenVINO's graph.

It knows nothing of headstart, whose part is done before: the file was looked at, and names no code.
"""

from __future__ import annotations

import sys
from typing import Any


def main(source: str, target: str) -> None:
    """Load ``source`` and write ``target``, an ``.xml`` that gets a ``.bin`` beside it."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # no reports to OpenVINO's makers
    import keras

    model = keras.saving.load_model(
        source, custom_objects={"DepthwiseConv2D": _depthwise(keras)}, compile=False, safe_mode=True
    )
    model.export(target, format="openvino", verbose=False)


def _depthwise(keras: Any) -> Any:
    """The layer, which Keras 2 wrote with a setting of one possible value that Keras 3 does not take."""

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
        def __init__(self, *args: Any, groups: int = 1, **settings: Any) -> None:
            if groups != 1:
                raise ValueError(f"DepthwiseConv2D with groups={groups} is not known")
            super().__init__(*args, **settings)

    return DepthwiseConv2D


if __name__ == "__main__":
    sys.path.pop(0)  # this file's own folder, whose modules have other modules' names
    main(*sys.argv[1:])
