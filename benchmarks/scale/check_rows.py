"""How time and memory of ``headstart check`` grow with the rows of a table of labels.

    python -m benchmarks.scale.check_rows [--max-rows 1000000] [--max-files 100000] [--quick]

Two tables: one that names the same 100 images again and again, so that the memory is that of reading it; and one in
which each row names a file of its own, all of them hard links to 1,000 images, so that each is inspected, and the
manifest has as many rows. Each size runs in a process of its own (``headstart check FOLDER --no-features``), whose peak
memory is recorded.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path

from benchmarks.harness import HEADSTART, Figures, empty_folder, run, save

ROWS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
REPEATED, LINKED, CLASSES, SIDE = 100, 1_000, 10, 32


def write_images(folder: Path, count: int) -> None:
    """Small JPEG files of noise, named by their number."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(folder / f"{number}.jpg")


def write_table(folder: Path, names: list[str], rows: int) -> None:
    """A table of labels with so many rows, whose images repeat."""
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label"))
        writer.writerows((names[row % len(names)], f"class {row % len(names) % CLASSES}") for row in range(rows))


def measure(rows: int, *, linked: bool) -> Figures:
    """One table, and the check of it."""
    folder, work = empty_folder("check-rows-images"), empty_folder("check-rows")
    write_images(folder, LINKED if linked else REPEATED)
    names = [f"{number}.jpg" for number in range(REPEATED)]
    if linked:
        (folder / "linked").mkdir()
        names = [f"linked/{number:07}.jpg" for number in range(rows)]
        for number, name in enumerate(names):
            os.link(folder / f"{number % LINKED}.jpg", folder / name)
    write_table(folder, names, rows)
    words = (HEADSTART, "check", folder, "--no-features", "--out", work / "check", "--cache-dir", work / "cache")
    done = run(*words)
    figures = {"rows": rows, "seconds": done.seconds, "peak_gb": done.peak_gb}
    print(json.dumps(figures), flush=True)
    return figures


def main() -> None:
    """Both tables, each size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--max-rows", type=int, default=ROWS[-1])
    parser.add_argument("--max-files", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="the smallest size: shows only that the script runs")
    given = parser.parse_args()
    if given.quick:
        given.max_rows, given.max_files = ROWS[0], ROWS[0] // 10
    figures = {
        "repeated": [measure(rows, linked=False) for rows in ROWS if rows <= given.max_rows],
        "files": [measure(rows, linked=True) for rows in (ROWS[0] // 10, *ROWS) if rows <= given.max_files],
    }
    save("scale/check_rows", figures, quick=given.quick)


if __name__ == "__main__":
    main()
