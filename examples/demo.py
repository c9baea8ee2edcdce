"""What headstart does, in a minute, on images that installed packages ship. Run: make demo

1. A pretrained network classifies photographs that scikit-image ships.
2. A new head for the same network is trained on the handwritten digits that scikit-learn ships, in one subfolder per
   class. Expect about 94 % accuracy on held-out digits: the network was made for photographs, and it stays frozen.
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
from headstart.cli.console import console
from headstart.report import top_k_plot, write_report
from headstart.workflow.fit import fit
from headstart.workflow.runs import save_run

PHOTOGRAPHS = ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png")


def classify_photographs(out: Path) -> None:
    """Step 1: no training."""
    classifier = hs.Classifier.pretrained("tf_efficientnet_lite0")
    for name in PHOTOGRAPHS:
        path = Path(skimage.__file__).parent / "data" / name
        top = classifier.top_k(path, 5)
        top_k_plot(Image.open(path), *zip(*top, strict=True), path=out / f"{path.stem}.png")
        print(f"{name:12}", ", ".join(f"{label.split(',')[0]} {probability:.0%}" for label, probability in top[:3]))


def write_digits(folder: Path, count: int | None) -> Path:
    """Write the digits as images, in one subfolder per class."""
    digits = load_digits()
    for row, (image, target) in enumerate(zip(digits.images[:count], digits.target[:count], strict=True)):
        path = folder / str(target) / f"{row:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 - image * 255 / 16).astype(np.uint8)).save(path)
    return folder


def main() -> None:
    """Run both steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--digits", type=int, help="number of digits; default: all 1,797")
    given = parser.parse_args()
    start = time.monotonic()

    print("1. What is in these photographs? (no training)")
    classify_photographs(given.out / "photographs")

    print("\n2. Which digit is it? (a new head on the same network)")
    images = hs.read_images(write_digits(given.out / "digits", given.digits))
    result = fit(images, hs.FitSettings(test_share=0.2), events=console())
    report = write_report(save_run(result, given.out))
    evaluation = result.evaluation
    top1 = evaluation.top1
    print(f"accuracy on {evaluation.images} held-out digits: {top1.value:.1%}", end=" ")
    print(f"(95 % interval {top1.low:.1%} to {top1.high:.1%})")
    print(f"\n{time.monotonic() - start:.0f} s in all\nreport: {report.resolve()}")


if __name__ == "__main__":
    main()
