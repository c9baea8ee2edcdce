"""The tutorial that headstart started from, from its first step to its last; docs/tutorial.md explains each one.

    python examples/tutorial.py MODEL IMAGES DOGS [--test FOLDER]

MODEL is a pretrained network, IMAGES are labeled images of the classes that it knows, DOGS is a folder with a table of
labels. For the tutorial itself: keras:MobileNetV2, imagenetv2-top-images, dog-breeds, and dog-breeds/test.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import headstart as hs
from headstart.report import history_plot, top_k_plot
from headstart.workflow.evaluate import evaluate
from headstart.workflow.predict import predict
from headstart.workflow.show import draw_sheet
from headstart.workflow.submission import find_sample, make_submission


def classify(model: str, weights: str | None, images: hs.Manifest, out: Path) -> None:
    """Use a pretrained network as it is: predict one image, then measure the accuracy on all."""
    classifier = hs.Classifier.pretrained(model, weights=weights)
    names, probabilities = zip(*classifier.top_k(images.uris[0], 5), strict=True)
    print(f"1. prediction: {names[0]}; {top_k_plot(images.uris[0], names, probabilities, path=out / 'top-5.png')}")
    _, evaluation = evaluate(classifier, images)
    print(f"2. accuracy on {evaluation.images} images: {evaluation.top1.value:.1%}")


def transfer(dogs: hs.Manifest, out: Path, model: str, weights: str | None) -> hs.ImageClassifier:
    """Fit with the tutorial's recipe, for comparison, then with the defaults."""
    print(f"3. {len(dogs)} images of {len(dogs.classes)} classes; {draw_sheet(dogs, out / 'sheet.png', count=9)}")
    classic = hs.ImageClassifier.by_recipe("classic", model=model, weights=weights).fit(dogs)
    plot = history_plot(classic.history_, out / "history.png")
    print(f"4. the classic recipe: validation accuracy {classic.evaluation_.top1.value:.1%}; {plot}")
    best = hs.ImageClassifier(model, weights=weights).fit(dogs)
    print(f"5. the defaults: accuracy {best.evaluation_.top1.value:.1%}; {best.save(out) / 'report.html'}")
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name in ("model", "images", "dogs"):
        parser.add_argument(name)
    parser.add_argument("--weights", help="of the network: a file, or random; default: its pretrained weights")
    parser.add_argument("--test", help="images to predict for the submission; default: the dogs")
    parser.add_argument("--out", type=Path, default=Path("runs/tutorial"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    classify(given.model, given.weights, hs.read_images(given.images), given.out)
    best = transfer(hs.read_images(given.dogs), given.out, given.model, given.weights)
    predictions = predict(best.classifier_, hs.read_images(given.test or given.dogs))
    make_submission(predictions, find_sample([given.test or given.dogs])).write(given.out / "submission.csv")
    print(f"6. {given.out / 'submission.csv'}")


if __name__ == "__main__":
    main()
