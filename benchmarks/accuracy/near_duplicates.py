"""Which copies of images ``headstart check`` and ``headstart fit`` find, where it is known which there are.

    python -m benchmarks.accuracy.near_duplicates [--seeds 5] [--peers headstart imagededup-phash fastdup] [--quick]

Each seed adds 220 files to dogs120: 100 exact copies, 20 near-duplicates of each of five kinds (strengths and places
are drawn at random, and are not those of the copies by which headstart finds its thresholds), and 20 frames of one
burst: crops of one image, shifted by up to 3 %, with noise. Every second copy is in a given test split; all other
images are in train.

Recall is the share of the copies that are paired with an image that shows the same. Precision is the share of the pairs
with a copy of that kind that show the same. The set has near-duplicates of its own: the pairs of them that headstart or
imagededup finds, and those that headstart finds from an agreement of 0.85 on, were looked at;
near_duplicates_judged.csv says which show the same photograph or moment ("same"). A pair that is not listed there
counts as an error, and is saved in the result as ``not_judged``. Recall of these is the share of the images that are in
a pair that is known by either.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from benchmarks.datasets import labeled_images
from benchmarks.harness import HERE, Figures, earlier, empty_folder, peer_python, run, save, spread
from PIL import Image, ImageEnhance, ImageOps

PEERS = ("headstart", "imagededup-phash", "fastdup")
KINDS = ("re-encoded", "resized", "cropped", "mirrored", "recolored")
EXACT, PER_KIND, FRAMES = 100, 20, 20
JUDGED = Path(__file__).with_name("near_duplicates_judged.csv")

Pair = tuple[str, str]


def alter(image: Image.Image, kind: str, rng: random.Random) -> tuple[Image.Image, int]:
    """An altered copy, and the quality of the JPEG that it is saved as."""
    width, height = image.size
    if kind == "re-encoded":
        return image, rng.randint(30, 75)
    if kind == "resized":
        scale = rng.uniform(0.4, 0.8)
        return image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC), 90
    if kind == "cropped":
        scale = rng.uniform(0.85, 0.95)
        size = round(width * scale), round(height * scale)
        left, top = rng.randint(0, width - size[0]), rng.randint(0, height - size[1])
        return image.crop((left, top, left + size[0], top + size[1])), 90
    if kind == "mirrored":
        return ImageOps.mirror(image), 90
    brightness = rng.choice([rng.uniform(0.65, 0.85), rng.uniform(1.15, 1.35)])
    image = ImageEnhance.Brightness(image).enhance(brightness)
    return ImageEnhance.Color(image).enhance(rng.uniform(0.5, 1.5)), 90


def frame(image: Image.Image, rng: random.Random) -> Image.Image:
    """A frame of a burst: 94 % of each side at a place that differs by up to 3 %, with noise."""
    width, height = image.size
    left, top = (side * (0.03 + rng.uniform(-0.03, 0.03)) for side in (width, height))
    shifted = image.resize(
        (width, height), Image.Resampling.BICUBIC, (left, top, left + width * 0.94, top + height * 0.94)
    )
    noise = np.random.default_rng(rng.randrange(1 << 32)).normal(0, 5, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(shifted, np.float32) + noise, 0, 255).astype(np.uint8))


def make_copies(folder: Path, images: list[tuple[Path, str]], seed: int) -> list[tuple[Path, Path, str, str]]:
    """Write the copies; return the file, its original, label and kind of each."""
    rng = random.Random(seed)
    drawn = iter(rng.sample(images, EXACT + PER_KIND * len(KINDS) + 1))
    made = []
    for _ in range(EXACT):
        path, label = next(drawn)
        made.append((folder / f"exact-{path.name}", path, label, "exact"))
        made[-1][0].write_bytes(path.read_bytes())
    for kind in KINDS:
        for _ in range(PER_KIND):
            path, label = next(drawn)
            made.append((folder / f"{kind}-{path.name}", path, label, kind))
            altered, quality = alter(Image.open(path).convert("RGB"), kind, rng)
            altered.save(made[-1][0], quality=quality)
    path, label = next(drawn)
    for number in range(FRAMES):
        made.append((folder / f"burst_{number:04d}.jpg", path, label, "burst"))
        frame(Image.open(path).convert("RGB"), rng).save(made[-1][0], quality=90)
    return made


def headstart_pairs(
    images: list[tuple[Path, str]], copies: list[tuple[Path, Path, str, str]], store: Path
) -> tuple[list[Pair], Figures]:
    """The pairs that ``headstart check`` compares and finds, and what it tells of the given splits."""
    from headstart.config import FitSettings
    from headstart.data.duplicates import same_content
    from headstart.data.issues import CheckedImages, find_issues
    from headstart.data.manifest import Manifest
    from headstart.events import Events
    from headstart.workflow.image_features import open_network
    from headstart.workflow.near_duplicates import near_duplicates
    from headstart.workflow.reading import inspect_without_limit

    settings, events = FitSettings(cache_dir=str(store)), Events()
    rows = [*images, *((path, label) for path, _, label, _ in copies)]
    splits = ["train"] * len(images) + ["test" if number % 2 else "train" for number in range(len(copies))]
    manifest = inspect_without_limit(
        Manifest.from_rows([path for path, _ in rows], labels=[label for _, label in rows], splits=splits),
        settings,
        events=events,
    )
    network = open_network(manifest, settings, events=events)
    network.features(manifest, events=events)
    start, busy = time.monotonic(), time.process_time()
    near = near_duplicates(network.extractor, manifest, events=events)
    seconds, busy = time.monotonic() - start, time.process_time() - busy
    assert near is not None
    issues = find_issues(CheckedImages(manifest, near_duplicates=near))
    uris = manifest.uris
    pairs = [(uris[one], uris[other]) for one, other in (pair.rows for pair in near.pairs)]
    pairs += [(uris[rows[0]], uris[row]) for rows in same_content(manifest) for row in rows[1:]]
    in_test = {str(path) for (path, *_), split in zip(copies, splits[len(images) :], strict=True) if split == "test"}
    kinds = [issue.kind for issue in issues]
    return pairs, {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(busy, 2),
        "cosine": near.thresholds.cosine,
        "agreement": near.thresholds.agreement,
        "compared": near.candidates,
        "largest_group": max(map(len, near.groups()), default=0),
        "leaks_told": len(in_test & {issue.uri for issue in issues if issue.kind == "leak"}) / len(in_test),
        "issues": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
    }


def imagededup_pairs(
    images: list[tuple[Path, str]], copies: list[tuple[Path, Path, str, str]], folder: Path
) -> tuple[list[Pair], Figures]:
    """The pairs of imagededup by perceptual hashes, with its default threshold."""
    links = folder / "all"
    links.mkdir()
    uri_of = {path.name: str(path) for path in [*(path for path, _ in images), *(path for path, *_ in copies)]}
    for name, uri in uri_of.items():
        (links / name).symlink_to(uri)
    python = peer_python("imagededup", "--no-deps", "imagededup", "PyWavelets", shared=True)
    start, busy = time.monotonic(), _cpu_seconds_of_children()
    run(python, HERE / "peers" / "imagededup_pairs.py", links, folder / "pairs.json")
    seconds, busy = time.monotonic() - start, _cpu_seconds_of_children() - busy
    found = json.loads((folder / "pairs.json").read_text())
    return [(uri_of[one], uri_of[other]) for one, other in found], {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(busy, 2),
    }


def fastdup_pairs(
    images: list[tuple[Path, str]], copies: list[tuple[Path, Path, str, str]], folder: Path
) -> tuple[list[Pair], Figures]:
    """The pairs of fastdup by its own network, with its default threshold."""
    uris = [str(path) for path in (*(path for path, _ in images), *(path for path, *_ in copies))]
    (folder / "paths.json").write_text(json.dumps(uris))
    python = peer_python("fastdup", "fastdup==2.54", shared=False)
    start, busy = time.monotonic(), _cpu_seconds_of_children()
    run(
        python, HERE / "peers" / "fastdup_images.py", folder / "paths.json", folder / "fastdup", folder / "fastdup.json"
    )
    seconds, busy = time.monotonic() - start, _cpu_seconds_of_children() - busy
    found = json.loads((folder / "fastdup.json").read_text())["pairs"]
    return [(one, other) for one, other in found], {"seconds": round(seconds, 2), "cpu_seconds": round(busy, 2)}


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def shown_alike(copies: list[tuple[Path, Path, str, str]]) -> dict[str, str]:
    """For each image of which another one shows the same, what stands for all of these."""
    parent: dict[str, str] = {}

    def top(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for path, original, *_ in copies:
        parent[top(str(path))] = top(str(original))
    names = {path.stem: str(path) for path, _ in labeled_images("dogs120")}
    with JUDGED.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["verdict"] == "same":
                parent[top(names[row["first"]])] = top(names[row["second"]])
    return {name: top(name) for name in list(parent)}


def judge(pairs: Iterable[Pair], copies: list[tuple[Path, Path, str, str]]) -> Figures:
    """Recall and precision by kind; ``own`` are the pairs of the set's own images."""
    alike = shown_alike(copies)
    kind_of = {str(path): kind for path, _, _, kind in copies}
    with JUDGED.open(newline="") as file:
        judged = {frozenset((row["first"], row["second"])) for row in csv.DictReader(file)}
    right: dict[str, int] = {}
    total: dict[str, int] = {}
    reached: set[str] = set()
    own: set[str] = set()
    unknown = []
    for one, other in pairs:
        same = one in alike and alike[one] == alike.get(other)
        if same:
            reached |= {one, other}
        kinds = {kind_of[name] for name in (one, other) if name in kind_of} or {"own"}
        for kind in kinds:
            total[kind], right[kind] = total.get(kind, 0) + 1, right.get(kind, 0) + same
        stems = frozenset((Path(one).stem, Path(other).stem))
        if kinds == {"own"}:
            own |= stems if same else frozenset()
            unknown += [] if stems in judged else [sorted(stems)]
    found: Figures = {"not_judged": unknown}
    for kind in ("exact", *KINDS, "burst"):
        names = [name for name, each in kind_of.items() if each == kind]
        recall = sum(name in reached for name in names) / len(names)
        found[kind] = {"recall": recall, "precision": right.get(kind, 0) / max(total.get(kind, 0), 1)}
    with JUDGED.open(newline="") as file:
        known = {row[side] for row in csv.DictReader(file) if row["verdict"] == "same" for side in ("first", "second")}
    found["own"] = {
        "pairs": total.get("own", 0),
        "precision": right.get("own", 0) / max(total.get("own", 0), 1),
        "recall": len(known & own) / len(known),
    }
    return found


