"""Fill a store slowly: python slow_extraction.py STORE MANIFEST SECONDS_A_BATCH SECONDS_A_COMMIT."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np

from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.features import extract as module
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore

SPACE = FeatureSpace("means", "0" * 32, "pool", InputSpec(height=16, width=16), "float32", "float32", (48,))


def network(images: np.ndarray) -> np.ndarray:
    """(B, 16, 16, 3) to (B, 48): the means of 16 fields."""
    return images.reshape(-1, 4, 4, 4, 4, 3).mean((2, 4), np.float32).reshape(-1, 48)


def main(store: str, manifest: str, seconds_a_batch: str, seconds_a_commit: str) -> None:
    # Whoever runs the tests in the background of a shell hands on that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    module._SECONDS_A_COMMIT = float(seconds_a_commit)
    computed = 0

    def slow(images: np.ndarray) -> np.ndarray:
        nonlocal computed
        time.sleep(float(seconds_a_batch))
        computed += len(images)
        return network(images)

    sys.stdout.write("begun\n")
    sys.stdout.flush()
    try:
        module.extract(
            Manifest.read(Path(manifest)),
            FeatureStore(Path(store)).space(SPACE),
            SPACE.spec,
            open_run=lambda: slow,
            batch=4,
            max_pixels=10_000,
        )
    finally:
        sys.stdout.write(f"{computed}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
