"""A 121st class for a run of 10,222 pictures: how long it takes, and what it does to the other classes.

    python benchmarks/update.py [--times 3]

120 breeds of dogs120 are fitted, then the glass of trash6 is added with ``headstart fit --update``. Seconds are of
the whole process, imports and the report included. The store holds the features of the dogs, not of the glass.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from harness import HEADSTART, SHARED, emptied, keep, run, spread


def recall(folder: Path, *, of: str) -> tuple[float, int]:
    """The share of the evaluated images of old ("dogs") or new classes that are told rightly, and how many they are."""
    rows = json.loads((folder / "evaluation.json").read_text())["per_class"]
    rows = [row for row in rows if (row["class"] == "glass") == (of == "new") and row["recall"]]
    images = sum(row["images"] for row in rows)
    return round(sum(row["recall"]["value"] * row["images"] for row in rows) / images, 4), images


def measure(times: int) -> dict[str, Any]:
    """A fit, and as many updates of copies of it."""
    folder = emptied("update")
    first = run(HEADSTART, "fit", SHARED / "dogs120", "--store", folder / "store", "--out", folder / "dogs")
    (folder / "more").mkdir()
    (folder / "more" / "glass").symlink_to(SHARED / "trash6" / "glass")
    updates = []
    for number in range(times):
        shutil.copytree(folder / "store", folder / f"store{number}")  # in which the glass is new
        given = ("--update", folder / "dogs", "--out", folder / f"dogs{number}", "--store", folder / f"store{number}")
        ran = run(HEADSTART, "fit", folder / "more", *given)
        old, new = recall(folder / f"dogs{number}", of="old"), recall(folder / f"dogs{number}", of="new")
        updates.append({"seconds": ran.seconds, "peak_gb": ran.peak_gb, "old": old, "new": new})
    return {
        "first_fit_s": first.seconds,
        "old_classes_before": recall(folder / "dogs", of="old"),
        "update_s": spread([each["seconds"] for each in updates]),
        "updates": updates,
    }


def main() -> None:
    """One after the other."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--times", type=int, default=3)
    keep("update", measure(arguments.parse_args().times))


if __name__ == "__main__":
    main()
