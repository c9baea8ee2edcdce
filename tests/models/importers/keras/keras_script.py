"""Script that writes MobileNetV2 files, and the outputs of Keras; run with the torch backend of Keras."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

folder = Path(sys.argv[1])
images = np.load(folder / "images.npy")  # (B, 96, 96, 3), 0 to 255
scaled = images / 127.5 - 1
noise = np.random.default_rng(0)
outputs = {}


def base(**more: Any) -> Any:
    return keras.applications.MobileNetV2(input_shape=(96, 96, 3), alpha=0.35, weights=None, **more)


def randomized(model: Any) -> Any:
    """Move every variable away from its initial value, with statistics that keep the activations in range."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for each in model.weights:
        if each.path.endswith(("gamma", "beta", "bias")):
            each.assign_add(noise.normal(0, 0.2, each.shape))
    for layer in norms:
        layer.momentum = 0.0
    model(scaled, training=True)
    for layer in norms:
        layer.momentum = 0.999
    return model


def save(model: Any, name: str, x: Any, *endings: str) -> None:
    outputs[name] = keras.ops.convert_to_numpy(model(x, training=False))
    for ending in endings:
        model.save(folder / f"{name}{ending}")


whole = randomized(base(classes=7))
save(whole, "whole", scaled, ".keras", ".h5")
whole.save_weights(folder / "whole.weights.h5")
dense = keras.layers.Dense(3, activation="softmax", name="breeds")(whole.layers[-2].output)
save(keras.Model(whole.input, dense), "flat", scaled, ".keras", ".h5")
bare = randomized(base(include_top=False, pooling="avg"))
save(bare, "bare", scaled, ".h5")
last = [keras.layers.Dropout(0.2), keras.layers.Dense(3, activation="softmax")]
nested = keras.Sequential([keras.Input((96, 96, 3)), keras.layers.Rescaling(1 / 255), bare, *last])
nested.compile("adam", "categorical_crossentropy")
nested.optimizer.build(nested.trainable_variables)  # so that the file also contains optimizer variables
save(nested, "nested", images, ".keras", ".h5")

small = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
keras.Sequential(small).save(folder / "other.keras")
keras.Sequential([*small, keras.layers.Lambda(lambda x: x / 2, name="half")]).save(folder / "lambda.keras")
np.savez(folder / "outputs.npz", **outputs)
