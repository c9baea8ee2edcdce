"""What else could be done with stored features and with the trials of one fit: the gain of each idea, and its cost.

    python -m benchmarks.accuracy.variants [--data NAME ...] [--trials trash6] [--seeds 5] [--quick]

Heads: three fifths of the images to train on, a fifth that chooses every setting and the temperature, and the last
fifth, of which the figures are. Without pretrained rows. Compared with the head that ``headstart fit`` solves: a
Nyström approximation of a radial kernel (scikit-learn) on the same features, the features of a second network beside
them, the second network alone, the mean of the probabilities of heads, and a temperature for each third of the
classes. Seconds are of solving alone; those of a second network leave out its frozen pass, which takes longer than that
of the default network (see ``headstart rank``).

Trials: ``headstart fit --train auto`` with the same shares and no limit of time. Each trial, the mean of the
probabilities of the trials, that mean only where it has the lower log-loss on validation, and weights between those at
the start and at the end of fine-tuning (WiSE-FT, Wortsman et al. 2021, arXiv 2109.01903), the share chosen on
validation and the head solved once more.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.accuracy.stages import compute_features
from benchmarks.datasets import images_of
from benchmarks.harness import Figures, earlier, empty_folder, save, spread

DATA = ("trash6", "dogs120", "few-dogs", "digits")
SECOND = "tf_efficientnet_lite2"
LANDMARKS = 1000  # of the Nyström approximation
METRICS = ("top1", "log_loss", "ece", "seconds")
Split = tuple[Any, np.ndarray]  # logits of the validation images and their targets, or of the test images


def figures_of(validation: Split, test: Split, classes: tuple[str, ...], seconds: float) -> Figures:
    """Of logits, after the temperature that suits the validation images."""
    from headstart.evaluate import apply_temperature, fit_temperature

    probabilities = apply_temperature(test[0], fit_temperature(*validation))
    return {**scores(probabilities, test[1], classes), "seconds": seconds}


def scores(probabilities: np.ndarray, targets: np.ndarray, classes: tuple[str, ...]) -> Figures:
    """Accuracy, log-loss and ECE."""
    from headstart.evaluate import evaluate

    found = evaluate(targets, probabilities, classes, split="test")
    return {name: getattr(found, name).value for name in METRICS[:-1]}


def calibrated(validation: Split, logits: np.ndarray) -> np.ndarray:
    """Probabilities of these logits, at the temperature of the validation images."""
    from headstart.evaluate import apply_temperature, fit_temperature

    return apply_temperature(logits, fit_temperature(*validation))


def solve(splits: dict[str, Any], blocks: tuple[int, ...], classes: int, stages: str) -> tuple[Split, Split, float]:
    """The logits of a solved head on the validation and on the test images, and the seconds of solving."""
    from headstart.train.heads import HeadProblem, head_solver

    start = time.monotonic()
    found = head_solver("lbfgs").fit(
        splits["train"], splits["validation"], HeadProblem(classes=classes, blocks=blocks, stages=stages, kernel="none")
    )
    seconds = time.monotonic() - start
    validation = found.validation_logits.numpy(), splits["validation"][1].numpy()
    return validation, (found.head.logits(splits["test"][0]).numpy(), splits["test"][1].numpy()), seconds


def with_kernel(splits: dict[str, Any], blocks: tuple[int, ...], gamma: float) -> dict[str, Any]:
    """The features that approximate a radial kernel on all blocks, scaled to one norm."""
    import torch
    from sklearn.kernel_approximation import Nystroem

    from headstart.train.heads.vectors import Scaling, VectorDataset

    scaling = Scaling(VectorDataset(splits["train"]), blocks)
    scaled = {name: scaling(x.float()).numpy() for name, (x, _) in splits.items()}
    width = scaled["train"].shape[1]
    landmarks = min(LANDMARKS, len(scaled["train"]))
    kernel = Nystroem(gamma=gamma / width, n_components=landmarks, random_state=0).fit(scaled["train"])
    return {name: (torch.from_numpy(kernel.transform(scaled[name])), y) for name, (_, y) in splits.items()}


def joined(one: dict[str, Any], other: dict[str, Any], blocks: tuple[int, ...], others: tuple[int, ...]) -> Any:
    """Features of two networks: the last ones of both, then the stages of both; and the sizes of these blocks."""
    import torch

    from headstart.train.heads.vectors import Scaling, VectorDataset

    def parts(splits: dict[str, Any], sizes: tuple[int, ...]) -> dict[str, Any]:
        scaling = Scaling(VectorDataset(splits["train"]), sizes)
        return {name: torch.split(scaling(x.float()), list(sizes), 1) for name, (x, _) in splits.items()}

    first, second = parts(one, blocks), parts(other, others)
    rows = {
        name: (torch.cat([a[0], b[0], *a[1:], *b[1:]], 1), one[name][1])
        for (name, a), b in zip(first.items(), second.values(), strict=True)
    }
    return rows, (blocks[0] + others[0], *blocks[1:], *others[1:])


def by_thirds(validation: Split, test: Split) -> np.ndarray:
    """Probabilities (N, C) with a temperature for each third of the classes, by how well they are recognized."""
    from headstart.evaluate import apply_temperature, fit_temperature

    logits, targets = validation
    guesses, classes = logits.argmax(1), np.arange(logits.shape[1])
    right = [float((guesses[targets == each] == each).mean()) if (targets == each).any() else 1.0 for each in classes]
    third = np.empty(len(classes), np.int64)
    third[np.argsort(right, kind="stable")] = np.arange(len(classes)) * 3 // len(classes)
    shared = fit_temperature(logits, targets)
    probabilities = np.empty(test[0].shape)
    for number in range(3):
        seen, rows = third[guesses] == number, third[test[0].argmax(1)] == number
        temperature = fit_temperature(logits[seen], targets[seen]) if seen.sum() >= 20 else shared
        probabilities[rows] = apply_temperature(test[0][rows], temperature)
    return probabilities


def measure_heads(data: str, seed: int, store: Path) -> Iterator[tuple[str, Figures]]:
    """Each variant of the head on one split of the data."""
    images = images_of(data)
    splits, extractor, classes = compute_features(images, seed, store)
    blocks, count = extractor.blocks, len(classes)
    solved = {}
    for stages in ("none", "auto"):
        solved[stages] = solve(splits, blocks, count, stages)
        name = "last features" if stages == "none" else "headstart: stages as validation chooses"
        yield name, figures_of(*solved[stages][:2], classes, solved[stages][2])
    validation, test, seconds = solved["auto"]
    thirds = scores(by_thirds(validation, test), test[1], classes)
    yield "temperature for each third of the classes", {**thirds, "seconds": seconds}
    start, kernels = time.monotonic(), []
    for gamma in (0.1, 0.3, 1.0):
        rows = with_kernel(splits, blocks, gamma)
        kernels.append(solve(rows, (rows["train"][0].shape[1],), count, "none"))
    kernel = min(kernels, key=lambda found: figures_of(found[0], found[0], classes, 0)["log_loss"])
    spent = time.monotonic() - start
    yield "radial kernel (Nyström)", figures_of(kernel[0], kernel[1], classes, spent)
    mean = (calibrated(validation, test[0]) + calibrated(kernel[0], kernel[1][0])) / 2
    yield "mean of headstart and the kernel", {**scores(mean, test[1], classes), "seconds": seconds + spent}
    second, other, _ = compute_features(images, seed, store, model=SECOND)
    alone = solve(second, other.blocks, count, "auto")
    yield f"{SECOND} alone", figures_of(alone[0], alone[1], classes, alone[2])
    both, sizes = joined(splits, second, blocks, other.blocks)
    found = solve(both, sizes, count, "auto")
    yield "features of two networks", figures_of(found[0], found[1], classes, found[2])
    mean = (calibrated(validation, test[0]) + calibrated(alone[0], alone[1][0])) / 2
    yield "mean of two networks", {**scores(mean, test[1], classes), "seconds": seconds + alone[2]}


def measure_trials(data: str, seed: int, store: Path) -> Iterator[tuple[str, Figures]]:
    """The trials of one fit, their mean, and weights between start and end of fine-tuning."""
    from headstart.config import FitSettings
    from headstart.data.manifest import Manifest
    from headstart.events import Events
    from headstart.workflow.dataset import SPLITS
    from headstart.workflow.extraction import extract
    from headstart.workflow.fit import prepare
    from headstart.workflow.search import search_trials
    from headstart.workflow.stopwatch import Stopwatch
    from headstart.workflow.trials import with_solved_head

    paths, labels = zip(*images_of(data), strict=True)
    settings = FitSettings.of(
        seed=seed, cache_dir=str(store), validation_share=0.2, test_share=0.2, budget="1h", pretrained_head=False
    )
    manifest, events, watch = Manifest.from_rows(list(paths), labels=list(labels)), Events(), Stopwatch()
    dataset, extractor = prepare(manifest, settings, events, watch)
    dataset = extract(extractor, dataset, dataset.rows(SPLITS), events=events)
    search = search_trials(extractor, dataset, start=watch.start, events=events)
    targets, probabilities, classes = dataset.targets("test"), {}, dataset.classes

    def outputs(trial: Any, split: str, state: Any) -> np.ndarray:
        found = extract(trial.extractor, trial.dataset, trial.dataset.rows([split]), events=events)
        with trial.extractor.backbone.applied(state):
            return np.asarray(trial.extractor.outputs(found.split(split)).logits)

    on_validation = {}
    for trial in search.trials:
        known = (trial.logits, trial.targets)
        probabilities[trial.name] = calibrated(known, outputs(trial, "test", trial.state))
        on_validation[trial.name] = calibrated(known, trial.logits)
        yield trial.name, {**scores(probabilities[trial.name], targets, classes), "seconds": trial.seconds}
    total = sum(trial.seconds for trial in search.trials)
    trained = [trial for trial in search.trials if "no gain" not in trial.note]
    mean, chosen = np.mean([probabilities[trial.name] for trial in trained], axis=0), search.chosen
    found = {**scores(probabilities[chosen.name], targets, classes), "seconds": total}
    averaged = {**scores(mean, targets, classes), "seconds": total}
    yield "the trial that is chosen", found
    yield "mean of the trials", averaged
    together = np.mean([on_validation[trial.name] for trial in trained], axis=0)
    losses = [log_loss(each, chosen.targets) for each in (on_validation[chosen.name], together)]
    yield "mean of the trials where validation prefers it", averaged if losses[1] < losses[0] else found
    tuned = trained[-1]
    if tuned.name == "head":
        return
    begin = tuned.extractor.backbone.module.state_dict()
    tried = []
    for share in (0.25, 0.5, 0.75, 1.0):
        state = {
            name: begin[name] + share * (value - begin[name])
            if value.is_floating_point() and value.shape == begin[name].shape
            else value
            for name, value in tuned.state.items()
        }
        # Heads are not averaged: that of the start and that of the end may have different kernels.
        with tuned.extractor.backbone.applied(state):
            logits = tuned.extractor.outputs(tuned.dataset.split("validation")).logits
        mixed = with_solved_head(replace(tuned, state=state, logits=logits), time.monotonic())
        tried.append((mixed.image_log_losses.mean(), share, mixed))
    _, share, mixed = min(tried, key=lambda each: each[0])
    found = calibrated((mixed.logits, mixed.targets), outputs(mixed, "test", mixed.state))
    yield "weights between start and end", {**scores(found, targets, classes), "seconds": tuned.seconds, "share": share}


def log_loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """In nats."""
    return float(-np.log(np.clip(probabilities[np.arange(len(targets)), targets], 1e-12, None)).mean())


def summarized(runs: dict[str, list[Figures]]) -> Figures:
    """Median, lowest and highest over the seeds."""
    return {
        name: {"seeds": len(found), **{metric: spread([each[metric] for each in found]) for metric in METRICS}}
        for name, found in runs.items()
    }


def main() -> None:
    """Data set by data set, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA), help="for heads; keeps those of others")
    parser.add_argument("--trials", nargs="*", choices=DATA, default=["trash6"], help="for trials")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="digits, one seed, heads alone")
    given = parser.parse_args()
    if given.quick:
        given.data, given.trials, given.seeds = ["digits"], [], 1
    wanted = [(data, measure_heads) for data in given.data]
    wanted += [(f"{data}, trials", measure_trials) for data in given.trials]
    names = [*DATA, *(f"{data}, trials" for data in DATA)]
    figures = earlier("accuracy/variants", [name for name in names if name not in dict(wanted)])
    for title, measure in wanted:
        store = empty_folder("variants") / "store"
        runs: dict[str, list[Figures]] = defaultdict(list)
        for seed in range(given.seeds):
            for name, found in measure(title.partition(",")[0], seed, store):
                runs[name].append(found)
                print(title, seed, name, found, flush=True)
        figures[title] = summarized(runs)
        save("accuracy/variants", figures, quick=given.quick, show=False)


if __name__ == "__main__":
    main()
