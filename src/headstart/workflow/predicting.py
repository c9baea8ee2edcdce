"""From a classifier and images to probabilities, and to what they are worth where labels are known."""

from __future__ import annotations

import csv
import io
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import __version__
from headstart.classifier import Classifier, Sets, load
from headstart.data.manifest import Manifest
from headstart.data.uri import to_path
from headstart.errors import DataError
from headstart.evaluate import class_table, worst
from headstart.evaluate import evaluate as measure
from headstart.files import write_bytes, write_json, write_text
from headstart.models.backbone import is_network_file
from headstart.models.fetched import is_handle
from headstart.models.names import align
from headstart.progress import Progress
from headstart.scale.memory import held
from headstart.settings import EngineSettings, InputSettings
from headstart.workflow.checking import inspected
from headstart.workflow.quantization import cost, sample
from headstart.workflow.runs import write_predictions

__all__ = [
    "Predictions",
    "evaluate",
    "evaluation_lines",
    "labelled_for",
    "open_classifier",
    "predict",
    "save_evaluation",
]

_MANY = 256  # images


def open_classifier(name: str, seen: InputSettings | None = None, *, progress: Progress | None = None) -> Classifier:
    """A run folder, a saved classifier, or a pretrained network: by name, or a file or handle of one.

    :param seen: what the network is shown, where not what its own configuration says.
    """
    pretrained = is_network_file(name) or is_handle(name) or not (Path(name).exists() or "/" in name)
    classifier = Classifier.pretrained(name, progress=progress) if pretrained else load(name)
    changes = seen.input_changes() if seen else {}
    return replace(classifier, spec=classifier.spec.changed(**changes)) if changes else classifier


