"""Fill a feature table slowly: python slow_extraction.py STORE MANIFEST SECONDS_PER_BATCH SECONDS_PER_COMMIT."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np

from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.features import extractor as module
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore

SPACE = FeatureSpace("means", "0" * 32, "pool", InputSpec(height=16, width=16), "float32", "float32", (48,))


def network(images: np.ndarray) -> np.ndarray:
    """Average 16 fields: (B, 16, 16, 3) to (B, 48)."""
    return images.reshape(-1, 4, 4, 4, 4, 3).mean((2, 4), np.float32).reshape(-1, 48)


def main(store: str, manifest: str, seconds_per_batch: str, seconds_per_commit: str) -> None:
    # A shell that runs the tests in the background makes its children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    module._SECONDS_PER_COMMIT = float(seconds_per_commit)
    computed = 0

    def slow(images: np.ndarray) -> np.ndarray:
        nonlocal computed
        time.sleep(float(seconds_per_batch))
        computed += len(images)
        return network(images)

    sys.stdout.write("begun\n")
    sys.stdout.flush()
    try:
        module.extract_features(
            Manifest.read(Path(manifest)),
            FeatureStore(Path(store)).table(SPACE),
            SPACE.spec,
            open_engine=lambda: slow,
            batch_size=4,
            max_pixels=10_000,
        )
    finally:
        sys.stdout.write(f"{computed}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
