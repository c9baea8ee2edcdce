"""A small run folder, written as a fit writes one: real images, and probabilities of a simulated model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.artifacts.run_folder import run_info, write_run
from headstart.artifacts.saliency_file import write_saliency
from headstart.data.manifest import Manifest
from headstart.evaluate import evaluate
from headstart.evaluate.schema import EpochRecord


def record(stage: Any, epoch: int, loss: float, val_loss: float, **more: Any) -> EpochRecord:
    """An epoch with these losses; accuracies follow from them unless they are given."""
    accuracies = {"accuracy": 1 - loss / 10, "val_accuracy": 1 - val_loss / 10}
    return EpochRecord(stage, epoch, loss=loss, val_loss=val_loss, seconds=0.5, **{**accuracies, **more})


HISTORY = (
    record("head", 1, 0.9, 1.0, l2=1e-4, trial="head"),
    record("head", 2, 0.5, 0.7, val_accuracy=0.8, l2=1e-3, trial="head", chosen=True),
    record("finetune", 1, 0.4, 0.6, trial="last:1", chosen=True),
)


def make_run(
    folder: Path,
    names: Sequence[str],
    *,
    each: int = 6,
    problems: Sequence[tuple[str, str]] = (),
    history: Sequence[EpochRecord] = HISTORY,
    gone: Collection[int] = (),
    skill: float = 2.0,
) -> Path:
    """Write a run folder with ``each`` images per class into ``folder`` and return its path.

    :param problems: names and reasons of images that cannot be used.
    :param gone: numbers of images whose file is missing.
    :param skill: added to the logit of the true class.
    """
    rng = np.random.default_rng(0)
    photos, run = folder / "photos", folder / "run"
    photos.mkdir()
    targets = np.repeat(np.arange(len(names)), each)
    uris = [str(photos / f"{number:03d}.jpg") for number in range(len(targets))]
    for number, uri in enumerate(uris):
        if number not in gone:
            Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(uri)
    logits = rng.normal(size=(len(targets), len(names)))
    logits[np.arange(len(targets)), targets] += skill
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)

    labels = [names[target] for target in targets]
    manifest = Manifest.from_rows(
        [*uris, *(str(photos / name) for name, _ in problems)],
        labels=[*labels, *[None] * len(problems)],
        splits=[*["validation"] * len(uris), *[None] * len(problems)],
    ).with_column("problem", [*[None] * len(uris), *(reason for _, reason in problems)])
    arguments = ["headstart", "fit", "photos", "--model", "a model"]
    run.mkdir()
    write_saliency(run / "saliency.parquet", [])
    write_run(
        run,
        info=run_info("fit", {"seed": 0, "l2": None}, arguments=arguments, seeds=[0], seconds=12.25),
        evaluation=evaluate(targets, probabilities, names),
        history=history,
        manifest=manifest,
        split=manifest.usable,
        probabilities=probabilities,
        classes=names,
    )
    return run


def make_judged(
    run: Path,
    images: Sequence[tuple[str, str, str]],
    probabilities: Any,
    classes: Sequence[str],
    *,
    split: str = "validation",
    others: Sequence[tuple[str, str]] = (),
    command: Any = "fit",
    **settings: Any,
) -> Path:
    """Write a run without image files, whose evaluated images have these probabilities, and return its path.

    :param images: (uri, content, label) of the evaluated images.
    :param split: of the evaluation: "validation", "test", "cross-validation" or, for an evaluation, "train".
    :param others: (content, split) of further images of the run.
    """
    values = np.asarray(probabilities, np.float32)
    uris, contents, labels = ([each[part] for each in images] for part in range(3))
    stored = {"cross-validation": "train", "train": "test"}.get(split, split)
    manifest = Manifest.from_rows(
        [*uris, *(f"/other/{content}.jpg" for content, _ in others)],
        labels=[*labels, *[classes[0]] * len(others)],
        splits=[*[stored] * len(uris), *(name for _, name in others)],
    ).with_column("hash", [*(content or None for content in contents), *(content for content, _ in others)])
    targets = [classes.index(label) for label in labels]
    write_run(
        run,
        info=run_info(command, settings, seconds=2.5),
        evaluation=evaluate(targets, values, classes, split=split),
        history=(),
        manifest=manifest,
        split=manifest.select(np.arange(len(uris))),
        probabilities=values,
        classes=classes,
    )
    if command == "fit":
        (run / "classifier").mkdir()
        (run / "classifier" / "weights").write_bytes(bytes(1_500_000))
    return run