@dataclass
class Predictions:
    """What a classifier says of images."""

    classes: tuple[str, ...]
    manifest: Manifest  # every image asked for; those that could not be read have their problem
    probabilities: NDArray[np.float32]  # (usable images, C), in the manifest's order
    sets: Sets | None = None  # of a fitted classifier: how its sets of classes are made
    strange: NDArray[np.bool_] | None = None  # (usable images,), those that are like none of the classes

    def top(self, k: int) -> list[list[tuple[str, float]]]:
        """The ``k`` likeliest classes of each usable image, likeliest first."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return [
            [(self.classes[index], float(shares[index])) for index in indices]
            for indices, shares in zip(order, self.probabilities, strict=True)
        ]

    def lines(self, k: int) -> list[str]:
        """For a terminal: each image with its likeliest classes in percent, its set, and whether it is strange."""
        found = iter(zip(self.top(k), self._doubts(), strict=True))
        lines = []
        for uri, problem in zip(self.manifest.uris, self.manifest.problems, strict=True):
            lines.append(uri)
            if problem:
                lines.append(f"  problem: {problem}")
                continue
            classes, (held, strange) = next(found)
            lines += [f"  {share:6.1%}  {name}" for name, share in classes]
            if self.sets:
                lines.append(f"  {self.sets.coverage:.0%} of such sets hold the true class: {', '.join(held)}")
            if strange:
                lines.append("  looks like none of the classes")
        return lines

    def _doubts(self) -> list[tuple[list[str], bool]]:
        count = len(self.probabilities)
        sets = self.sets.of(self.probabilities, self.classes) if self.sets else [[]] * count
        strange = self.strange.tolist() if self.strange is not None else [False] * count
        return list(zip(sets, strange, strict=True))

    def write_csv(self, path: Path, k: int) -> None:
        """A row an image: path, the likeliest classes with their probabilities, and the problem where there is one.

        Of a fitted classifier also the set of classes ("; " between them), and whether it looks like none of them.
        """
        k = min(k, len(self.classes))
        ranks = range(1, k + 1)
        extra = [name for name, there in {"set": self.sets, "strange": self.strange}.items() if there is not None]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        heads = [f"{what}_{rank}" for rank in ranks for what in ("class", "probability")]
        writer.writerow(["path", *heads, *extra, "problem"])
        found = iter(zip(self.top(k), self._doubts(), strict=True))
        for uri, problem in zip(self.manifest.uris, self.manifest.problems, strict=True):
            cells = [""] * (2 * k + len(extra))
            if not problem:
                classes, (held, strange) = next(found)
                told = {"set": "; ".join(held), "strange": "yes" if strange else "no"}
                cells = [cell for name, share in classes for cell in (name, f"{share:.6f}")]
                cells += [told[name] for name in extra]
            writer.writerow([str(to_path(uri)), *cells, problem or ""])
        # Names that are not UTF-8 go back to the bytes they are.
        write_bytes(path, text.getvalue().encode(errors="surrogateescape"))


def predict(
    classifier: Classifier,
    manifest: Manifest,
    settings: EngineSettings | None = None,
    *,
    progress: Progress | None = None,
    targets: NDArray[np.int64] | None = None,
) -> Predictions:
    """Probabilities of all images that can be read; the others are in the manifest with their problem.

    :param targets: the images' classes, (N,), where they are known: to tell what 8-bit numbers cost.
    """
    # To few pictures, as a server is given them, memory that was given back would only have to be handed out again.
    with held() if len(manifest) >= _MANY else nullcontext():
        found = classifier.examine(manifest, settings=settings, progress=progress)
    told: list[str | None] = [None] * len(manifest)
    for row, reason in found.problems:
        told[row] = reason
    if settings is not None and settings.precision == "int8":
        read = np.flatnonzero([problem is None for problem in told])
        some = sample(len(read), seed=0)
        exact, _ = classifier.probabilities(
            manifest.select(read[some]), settings=replace(settings, precision="float32")
        )
        true = None if targets is None else targets[read[some]]
        (progress or Progress()).say(cost(found.probabilities[some], exact, true))
    strange = None
    if classifier.novelty is not None and found.strangeness is not None:
        strange = found.strangeness > classifier.novelty.threshold
    return Predictions(
        classifier.classes,
        manifest.with_column("problem", told),
        found.probabilities,
        classifier.sets,
        strange,
    )


def labelled_for(classifier: Classifier, manifest: Manifest) -> Manifest:
    """The images with a label, which becomes the name that the classifier has for it.

    :raises DataError: no image has a label, or a label is none of the classifier's classes.
    """
    labelled = manifest.select(np.array([label is not None for label in manifest.labels], bool))
    if not len(labelled):
        raise DataError("no image has a label: give a folder a class, or a table of labels (--labels TABLE)")
    meant = align(labelled.classes, classifier.classes)
    return labelled.with_column("label", [meant[str(label)] for label in labelled.labels])


def evaluate(
    classifier: Classifier,
    manifest: Manifest,
    settings: EngineSettings | None = None,
    *,
    progress: Progress | None = None,
) -> tuple[Predictions, dict[str, Any]]:
    """What the classifier is worth on labelled images that it has not seen.

    :raises DataError: no image has a label, or a label is none of the classifier's classes.
    """
    settings, progress = settings or EngineSettings(), progress or Progress()
    settings.check()
    labelled = labelled_for(classifier, manifest)
    seen = inspected(labelled, settings, progress=progress).with_column("split", ["test"] * len(labelled))
    start = time.monotonic()
    found = predict(
        classifier, seen.usable, settings, progress=progress, targets=seen.usable.targets(classifier.classes)
    )
    seconds = time.monotonic() - start
    problems = iter(found.manifest.problems)
    seen = seen.with_column("problem", [problem or next(problems) for problem in seen.problems])
    usable = seen.usable
    evaluation = measure(usable.targets(classifier.classes), found.probabilities, classifier.classes, part="test")
    evaluation["summary"] = {
        "headstart": __version__,
        "model": classifier.model,
        "images": {"test": len(usable)},
        "problems": len(labelled) - len(usable),
        "images_a_second": round(len(usable) / max(seconds, 1e-9), 1),
        "seconds": {"predicting": round(seconds, 2)},
    }
    evaluation["note"] = "These images were given for evaluation; whether training saw them, only who gave them knows."
    return Predictions(classifier.classes, seen, found.probabilities), evaluation


def save_evaluation(found: Predictions, evaluation: dict[str, Any], folder: Path, *, command: dict[str, Any]) -> Path:
    """Write what a report needs, as in a run folder but without a classifier."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "settings.json", {"headstart": __version__, "command": "evaluate", "settings": command})
    found.manifest.write(folder / "manifest.parquet")
    found.manifest.write_problems(folder / "problems.csv")
    write_predictions(folder / "predictions.parquet", found.manifest.usable, found.probabilities, found.classes)
    write_json(folder / "evaluation.json", evaluation)
    write_text(folder / "classes.csv", class_table(evaluation))
    return folder


def evaluation_lines(evaluation: dict[str, Any]) -> list[str]:
    """For a terminal, after the headline: top-5, speed, and the worst classes."""
    told = []
    if "top5" in evaluation:
        told.append(f"top-5 accuracy {_share(evaluation['top5'])}")
    speed = evaluation["summary"]["images_a_second"]
    told.append(f"{speed:,.0f} images a second in this run, decoding and the network's preparation included")
    rows = worst(evaluation)
    if rows:
        width = max(len(row["class"]) for row in rows)
        told.append(f"{'worst classes':{width}}  images  recall (95 % interval)     taken for")
    for row in rows:
        others = ", ".join(f"{name} ({images})" for name, images in row["taken_for"])
        told.append(f"{row['class']:{width}}  {row['images']:6,}  {_share(row['recall']):25}  {others}")
    return told


def _share(figure: dict[str, float]) -> str:
    return f"{figure['value']:.1%} ({figure['low']:.1%} to {figure['high']:.1%})"
