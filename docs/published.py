"""Write src/headstart/models/published.csv, the published accuracy of the networks that can be selected by name.

Usage: python docs/published.py FOLDER, where FOLDER contains results-imagenet.csv and
results-imagenetv2-matched-frequency.csv of
https://github.com/huggingface/pytorch-image-models/tree/main/results (Apache-2.0).
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

from timm import get_pretrained_cfg, is_model, list_pretrained

from headstart.models.importers.keras import ARCHITECTURES, build_keras
from headstart.models.published import COLUMNS, TABLE_PATH

HEADER = """\
# Published accuracy of pretrained networks, for exactly the weights that the name loads, at their default input size.
# In percent of the 50,000 ImageNet validation images, and of the 10,000 images of ImageNetV2 (matched frequency).
# timm: github.com/huggingface/pytorch-image-models, results/, Apache-2.0.
# keras:MobileNetV2: keras.io/api/applications; for the other widths Keras publishes no results.
# package:...: github.com/tensorflow/tpu, models/official/efficientnet/lite, the source of the packages' weights.
# Written by docs/published.py.
"""
KERAS = {"keras:MobileNetV2": ("71.3", "90.1")}  # top-1, top-5
PACKAGES = {  # input size, millions of parameters, top-1
    "package:tf_efficientnet_lite0": ("224", "4.65", "75.1"),
    "package:tf_efficientnet_lite1": ("240", "5.42", "76.7"),
    "package:tf_efficientnet_lite2": ("260", "6.09", "77.6"),
}


def timm_rows(folder: Path) -> list[list[str]]:
    """Return a row per network, at its default input size; timm has results at other sizes too."""
    imagenet, imagenet_v2 = (
        {(row["model"], row["img_size"], row["crop_pct"]): row for row in csv.DictReader(file.open(newline=""))}
        for file in (folder / "results-imagenet.csv", folder / "results-imagenetv2-matched-frequency.csv")
    )
    rows = []
    for name in list_pretrained():
        config = get_pretrained_cfg(name)
        key = (name, str(config.input_size[1]), f"{config.crop_pct:.3f}")
        if is_model(name) and config.num_classes == 1000 and key in imagenet:
            row, row_v2 = imagenet[key], imagenet_v2.get(key, {})
            parameters = row["param_count"].replace(",", "")
            rows.append([name, key[1], parameters, row["top1"], row["top5"], row_v2.get("top1", "")])
    return rows


def keras_rows() -> list[list[str]]:
    """Return a row per Keras network; the parameters include a head for 1,000 classes."""
    rows = []
    for name in ARCHITECTURES:
        size = sum(each.numel() for each in build_keras(name, classes=1000).parameters())
        rows.append([name, "224", f"{size / 1e6:.2f}", *KERAS.get(name, ("", "")), ""])
    return rows


def main() -> None:
    """Write the table."""
    package_rows = [[name, *values, "", ""] for name, values in PACKAGES.items()]
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows([*timm_rows(Path(sys.argv[1])), *keras_rows(), *package_rows])
    TABLE_PATH.write_text(HEADER + text.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main()
