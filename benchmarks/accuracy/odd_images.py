"""Which odd images and spellings of labels ``headstart check`` finds where it is known which are, beside two peers.

    python -m benchmarks.accuracy.odd_images [--peers headstart cleanvision fastdup] [--quick]

Of dogs120, a copy gets 60 files that cannot be used or are odd, four of each of 15 kinds, and 5 classes some of whose
images have a class name spelled in another way. Seven of ten images of 4 classes get a watermark, a half-transparent
text at one place (its height, opacity and corner are drawn for each class). ``precision`` is the share of made files
among those that are listed as a kind, where files of that kind that the set has by itself count as errors; ``recall``
is the share of made files that are listed as their kind. CleanVision and fastdup list files as they do by default;
kinds that they do not know have no figures. CleanVision stops at files that cannot be read, so it is not given those.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.datasets import labeled_images
from benchmarks.harness import HERE, Figures, earlier, empty_folder, peer_python, run, save
from PIL import Image, ImageDraw, ImageFilter, ImageFont

PEERS = ("headstart", "cleanvision", "fastdup")
PER_KIND = 4
WATERMARKED = 4  # classes
SPELLINGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("upper case", str.upper),
    ("spaces", lambda name: name.replace("_", " ")),
    ("plural", lambda name: f"{name}s"),
    ("swapped letters", lambda name: f"{name[:-4]}{name[-3]}{name[-4]}{name[-2:]}"),
    ("letter left out", lambda name: name[:-3] + name[-2:]),
)
# What CleanVision calls the kinds.
CLEANVISION = {
    "uniform": ("is_low_information_issue",),
    "dark": ("is_dark_issue",),
    "bright": ("is_light_issue",),
    "blurred": ("is_blurry_issue",),
    "extreme-shape": ("is_odd_aspect_ratio_issue",),
    "tiny": ("is_odd_size_issue",),
}
FASTDUP = ("unreadable", "dark", "bright", "blurred")
KNOWN = {"cleanvision": CLEANVISION, "fastdup": FASTDUP}  # the kinds that a peer finds


def _jpeg(image: Image.Image, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=92, **options)
    return data.getvalue()


def _other_format(image: Image.Image, name: str) -> bytes:
    data = io.BytesIO()
    image.save(data, name)
    return data.getvalue()


def _turned(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _jpeg(image, exif=exif)


Make = Callable[[Image.Image, int], bytes]
MADE: dict[str, tuple[str, Make]] = {
    "empty file": ("unreadable", lambda _, __: b""),
    "text": ("unreadable", lambda _, n: f"<html>error {n}</html>".encode()),
    "cut": ("unreadable", lambda image, n: _jpeg(image)[: len(_jpeg(image)) * (n + 2) // 8]),
    "header alone": ("unreadable", lambda image, _: _jpeg(image)[:200]),
    "one color": ("uniform", lambda image, n: _jpeg(Image.new("RGB", image.size, (60 * n, 90, 200 - 50 * n)))),
    "tiny": ("tiny", lambda image, n: _jpeg(image.resize((16 + 4 * n, 18 + 4 * n)))),
    "strip": (
        "extreme-shape",
        lambda image, n: _jpeg(image.crop((0, 60 + n, image.width, 60 + n + image.height // 5))),
    ),
    "column": ("extreme-shape", lambda image, n: _jpeg(image.resize((image.width // 4, image.height + 50 * n)))),
    "underexposed": ("dark", lambda image, n: _jpeg(image.point(lambda value: value * (0.06 + 0.03 * n)))),
    "overexposed": (
        "bright",
        lambda image, n: _jpeg(image.point(lambda value: 255 - (255 - value) * (0.06 + 0.05 * n))),
    ),
    "out of focus": ("blurred", lambda image, n: _jpeg(image.filter(ImageFilter.GaussianBlur(4 + 2 * n)))),
    "enlarged": (
        "blurred",
        lambda image, n: _jpeg(image.resize((14 + 4 * n,) * 2).resize(image.size, Image.Resampling.BICUBIC)),
    ),
    "PNG named .jpg": ("extension", lambda image, _: _other_format(image, "PNG")),
    "WebP named .jpg": ("extension", lambda image, _: _other_format(image, "WEBP")),
    "turned by EXIF": ("orientation", lambda image, n: _turned(image, (3, 6, 8, 5)[n])),
}
"""Each way in which files are made odd, and the kind of issue that it is."""


def make(folder: Path, rows: list[tuple[Path, str]]) -> tuple[list[tuple[Path, str]], dict[str, list[tuple[str, str]]]]:
    """Write the files; return all images with their labels, and (way, path) of the made ones by kind."""
    rng = random.Random(0)
    chosen = rng.sample(range(len(rows)), PER_KIND * len(MADE))
    images, made = [], {}
    for number, (path, label) in enumerate(rows):
        copy = folder / f"{number:05}.jpg"
        copy.symlink_to(path.resolve())
        images.append((copy, label))
    for way_number, (way, (kind, change)) in enumerate(MADE.items()):
        for number in range(PER_KIND):
            copy, label = images[chosen[way_number * PER_KIND + number]]
            with Image.open(copy) as image:
                data = change(image.convert("RGB"), number)
            copy.unlink()
            copy.write_bytes(data)
            made.setdefault(kind, []).append((way, str(copy)))
    _mark(images, {path for files in made.values() for _, path in files}, rng)
    names = sorted({label for _, label in rows if label.count("_") == 1})
    for name, (_, spell) in zip(rng.sample(names, len(SPELLINGS)), SPELLINGS, strict=True):
        places = [place for place, (_, label) in enumerate(images) if label == name][:3]
        for place in places:
            images[place] = (images[place][0], spell(name))
    return images, made


def _mark(images: list[tuple[Path, str]], others: set[str], rng: random.Random) -> None:
    """Write watermarks into seven of ten images of some classes."""
    for name in rng.sample(sorted({label for _, label in images}), WATERMARKED):
        height, opacity = rng.uniform(0.06, 0.12), rng.randint(100, 180)
        left, top = rng.choice((0.03, 0.6)), rng.choice((0.03, 0.85))
        for copy, label in images:
            if label != name or str(copy) in others or rng.random() > 0.7:
                continue
            with Image.open(copy) as file:
                image = file.convert("RGBA")
            layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
            font = ImageFont.load_default(max(8, round(height * image.height)))
            place = round(left * image.width), round(top * image.height)
            ImageDraw.Draw(layer).text(place, f"© {name[:6]}", (255, 255, 255, opacity), font)
            copy.unlink()
            Image.alpha_composite(image, layer).convert("RGB").save(copy, "JPEG", quality=92)


def headstart(images: list[tuple[Path, str]], folder: Path) -> tuple[dict[str, set[str]], dict[str, int]]:
    """The files by kind, and how many pairs of class names and classes with a watermark are told."""
    from headstart.config import FitSettings
    from headstart.data.manifest import Manifest
    from headstart.workflow.check import check

    manifest = Manifest.from_rows([path for path, _ in images], labels=[label for _, label in images])
    result = check(manifest, FitSettings.of(cache_dir=str(folder / "store")), features=False)
    found: dict[str, set[str]] = {}
    for issue in result.issues:
        if issue.uri is not None:
            found.setdefault(issue.kind, set()).add(issue.uri)
    kinds = [issue.kind for issue in result.issues]
    return found, {"class names": kinds.count("class-name"), "watermarks": kinds.count("watermark")}


def cleanvision(paths: list[Path], folder: Path) -> dict[str, set[str]]:
    """The files by kind."""
    (folder / "paths.json").write_text(json.dumps([str(path) for path in paths]))
    python = peer_python("cleanvision", "cleanvision==0.3.7", shared=False)
    run(python, HERE / "peers" / "cleanvision_images.py", folder / "paths.json", folder / "issues.json")
    listed = json.loads((folder / "issues.json").read_text())
    return {kind: {path for name in names for path in listed.get(name, [])} for kind, names in CLEANVISION.items()}


def fastdup(paths: list[Path], folder: Path) -> dict[str, set[str]]:
    """The files by kind."""
    (folder / "paths.json").write_text(json.dumps([str(path) for path in paths]))
    python = peer_python("fastdup", "fastdup==2.54", shared=False)
    run(
        python, HERE / "peers" / "fastdup_images.py", folder / "paths.json", folder / "fastdup", folder / "fastdup.json"
    )
    listed = json.loads((folder / "fastdup.json").read_text())
    return {kind: set(listed[kind]) for kind in FASTDUP}


def main() -> None:
    """One set for all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--peers", nargs="+", choices=PEERS, default=list(PEERS), help="keep the saved figures of others"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the images, headstart alone")
    given = parser.parse_args()
    if given.quick:
        given.peers = ["headstart"]
    folder, photos = empty_folder("odd-images"), empty_folder("odd-images/photos")
    rows = labeled_images("dogs120")
    images, made = make(photos, rows[::10] if given.quick else rows)
    figures = earlier("accuracy/odd_images", [peer for peer in PEERS if peer not in given.peers])
    for peer in given.peers:
        start = time.monotonic()
        line: Figures = {}
        if peer == "headstart":
            found, line["told"] = headstart(images, folder)
        elif peer == "fastdup":
            found = fastdup([path for path, _ in images], folder)
        else:
            unreadable = {path for _, path in made["unreadable"]}
            found = cleanvision([path for path, _ in images if str(path) not in unreadable], folder)
        line["seconds"] = time.monotonic() - start
        for kind, files in made.items():
            if kind in KNOWN.get(peer, made):
                listed, wanted = found.get(kind, set()), {path for _, path in files}
                hits = len(listed & wanted)
                line[kind] = {
                    "made": len(wanted),
                    "listed": len(listed),
                    "recall": hits / len(wanted),
                    "precision": hits / len(listed) if listed else None,
                    "missed": sorted(way for way, path in files if path not in listed),
                }
        figures[peer] = line
        print(peer, json.dumps(line, indent=1), flush=True)
    save("accuracy/odd_images", figures, quick=given.quick)


if __name__ == "__main__":
    main()