def main() -> None:
    """Seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--peers", nargs="+", choices=PEERS, default=list(PEERS), help="keep the saved figures of others"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one seed, 1,000 images: shows only that the script runs")
    given = parser.parse_args()
    images = labeled_images("dogs120")
    if given.quick:
        given.seeds, given.peers, images = 1, ["headstart"], images[:1000]
    figures = earlier("accuracy/near_duplicates", [peer for peer in PEERS if peer not in given.peers])
    work = empty_folder("near_duplicates")
    runs: dict[str, list[Figures]] = {peer: [] for peer in given.peers}
    for seed in range(given.seeds):
        folder = work / str(seed)
        (folder / "copies").mkdir(parents=True)
        copies = make_copies(folder / "copies", images, seed)
        for peer in given.peers:
            if peer == "headstart":
                pairs, facts = headstart_pairs(images, copies, work / "store")
            else:
                find = imagededup_pairs if peer == "imagededup-phash" else fastdup_pairs
                pairs, facts = find(images, copies, folder)
            runs[peer].append({"seed": seed, **facts, **judge(pairs, copies)})
            print(peer, runs[peer][-1], flush=True)
    for peer, found in runs.items():
        figures[peer] = {
            "seeds": given.seeds,
            **{name: spread([each[name] for each in found]) for name in ("seconds", "cpu_seconds")},
            **{
                kind: {name: sum(each[kind][name] for each in found) / len(found) for name in ("recall", "precision")}
                for kind in ("exact", *KINDS, "burst")
            },
            "own": found[0]["own"],
            "largest_group": max((each.get("largest_group", 0) for each in found), default=0),
            "runs": found,
        }
    save("accuracy/near_duplicates", figures, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
