"""Script for a separate process in which Keras loads a file: export as an OpenVINO graph, or Keras's own answers.

It does not import headstart. The file has been checked before and names no code. Everything is computed as in
inference, with ``training=False``: otherwise the layers of augmentation, which are part of many models, stay random.
"""

from __future__ import annotations

import sys
from typing import Any

_OPEN_SIDE = 224  # pixels, where the file leaves the size open


def main(task: str, source: str, target: str) -> None:
    """Load ``source`` and write ``target``.

    :param task: "export", an ``.xml`` file with a ``.bin`` file next to it; "answers", an ``.npz`` file with images and
        the outputs for them; or "layers", an ``.npz`` file with the output of each layer too.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # disables OpenVINO's telemetry
    import keras

    model = keras.saving.load_model(
        source, custom_objects={"DepthwiseConv2D": _depthwise_layer(keras)}, compile=False, safe_mode=True
    )
    if task == "export":
        _inference(keras, model).export(target, format="openvino", verbose=False)
    else:
        _write_answers(keras, model, target, with_layers=task == "layers")


def _inference(keras: Any, model: Any) -> Any:
    """The model with ``training=False`` in every call."""
    inputs = [keras.Input(batch_shape=each.shape, dtype=each.dtype, name=each.name) for each in model.inputs]
    return keras.Model(inputs, model(inputs[0] if len(inputs) == 1 else inputs, training=False))


def _write_answers(keras: Any, model: Any, target: str, *, with_layers: bool) -> None:
    """Write images, with values of 0 to 1 and of 0 to 255, and the answers to them: twice, in case they are random."""
    import numpy as np

    if len(model.inputs) != 1:
        raise ValueError(f"it has {len(model.inputs)} inputs, must have one")
    wanted = model.inputs[0]
    sides = [_OPEN_SIDE if side is None else side for side in wanted.shape[1:]]
    unit = np.random.default_rng(0).random(sides)
    images = np.stack([unit, 255 * unit]).astype(keras.backend.standardize_dtype(wanted.dtype))
    names: list[str] = []
    if with_layers:
        names, model = _with_all_outputs(keras, model)
    arrays: Any = {"images": images, "names": np.array(names, dtype=str)}
    for repetition in range(2):
        outputs = [keras.tree.flatten(model(image[None], training=False)) for image in images]
        for index, pair in enumerate(zip(*outputs, strict=True)):
            both = np.concatenate([keras.ops.convert_to_numpy(each) for each in pair])
            arrays[f"output_{repetition}_{index}"] = both.astype(np.float32)
    np.savez(target, **arrays)


def _with_all_outputs(keras: Any, model: Any) -> tuple[list[str], Any]:
    """Names of the layers, and a model with their outputs."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    outputs = [keras.tree.flatten(layer.output)[0] for layer in layers]
    names = [f"{layer.name} ({type(layer).__name__})" for layer in layers]
    return names, keras.Model(model.inputs, outputs)


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
