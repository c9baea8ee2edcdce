"""The 2020 tutorial's recipe in Keras on a given split: MobileNetV2, its last 20 layers, plain SGD, ten epochs.

Like seed_keras.py of the shared folder, which reads images as OpenCV's BGR in [0, 1]; --input correct reads them as the
network was trained, RGB in [-1, 1].
"""

from __future__ import annotations

import os
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import cv2
import keras
import numpy as np
from common import Split, arguments, finish, read_task


def read_images(split: Split, correct: bool) -> np.ndarray:
    """(N, 224, 224, 3), all of them in memory."""
    images = np.empty((len(split.paths), 224, 224, 3), "float32")
    for row, path in enumerate(split.paths):
        image = cv2.resize(cv2.imread(path), (224, 224))
        images[row] = image[..., ::-1] / 127.5 - 1 if correct else image / 255.0
    return images


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--input", choices=("tutorial", "correct"), default="tutorial")
    given = parser.parse_args()
    task = read_task(given)
    keras.utils.set_random_seed(given.seed)
    start = time.monotonic()
    x = {name: read_images(split, given.input == "correct") for name, split in task.splits.items()}
    y = {name: split.targets for name, split in task.splits.items()}
    base = keras.applications.MobileNetV2(weights=given.weights)
    head = keras.layers.Dense(len(task.classes), activation="softmax")(base.layers[-2].output)
    model = keras.Model(base.input, head)
    for layer in model.layers[:-20]:
        layer.trainable = False
    for layer in model.layers[-20:]:
        layer.trainable = True
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    fitted = model.fit(
        x["train"],
        y["train"],
        epochs=given.epochs or 10,
        validation_data=(x["validation"], y["validation"]),
        batch_size=32,
        verbose=0,
    )
    finish(
        task,
        model.predict(x["test"], verbose=0),
        training_s=round(time.monotonic() - start, 2),
        val_accuracy=[round(float(value), 4) for value in fitted.history["val_accuracy"]],
    )


if __name__ == "__main__":
    main()
