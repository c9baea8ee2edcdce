"""The tutorial that headstart grew from, from its first step to its last: docs/tutorial.md tells what each is good for.

    python examples/tutorial.py MODEL PICTURES DOGS [--test FOLDER]

MODEL is a pretrained network, PICTURES are labelled ones of the classes that it knows, DOGS have a table of labels. For
the tutorial itself: keras:MobileNetV2, imagenetv2-top-images, dog-breeds, and dog-breeds/test.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import headstart as hs
from headstart.report import history_plot, top_k_plot
from headstart.workflow.predicting import evaluate, predict
from headstart.workflow.reporting import draw_sheet
from headstart.workflow.submission import find_sample, submission


def classify(model: str, weights: str | None, pictures: hs.Manifest, out: Path) -> None:
    """A network as published: what is in one picture, and how often it is right."""
    classifier = hs.Classifier.pretrained(model, weights=weights)
    names, shares = zip(*classifier.top_k(pictures.uris[0], 5), strict=True)
    print(f"1. likeliest: {names[0]}; {top_k_plot(pictures.uris[0], names, shares, path=out / 'top-5.png')}")
    _, evaluation = evaluate(classifier, pictures)
    print(f"2. of {evaluation['images']} pictures it tells right {evaluation['top1']['value']:.1%}")


def transfer(dogs: hs.Manifest, out: Path, model: str, weights: str | None) -> hs.ImageClassifier:
    """The tutorial's recipe, which is to be compared with; then the defaults, which are to be used."""
    print(f"3. {len(dogs)} pictures of {len(dogs.classes)} classes; {draw_sheet(dogs, out / 'sheet.png', count=9)}")
    classic = hs.ImageClassifier.by_recipe("classic", model=model, weights=weights).fit(dogs)
    picture = history_plot(classic.history_, out / "history.png")
    print(f"4. the classic recipe: {classic.evaluation_['top1']['value']:.1%} on validation; {picture}")
    best = hs.ImageClassifier(model, weights=weights).fit(dogs)
    print(f"5. the defaults: {best.evaluation_['top1']['value']:.1%} on validation; {best.save(out) / 'report.html'}")
    return best


def main() -> None:
    """Both halves, and the table to hand in."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name in ("model", "pictures", "dogs"):
        arguments.add_argument(name)
    arguments.add_argument("--weights", help="of the network: a file, or random; its own by default")
    arguments.add_argument("--test", help="pictures to hand in predictions of; the dogs by default")
    arguments.add_argument("--out", type=Path, default=Path("runs/tutorial"))
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    classify(given.model, given.weights, hs.read_images(given.pictures), given.out)
    best = transfer(hs.read_images(given.dogs), given.out, given.model, given.weights)
    found = predict(best.classifier_, hs.read_images(given.test or given.dogs))
    submission(found, find_sample([given.test or given.dogs])).write(given.out / "submission.csv")
    print(f"6. {given.out / 'submission.csv'}")


if __name__ == "__main__":
    main()
