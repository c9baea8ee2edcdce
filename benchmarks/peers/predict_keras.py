"""Top-1 of files by Keras: MobileNetV2 with the same weights, RGB in [-1, 1], the shorter side to 256, center 224."""

from __future__ import annotations

import os
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from predicting import arguments, image_paths, latencies, print_figures


def view(path: tf.Tensor) -> tf.Tensor:
    """(224, 224, 3)."""
    image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    size = tf.cast(tf.round(size * 256 / tf.reduce_min(size)), tf.int32)
    image = tf.image.resize(image, size, antialias=True)
    top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
    return image[top : top + 224, left : left + 224] / 127.5 - 1


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--weights", required=True)
    given = parser.parse_args()
    model = keras.applications.MobileNetV2(weights=given.weights)
    paths = image_paths(given)
    one_by_one = latencies(given, paths, lambda path: model(view(path)[None], training=False).numpy().argmax(1))
    start = time.perf_counter()
    data = tf.data.Dataset.from_tensor_slices(paths).map(view, num_parallel_calls=tf.data.AUTOTUNE).batch(32)
    predicted = np.asarray(model.predict(data.prefetch(tf.data.AUTOTUNE), verbose=0)).argmax(1)
    print_figures(paths, predicted, time.perf_counter() - start, one_by_one)


if __name__ == "__main__":
    main()
