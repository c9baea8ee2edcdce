"""Eight layouts in which people keep labeled images, and what headstart takes each of them to be.

python examples/layouts.py            # makes them in a temporary folder
python examples/layouts.py FOLDER     # makes them there, to look at
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from PIL import Image

import headstart as hs
from headstart.errors import DataError

CATS_AND_DOGS = "image,label\n1.jpg,cat\n2.jpg,dog\n3.jpg,cat\n4.jpg,dog\n"

LAYOUTS: dict[str, dict[str, str | None]] = {
    "One folder per class": {"cat/1.jpg": None, "cat/3.jpg": None, "dog/2.jpg": None, "dog/4.jpg": None},
    "Splits above the classes": {
        "train/cat/1.jpg": None,
        "train/dog/2.jpg": None,
        "val/cat/3.jpg": None,
        "val/dog/4.jpg": None,
    },
    "Splits under other names": {
        "seg_train/seg_train/cat/1.jpg": None,
        "seg_train/seg_train/dog/2.jpg": None,
        "seg_test/seg_test/cat/3.jpg": None,
        "seg_test/seg_test/dog/4.jpg": None,
        "seg_pred/seg_pred/5.jpg": None,
    },
    "Splits below the classes": {
        "cat/train/1.jpg": None,
        "cat/test/3.jpg": None,
        "dog/train/2.jpg": None,
        "dog/test/4.jpg": None,
    },
    "A table beside the images": {
        "labels.csv": CATS_AND_DOGS,
        "images/1.jpg": None,
        "images/2.jpg": None,
        "images/3.jpg": None,
        "images/4.jpg": None,
    },
    "A Kaggle competition": {
        "train.csv": "id,breed\n1,cat\n2,dog\n3,cat\n",
        "sample_submission.csv": "id,cat,dog\n4,0.5,0.5\n",
        "train/1.jpg": None,
        "train/2.jpg": None,
        "train/3.jpg": None,
        "test/4.jpg": None,
    },
    "A table, and folders that mean something else": {
        "labels.csv": CATS_AND_DOGS,
        "camera_a/1.jpg": None,
        "camera_a/2.jpg": None,
        "camera_b/3.jpg": None,
        "camera_b/4.jpg": None,
    },
    "Batches that hold the same classes": {
        "monday/cat/1.jpg": None,
        "monday/dog/2.jpg": None,
        "tuesday/cat/3.jpg": None,
        "tuesday/dog/4.jpg": None,
    },
}
"""Title -> file -> its text; None: an image."""


def make(folder: Path, files: dict[str, str | None]) -> None:
    """Write the files of one layout."""
    for number, (name, text) in enumerate(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            Image.new("RGB", (32, 32), (number * 40 % 256, 90, 120)).save(path)
        else:
            path.write_text(text, encoding="utf-8")


def describe(folder: Path) -> list[str]:
    """What headstart takes a folder to be, or why it asks."""
    try:
        description = hs.read_images(folder).description
    except DataError as refusal:
        return [f"error: {refusal}"]
    assert description is not None
    return description.lines()


def main(folder: Path) -> None:
    """Make every layout and print what headstart takes it to be."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    for title, files in LAYOUTS.items():
        name = Path(title.lower().replace(",", "").replace(" ", "-"))
        make(name, files)
        print("\n".join([title, *(f"    {line}" for line in describe(name)), ""]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
