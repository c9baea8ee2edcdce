"""How many labels a classifier needs, by the rule that chooses them, over the API of ``headstart studio``.

    python -m benchmarks.accuracy.labels_needed [--seeds 5] [--rules diverse margin random] [--cache FOLDER] [--quick]

All images of trash6 are in a project. A fifth, drawn with the seed, is never labeled: the suggestions for these images
are compared with their true classes. The others are labeled twenty at a time, as a person would: the first twenty are
drawn at random (the same for all rules); then, once the head has learned them and the suggestions are renewed, those
that come first in the order of the page (``diverse``: margin with k-means++, order=suggested; ``margin``:
order=uncertainty), or random ones. ``labels for 85 %`` is the number with which the accuracy on the held-out fifth is
85 % for the first of two times in a row.

The application runs in this process, behind starlette's test client: the same routes, without a socket.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from benchmarks.harness import SHARED, Figures, empty_folder, read_json, result_path, save, spread
from benchmarks.studio_client import StudioClient, distinct
from numpy.typing import NDArray

RULES = {"diverse": "suggested", "margin": "uncertainty", "random": "added"}
TARGET = 0.85
BATCH = 20
MOST = 1000  # labels


def opened(folder: Path, cache: Path, photos: Path) -> tuple[StudioClient, list[Figures]]:
    """A project with all images, none of them labeled, and its rows."""
    from starlette.testclient import TestClient

    from headstart.config import FitSettings, StudioSettings
    from headstart.data.projects import Project
    from headstart.serve.access import Access, allowed_hosts
    from headstart.studio.app import create_app
    from headstart.studio.context import Studio

    settings = StudioSettings(browser=False)
    studio = Studio(Project.open(folder, create=True), settings, (photos,), FitSettings(cache_dir=str(cache)))
    app = create_app(studio, Access(None, allowed_hosts(settings.host, ()), "headstart-studio"))
    http = TestClient(app, base_url=f"http://{settings.host}:{settings.port}")
    client = StudioClient(http)
    http.__enter__()
    studio.learning.start()
    count = len(distinct(photos.rglob("*.jpg")))
    client.post("/api/folder", {"path": str(photos), "labels": "none"})
    client.wait_until(lambda state: state["images_with_features"] == state["images_total"] == count, pause=0.1)
    return client, client.images()


def label_in_turn(
    client: StudioClient, rows: list[Figures], rule: str, seed: int, most: int
) -> list[tuple[int, float]]:
    """The accuracy on the held-out fifth with more and more labels."""
    rng = np.random.default_rng(seed)
    order = rng.permutation([row["id"] for row in rows])
    held_out, pool = order[: len(order) // 5], order[len(order) // 5 :].tolist()
    truth = {row["id"]: Path(row["name"]).parts[-2] for row in rows}
    number = {}
    for name in sorted(set(truth.values())):
        number[name] = client.post("/api/classes", {"name": name})
    classes = {each["name"]: each["id"] for each in client.get("/api/project")["classes"]}
    labeled: set[int] = set()
    chosen, curve = pool[:BATCH], []
    while True:
        revision = 0
        for name in sorted({truth[image] for image in chosen}):
            revision = client.label([image for image in chosen if truth[image] == name], classes[name])
        labeled |= set(chosen)
        client.wait_learned(revision, len(labeled))
        curve.append((len(labeled), accuracy(client, held_out, truth, classes)))
        if len(labeled) >= most or needed(curve) is not None:
            return curve
        if rule == "random":
            chosen = pool[len(labeled) : len(labeled) + BATCH]
        else:
            first = client.images("unlabeled", RULES[rule], BATCH + len(held_out))
            left_out = set(held_out.tolist())
            chosen = [row["id"] for row in first if row["id"] not in left_out][:BATCH]


def accuracy(client: StudioClient, images: NDArray[np.int64], truth: dict[int, str], classes: dict[str, int]) -> float:
    """The share of images without a label whose suggestion is right."""
    rows = client.by_id(images.tolist())
    return float(np.mean([row["suggestion"]["class"] == classes[truth[row["id"]]] for row in rows]))


def needed(curve: list[tuple[int, float]]) -> int | None:
    """The number of labels with which the target is reached for the first of two times in a row."""
    for (count, one), (_, other) in pairwise(curve):
        if min(one, other) >= TARGET:
            return count
    return None


def main() -> None:
    """Rule by rule and seed by seed, each in a project of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES), help="keep the figures of the others")
    parser.add_argument("--cache", type=Path, help="a feature store, which may have the features already")
    parser.add_argument("--quick", action="store_true", help="one seed, up to 80 labels")
    given = parser.parse_args()
    seeds, most = (1, 80) if given.quick else (given.seeds, MOST)
    folder, photos = empty_folder(f"labels-needed-{'-'.join(given.rules)}"), SHARED / "trash6"
    cache = given.cache or folder / "cache"
    found: Figures = {}
    for rule in given.rules:
        curves = []
        for seed in range(seeds):
            start = time.monotonic()
            client, rows = opened(folder / f"{rule}-{seed}", cache, photos)
            try:
                curves.append(label_in_turn(client, rows, rule, seed, most))
            finally:
                client.http.__exit__(None, None, None)
            print(rule, seed, needed(curves[-1]), curves[-1][-1], f"{time.monotonic() - start:.0f} s", flush=True)
        counts = [needed(curve) for curve in curves]
        reached = [count for count in counts if count is not None]
        found[rule] = {
            "labels": spread([most if count is None else count for count in counts]),
            "not_reached": len(counts) - len(reached),
            "curves": curves,
        }
    path = result_path("accuracy/labels_needed", quick=given.quick)
    before = read_json(path)["rules"] if path.exists() else {}
    rules = {rule: each for rule in RULES if (each := found.get(rule) or before.get(rule))}
    figures = {"target": TARGET, "batch": BATCH, "most": most, "seeds": seeds, "rules": rules}
    save("accuracy/labels_needed", figures, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
