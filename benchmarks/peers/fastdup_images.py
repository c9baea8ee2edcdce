"""Peer: fastdup on images, with its default thresholds. Runs in an environment of its own.

python fastdup_images.py PATHS.json FOLDER FOUND.json

Pairs are those of its similarity graph from 0.96 on, by which it groups near-duplicates; images are dark, bright or
blurred by the limits of its summary.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["SENTRY_OPT_OUT"] = "1"  # it reports its use otherwise

import fastdup

_SAME, _DARK, _BRIGHT, _BLURRED = 0.96, 4.0, 253.0, 150.0


def main() -> None:
    """One run for everything."""
    paths = json.loads(Path(sys.argv[1]).read_text())
    made = fastdup.create(work_dir=sys.argv[2], input_dir=paths)
    made.run(num_threads=2, overwrite=True)
    similar, stats, invalid = made.similarity(), made.img_stats(), made.invalid_instances()
    near = similar[similar["distance"] >= _SAME]
    found = {
        "pairs": sorted({tuple(sorted(pair)) for pair in zip(near["filename_from"], near["filename_to"], strict=True)}),
        "unreadable": list(invalid["filename"]),
        "dark": list(stats[stats["mean"] < _DARK]["filename"]),
        "bright": list(stats[stats["mean"] > _BRIGHT]["filename"]),
        "blurred": list(stats[stats["blur"] < _BLURRED]["filename"]),
    }
    Path(sys.argv[3]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
