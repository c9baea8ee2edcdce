"""How long ``headstart studio`` makes a person wait, over its HTTP API, as the page sees it.

    python -m benchmarks.speed.studio [--times 20] [--quick]

``after a label``: seconds from the request that gives one image a label to the event with the accuracy of a head that
has learned it, all features being in the store. The images are labeled already; one loses its label, and half a second
after that was learned it is given again.

``200 new images``: seconds from the first byte of an upload of 200 images in class folders to the event with the first
accuracy, and until all of them are learned. The page is open and the network is loaded; the feature store is empty, and
nothing was ever compiled there.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

from benchmarks.datasets import labeled_images
from benchmarks.harness import Figures, empty_folder, save, spread
from benchmarks.studio_client import StudioClient, distinct, serving

SETS = {"trash6": 2000, "dogs120": 10_222}  # and how many images of each, at most
NEW = 200


def evenly(rows: list[tuple[Path, str]], count: int) -> list[tuple[Path, str]]:
    """So many images, evenly spaced."""
    return [rows[number * len(rows) // count] for number in range(min(count, len(rows)))]


def class_folders(rows: list[tuple[Path, str]], folder: Path) -> Path:
    """A folder with one subfolder per class, of links to the files that need no more space."""
    for path, label in rows:
        place = folder / label / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, place)
        except OSError:  # another file system
            place.write_bytes(path.read_bytes())
    return folder


def after_a_label(client: StudioClient, images: int, times: int) -> Figures:
    """One label after the other."""
    rows = client.images()
    by_class: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        by_class[row["class"]].append(row["id"])
    chosen = [ids[-1] for ids in by_class.values()]
    client.listen()
    seconds = []
    for number in range(times + 1):
        image = chosen[number % len(chosen)]
        given = next(each for each, ids in by_class.items() if image in ids)
        client.wait_learned(client.label([image], None), images - 1)
        time.sleep(0.5)
        start = time.monotonic()
        revision = client.label([image], given)
        seconds.append(client.wait_event(partial(_has_learned, revision, images)) - start)
        client.wait_learned(revision, images)
    state = client.get("/api/learning")
    return {
        "images": images,
        "classes": len(by_class),
        "seconds": spread(seconds[1:]),
        "accuracy": state["accuracy"],
    }


def _has_learned(revision: int, images: int, kind: str, data: Figures) -> bool:
    """Whether an event tells that so many labels are learned, up to a revision."""
    return kind == "learning" and data["revision"] >= revision and bool(data["learned"] == images)


def new_images(client: StudioClient, rows: list[tuple[Path, str]]) -> Figures:
    """An upload into an empty project."""
    client.wait_until(lambda state: state["phase"] == "idle")
    client.listen()
    start = time.monotonic()
    client.upload([(f"{label}/{path.name}", path) for path, label in rows], labels="subfolders")
    uploaded = time.monotonic() - start
    first = client.wait_event(lambda kind, data: kind == "learning" and data["accuracy"] is not None) - start
    client.wait_until(lambda state: state["learned"] == len(rows))
    return {
        "images": len(rows),
        "uploaded": uploaded,
        "first_accuracy": first,
        "all_learned": time.monotonic() - start,
    }


def main() -> None:
    """Both questions, on two sets of images."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=20, help="labels that are timed")
    parser.add_argument("--new-times", type=int, default=3, help="uploads that are timed")
    parser.add_argument("--quick", action="store_true", help="300 images of trash6, three labels, one upload")
    given = parser.parse_args()
    sets = {"trash6": 300} if given.quick else SETS
    if given.quick:
        given.times, given.new_times = 3, 1
    folder, figures = empty_folder("studio-speed"), Figures()
    cache = folder / "cache"
    for data, most in sets.items():
        labels = dict(labeled_images(data))
        rows = evenly([(path, labels[path]) for path in distinct(labels)], most)
        photos, count = class_folders(rows, folder / data), len(rows)
        for name in ("features", "timed"):  # first the features are computed; then a start that finds them is timed
            began = time.monotonic()
            with serving(folder / f"{data}-{name}", "--cache-dir", str(cache), str(photos)) as client:
                client.wait_until(lambda state, count=count: state["learned"] == count, seconds=3600, pause=0.1)
                opened = time.monotonic() - began  # the images are found, read and labeled in these seconds, too
                if name == "timed":
                    figures[data] = {**after_a_label(client, count, given.times), "seconds_to_open": opened}
                    print(data, figures[data], flush=True)
    uploads, labels = [], dict(labeled_images("trash6"))
    new = evenly([(path, labels[path]) for path in distinct(labels)], NEW)
    for number in range(given.new_times):
        fresh = ("--cache-dir", str(folder / f"cache-{number}"))
        with serving(folder / f"new-{number}", *fresh) as client:
            uploads.append(new_images(client, new))
            print("new images", uploads[-1], flush=True)
    figures["new"] = {
        "images": NEW,
        **{key: spread([each[key] for each in uploads]) for key in ("uploaded", "first_accuracy", "all_learned")},
    }
    save("speed/studio", figures, quick=given.quick)


if __name__ == "__main__":
    main()
