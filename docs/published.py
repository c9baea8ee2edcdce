"""Write src/headstart/models/published.csv: what others have measured of the networks that can be named.

Run: python docs/published.py FOLDER, which holds results-imagenet.csv and results-imagenetv2-matched-frequency.csv of
https://github.com/huggingface/pytorch-image-models/tree/main/results (Apache-2.0).
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

from timm import get_pretrained_cfg, is_model, list_pretrained

from headstart.models.keras import ARCHITECTURES, build_keras
from headstart.models.published import COLUMNS, PLACE

HEAD = """\
# Published figures of pretrained networks, of exactly the weights that the name stands for, at the network's own input.
# Shares in percent of ImageNet's 50,000 validation pictures, and of the 10,000 of ImageNetV2 (matched frequency).
# timm's: github.com/huggingface/pytorch-image-models, results/, Apache-2.0.
# keras:MobileNetV2: keras.io/api/applications; of its other widths Keras publishes none of its own.
# package:...: github.com/tensorflow/tpu, models/official/efficientnet/lite, from which the packages are converted.
# Made by docs/published.py.
"""
KERAS = {"keras:MobileNetV2": ("71.3", "90.1")}
PACKAGES = {
    "package:tf_efficientnet_lite0": ("224", "4.65", "75.1"),
    "package:tf_efficientnet_lite1": ("240", "5.42", "76.7"),
    "package:tf_efficientnet_lite2": ("260", "6.09", "77.6"),
}


def of_timm(folder: Path) -> list[list[str]]:
    """A row a network, of the results at its own input; those with another size are of a second test."""
    first, second = (
        {(row["model"], row["img_size"], row["crop_pct"]): row for row in csv.DictReader(file.open(newline=""))}
        for file in (folder / "results-imagenet.csv", folder / "results-imagenetv2-matched-frequency.csv")
    )
    rows = []
    for name in list_pretrained():
        facts = get_pretrained_cfg(name)
        key = (name, str(facts.input_size[1]), f"{facts.crop_pct:.3f}")
        if is_model(name) and facts.num_classes == 1000 and key in first:
            row, again = first[key], second.get(key, {})
            rows.append(
                [name, key[1], row["param_count"].replace(",", ""), row["top1"], row["top5"], again.get("top1", "")]
            )
    return rows


def of_keras() -> list[list[str]]:
    """Networks of Keras, with the parameters that a head for 1,000 classes makes."""
    rows = []
    for name in ARCHITECTURES:
        size = sum(each.numel() for each in build_keras(name, classes=1000).parameters())
        rows.append([name, "224", f"{size / 1e6:.2f}", *KERAS.get(name, ("", "")), ""])
    return rows


def main() -> None:
    """Write the table."""
    packages = [[name, *facts, "", ""] for name, facts in PACKAGES.items()]
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows([*of_timm(Path(sys.argv[1])), *of_keras(), *packages])
    PLACE.write_text(HEAD + text.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main()
