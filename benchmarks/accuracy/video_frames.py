"""Accuracy on frames of videos: with a plain random split, with groups, and on other images.

    python -m benchmarks.accuracy.video_frames [--draws 5] [--quick]

Three videos of each class of trash6, each of 20 frames: a camera that pans and zooms over one photograph, with a little
noise and change of light. A third of the frames validates, chosen at random (``--near-duplicates ignore``), by
headstart's own grouping of near-duplicates, or by ``--group-pattern`` with the name of the video. What the classifier
achieves on photographs that are in no video is the figure that the others should foretell. Each draw takes other
photographs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.datasets import labeled_images
from benchmarks.harness import Figures, empty_folder, save, spread

VIDEOS, FRAMES, OTHERS, SIDE = 3, 20, 50, 224
WAYS = {
    "random": ({"near_duplicates": "ignore"}, None),
    "near_duplicates": ({}, None),
    "groups": ({}, "([^/]+/video[0-9]+)_"),
}


def film(photograph: Path, folder: Path, name: str, seed: list[int]) -> None:
    """Write the frames of a camera that moves over a photograph."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    with Image.open(photograph) as opened:
        image = opened.convert("RGB")
    ends = rng.uniform(0.6, 0.9, 2), rng.uniform(0, 1, 2), rng.uniform(0, 1, 2)  # zoom, from left, from above
    for number in range(FRAMES):
        zoom, left, top = (first + (last - first) * number / (FRAMES - 1) for first, last in ends)
        width, height = image.width * zoom, image.height * zoom
        x, y = left * (image.width - width), top * (image.height - height)
        frame = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (x, y, x + width, y + height))
        pixels = np.asarray(frame) * rng.uniform(0.95, 1.05) + rng.normal(0, 2, (SIDE, SIDE, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{name}_{number:03}.jpg", quality=90)


def measure(draw: int, *, quick: bool) -> Figures:
    """The accuracies of one draw of photographs."""
    import numpy as np

    from headstart.config import FitSettings
    from headstart.data.manifest import Manifest
    from headstart.data.sources.read import read_images
    from headstart.workflow.fit import fit

    rng, folder = np.random.default_rng(draw), empty_folder("video-frames")
    by_class: dict[str, list[Path]] = {}
    for path, label in labeled_images("trash6"):
        by_class.setdefault(label, []).append(path)
    others: list[tuple[Path, str]] = []
    for label, paths in sorted(by_class.items())[: 2 if quick else None]:
        (folder / label).mkdir()
        drawn = [paths[row] for row in rng.permutation(len(paths))]
        for video, path in enumerate(drawn[:VIDEOS]):
            film(path, folder / label, f"video{video}", [draw, video, *label.encode()])
        others += [(path, label) for path in drawn[VIDEOS : VIDEOS + OTHERS]]
    found: Figures = {}
    for way, (settings, pattern) in WAYS.items():
        chosen = FitSettings(
            train="head", validation_share=1 / 3, test_share=0.0, stages="none", kernel="none", seed=draw, **settings
        )
        frames = read_images(folder, group_pattern=pattern)
        result = fit(frames, chosen)
        images = Manifest.from_rows([path for path, _ in others])
        names = np.array(result.classifier.classes)[result.classifier.predict_proba(images).argmax(1)]
        found[way] = {
            "told": result.evaluation.top1.value,
            "others": float(np.mean([name == label for name, (_, label) in zip(names, others, strict=True)])),
        }
    print(draw, found, flush=True)
    return found


def main() -> None:
    """Each draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one draw of two classes: shows only that the script runs")
    given = parser.parse_args()
    draws = [measure(draw, quick=given.quick) for draw in range(1 if given.quick else given.draws)]
    figures = {way: {key: spread([draw[way][key] for draw in draws]) for key in ("told", "others")} for way in WAYS}
    save("accuracy/video_frames", {"videos_per_class": VIDEOS, "frames": FRAMES, **figures}, quick=given.quick)


if __name__ == "__main__":
    main()
