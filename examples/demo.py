"""What headstart does, in a minute, with nothing but what its packages carry. Run: make demo

1. A pretrained network tells what is in photographs that come with scikit-image.
2. Its last layer is made anew for the handwritten digits that come with scikit-learn: a folder of pictures a class,
   as a person would have them. Expect about 94 % on digits that it has not seen: the network, made for photographs, is
   frozen.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import skimage
from PIL import Image
from sklearn.datasets import load_digits

import headstart as hs
from headstart.console import Console
from headstart.report import top_k_plot, write_report
from headstart.workflow.fitting import fit
from headstart.workflow.runs import save_run

PHOTOGRAPHS = ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png")


def classify_photographs(out: Path) -> None:
    """Step 1: no training."""
    classifier = hs.Classifier.pretrained("tf_efficientnet_lite0")
    for name in PHOTOGRAPHS:
        path = Path(skimage.__file__).parent / "data" / name
        likeliest = classifier.top_k(path, 5)
        top_k_plot(Image.open(path), *zip(*likeliest, strict=True), path=out / f"{path.stem}.png")
        print(f"{name:12}", ", ".join(f"{label.split(',')[0]} {share:.0%}" for label, share in likeliest[:3]))


def write_digits(folder: Path, most: int | None) -> Path:
    """Pictures as a person would have them: a folder a class."""
    digits = load_digits()
    for row, (image, target) in enumerate(zip(digits.images[:most], digits.target[:most], strict=True)):
        path = folder / str(target) / f"{row:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 - image * 255 / 16).astype(np.uint8)).save(path)
    return folder


def main() -> None:
    """Both steps."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--out", type=Path, default=Path("runs/demo"))
    arguments.add_argument("--digits", type=int, help="how many of the 1,797 digits; all by default")
    given = arguments.parse_args()
    start = time.monotonic()

    print("1. What is in these photographs? (no training)")
    classify_photographs(given.out / "photographs")

    print("\n2. Which digit is it? (a new head on the same network)")
    data = hs.read_images(write_digits(given.out / "digits", given.digits))
    fitted = fit(data, hs.FitSettings(test=0.2), progress=Console())
    report = write_report(save_run(fitted, given.out))
    top1 = fitted.evaluation["top1"]
    print(f"{top1['value']:.1%} of {fitted.evaluation['images']} digits that it has not seen are told right", end=" ")
    print(f"(95 % interval {top1['low']:.1%} to {top1['high']:.1%})")
    print(f"\n{time.monotonic() - start:.0f} s in all\nreport: {report.resolve()}")


if __name__ == "__main__":
    main()
