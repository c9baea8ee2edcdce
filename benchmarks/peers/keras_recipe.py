"""The 2020 tutorial's recipe in Keras on a split that is given: MobileNetV2, its last 20 layers, plain SGD, ten epochs.

As seed_keras.py of the shared folder has it, in which the pictures go in as OpenCV's BGR in [0, 1]; --input right gives
what the network was trained on, RGB in [-1, 1].
"""

from __future__ import annotations

import os
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import cv2
import numpy as np
from common import Part, arguments, finish, task

import keras


def pictures(part: Part, right: bool) -> np.ndarray:
    """(N, 224, 224, 3), all of them in memory."""
    images = np.empty((len(part.paths), 224, 224, 3), "float32")
    for row, path in enumerate(part.paths):
        image = cv2.resize(cv2.imread(path), (224, 224))
        images[row] = image[..., ::-1] / 127.5 - 1 if right else image / 255.0
    return images


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--input", choices=("tutorial", "right"), default="tutorial")
    given = parser.parse_args()
    work = task(given)
    keras.utils.set_random_seed(given.seed)
    start = time.monotonic()
    x = {name: pictures(part, given.input == "right") for name, part in work.parts.items()}
    y = {name: part.targets for name, part in work.parts.items()}
    base = keras.applications.MobileNetV2(weights=given.weights)
    head = keras.layers.Dense(len(work.classes), activation="softmax")(base.layers[-2].output)
    model = keras.Model(base.input, head)
    for layer in model.layers[:-20]:
        layer.trainable = False
    for layer in model.layers[-20:]:
        layer.trainable = True
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    seen = model.fit(
        x["train"],
        y["train"],
        epochs=given.epochs or 10,
        validation_data=(x["validation"], y["validation"]),
        batch_size=32,
        verbose=0,
    )
    finish(
        work,
        model.predict(x["test"], verbose=0),
        training_s=round(time.monotonic() - start, 2),
        val_accuracy=[round(float(value), 4) for value in seen.history["val_accuracy"]],
    )


if __name__ == "__main__":
    main()
