"""A labelling project of 100,000 images: opening it, pages of its lists, labels and undo.

    python -m benchmarks.scale.studio_lists [--images 100000] [--quick]

The images are rows without files, of seven classes; a third is labeled, one in a thousand has a problem. Each list is
asked for at its beginning, in the middle and at its end, in both orders, seven times; the slowest list counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.harness import Figures, save

IMAGES, TIMES = 100_000, 7


def milliseconds(work: Callable[[], object]) -> float:
    """The median of some times."""
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(taken), 1)


def measure(images: int) -> Figures:
    """Make the project, and ask."""
    from headstart.data.projects import ImageQuery, NewImage, Project

    def new(number: int) -> NewImage:
        name = f"{number % 100:02}/{number:06}.jpg"
        problem = "damaged" if number % 1000 == 0 else None
        label = f"class {number % 7}" if number % 3 == 0 else None
        return NewImage(f"/photos/{name}", name, f"{number:032x}", 640, 480, 50_000, problem, label)

    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        with Project.open(folder, create=True) as project:
            project.add_images(new(number) for number in range(images))
            size = (Path(folder) / "project.sqlite").stat().st_size
        began = time.perf_counter()
        with Project.open(folder) as project:
            project.images()
            project.counts()
            project.classes()
            opened = 1000 * (time.perf_counter() - began)
            lists = {
                f"{show} by {order} from {offset}": milliseconds(
                    partial(project.images, ImageQuery(show, None, order, offset))
                )
                for show in ("all", "unlabeled", "labeled", "problems")
                for order in ("added", "name")
                for offset in (0, images // 2, images - 200)
            }
            slowest = max(lists, key=lambda name: lists[name])
            free = iter([each for each in range(1, images) if each % 3 == 0 and each % 1000])
            one = milliseconds(lambda: project.set_labels({next(free): 1}))
            many = milliseconds(lambda: project.set_labels({next(free): 2 for _ in range(200)}))
            everything = dict.fromkeys(project.image_ids(ImageQuery(limit=None)), 1)
            began = time.perf_counter()
            project.set_labels(everything)
            label_all = time.perf_counter() - began
            began = time.perf_counter()
            project.undo()
            undo_all = time.perf_counter() - began
    return {
        "images": images,
        "file_mb": round(size / 1e6, 1),
        "open_and_first_page_ms": round(opened, 1),
        "slowest_list": slowest,
        "slowest_page_ms": lists[slowest],
        "median_page_ms": round(statistics.median(lists.values()), 1),
        "label_one_ms": one,
        "label_200_ms": many,
        "label_all_s": round(label_all, 2),
        "undo_all_s": round(undo_all, 2),
        "load_average": [round(each, 1) for each in os.getloadavg()],
    }


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--quick", action="store_true", help="2,000 images, for a look")
    options = parser.parse_args()
    save("scale/studio_lists", measure(2000 if options.quick else options.images), quick=options.quick)


if __name__ == "__main__":
    main()
