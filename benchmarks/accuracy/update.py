"""A 121st class for a run of 10,222 images: how long an update takes, and what it does to the other classes.

    python -m benchmarks.accuracy.update [--times 3] [--quick]

Fits the 120 breeds of dogs120, then adds the glass of trash6 with ``headstart fit --update``. Seconds are of the whole
process, imports and report included. The store has the features of the dogs, not those of the glass.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from benchmarks.harness import HEADSTART, SHARED, Figures, empty_folder, read_json, run, save, spread

NEW_CLASS = "glass"


def recall(folder: Path, *, new: bool) -> tuple[float, int]:
    """Mean recall over the evaluated images of the new class or of the old ones, and the number of these images."""
    rows = read_json(folder / "evaluation.json")["per_class"]
    rows = [row for row in rows if (row["name"] == NEW_CLASS) == new and row["recall"]]
    images = sum(row["images"] for row in rows)
    return round(sum(row["recall"]["value"] * row["images"] for row in rows) / images, 4), images


def measure(times: int, *options: object, data: str = "dogs120") -> Figures:
    """One fit, and several updates, each with a copy of its store."""
    folder = empty_folder("update")
    store, out = folder / "store", folder / "dogs"
    first = run(HEADSTART, "fit", SHARED / data, *options, "--cache-dir", store, "--out", out)
    (folder / "more").mkdir()
    (folder / "more" / NEW_CLASS).symlink_to(SHARED / "trash6" / NEW_CLASS)
    updates: list[Figures] = []
    for number in range(times):
        updated_store, updated = folder / f"store{number}", folder / f"dogs{number}"
        shutil.copytree(store, updated_store)  # in which the glass is new
        paths = ("--update", out, "--out", updated, "--cache-dir", updated_store)
        completed = run(HEADSTART, "fit", folder / "more", *paths)
        updates.append(
            {
                "seconds": completed.seconds,
                "peak_gb": completed.peak_gb,
                "old": recall(updated, new=False),
                "new": recall(updated, new=True),
            }
        )
    return {
        "first_fit_s": first.seconds,
        "old_classes_before": recall(out, new=False),
        "update_s": spread([each["seconds"] for each in updates]),
        "updates": updates,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="the 240 dogs of kaggle-dogs-240, one update")
    given = parser.parse_args()
    figures = measure(1, data="kaggle-dogs-240") if given.quick else measure(given.times)
    save("accuracy/update", figures, quick=given.quick)


if __name__ == "__main__":
    main()
