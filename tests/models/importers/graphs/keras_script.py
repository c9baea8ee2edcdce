"""Script that writes Keras files of small networks, and the outputs of Keras; run with the torch backend of Keras."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

folder = Path(sys.argv[1])
layers = keras.layers
noise = np.random.default_rng(0)
images = noise.integers(0, 256, (3, 32, 40, 3)).astype(np.float32)
np.save(folder / "images.npy", images.astype(np.uint8))
outputs = {}


def save(model: Any, name: str, x: Any, *endings: str) -> None:
    for each in model.weights:
        if each.path.endswith(("gamma", "beta", "bias", "moving_mean")):
            each.assign_add(noise.normal(0, 0.2, each.shape))
    outputs[name] = keras.ops.convert_to_numpy(model(x, training=False))
    for ending in endings:
        model.save(folder / f"{name}{ending}")


def body(*first: Any) -> list[Any]:
    return [
        keras.Input((32, 40, 3)),
        *first,
        layers.Conv2D(8, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(6.0),
        layers.DepthwiseConv2D(3),
        layers.MaxPooling2D(),
    ]


end = [layers.Flatten(), layers.Dropout(0.3), layers.Dense(6, activation="relu")]
scaled = keras.Sequential([*body(layers.Rescaling(1 / 255)), *end, layers.Dense(5, activation="softmax")])
scaled.compile("adam", "categorical_crossentropy")
save(scaled, "scaled", images, ".keras", ".h5")
scaled.save_weights(folder / "scaled.weights.h5")
with h5py.File(folder / "scaled.h5", "r+") as file:  # as written by Keras 2
    config = json.loads(file.attrs["model_config"])
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "DepthwiseConv2D":
            layer["config"]["groups"] = 1
    file.attrs["model_config"] = json.dumps(config)
save(keras.Sequential(body()), "map", images / 255, ".keras")
first = [
    keras.Sequential(
        [
            *(
                layers.RandomFlip(),
                layers.RandomRotation(0.2),
                layers.RandomZoom(0.2),
                layers.RandomTranslation(0.2, 0.2),
            ),
            *(
                layers.RandomContrast(0.3),
                layers.RandomBrightness(0.3),
                layers.GaussianNoise(0.9),
                layers.RandomCrop(32, 40),
            ),
        ]
    ),
    *(layers.Resizing(30, 36), layers.CenterCrop(28, 32), layers.ZeroPadding2D(2)),
]
augmented = keras.Sequential([*body(*first, layers.Rescaling(1 / 127.5, offset=-1)), *end[:2], layers.Dense(5)])
save(augmented, "augmented", images, ".keras")
adapted = layers.Normalization()
adapted.adapt(images)
save(
    keras.Sequential([*body(layers.RandomFlip(), adapted), layers.Flatten(), layers.Dense(4)]), "adapted", images, ".h5"
)
x = start = keras.Input((32, 40, 3))
x = layers.Conv2D(8, 3, activation="swish")(x)
gate = layers.Conv2D(8, 1, activation="sigmoid")(layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(x)))
x = layers.GlobalAveragePooling2D()(layers.Multiply()([x, gate]))
save(keras.Model(start, layers.Dense(1, activation="sigmoid")(x), name="resnet50"), "gated", images / 255, ".keras")
np.savez(folder / "outputs.npz", **outputs)
