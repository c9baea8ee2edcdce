"""Accuracy against peers on the same images, split and weights, over the data sets of ../shared/data.

    python -m benchmarks.accuracy.peer_comparison --data dogs120 trash6 kaggle-dogs-240 --peers headstart sklearn
    python -m benchmarks.accuracy.peer_comparison --data dogs120 trash6 --images-per-class 12   # every peer, a subset
    python -m benchmarks.accuracy.peer_comparison --show                                        # print what is there

headstart draws the split (a fifth for validation, a fifth for test, another one for each seed) and writes it to its
manifest, which all peers read. Figures are of the test split, which takes part in no choice, computed by one evaluator
for all. Seconds are of the whole process from a cold start: imports, decoding, features, training, and the
probabilities of the test split.

Each run is saved as soon as it ends, by data set, images per class, peer and seed, and is not repeated (unless with
--again), so an interruption costs one run. --images-per-class N takes the first N images of each class, the same for
all: fine-tuning a whole network on 10,000 images takes an hour on two cores.

imagenet-val is left out: it has 1.8 images per class, of the very classes that the networks were trained on. In
kaggle-dogs-240, with two images per breed, one image trains; the others of half the breeds validate, and those of the
other half test.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.datasets import labeled_images
from benchmarks.harness import (
    HEADSTART,
    HERE,
    SHARED,
    WEIGHTS,
    Completed,
    Figures,
    empty_folder,
    keras_python,
    own_python,
    peer_python,
    read_json,
    result_path,
    run,
    save,
    spread,
)

DATA = ("dogs120", "trash6", "kaggle-dogs-240")
METRICS = ("top1", "log_loss", "ece")
COSTS = ("seconds", "peak_gb")
Key = tuple[str, str, str, int]  # data, images per class, peer, seed


def fastai_python() -> Path:
    """fastai 2.8 runs on the torch that headstart has."""
    return peer_python("fastai", "fastai", shared=True)


PEERS: dict[str, tuple[Callable[[], Path], tuple[object, ...]]] = {
    "sklearn": (own_python, ("sklearn_logistic.py",)),
    "finetune-tail": (own_python, ("finetune_timm.py", "--train", "tail")),
    "finetune-all": (own_python, ("finetune_timm.py", "--train", "all")),
    "fastai": (fastai_python, ("fastai_finetune.py",)),
    "keras": (keras_python, ("keras_recipe.py", "--weights", WEIGHTS)),
    "keras-correct-input": (keras_python, ("keras_recipe.py", "--weights", WEIGHTS, "--input", "correct")),
}
OURS: dict[str, tuple[object, ...]] = {
    "headstart": (),
    "headstart-no-pretrained-head": ("--no-pretrained-head",),
    "headstart-head": ("--train", "head"),
    "headstart-tta-flip": ("--tta-flip", "--size", 256),
    "headstart-mobilenetv2": ("--model", WEIGHTS),
}


def write_labels(data: str, images_per_class: int | None, seed: int, path: Path) -> Path:
    """Write the table that headstart reads: path and label, and a split if there are fewer than 3 images per class."""
    by_label: dict[str, list[Path]] = defaultdict(list)
    for image, label in labeled_images(data):
        by_label[label].append(image)
    rows = [(image, label, "") for label, images in by_label.items() for image in images[:images_per_class]]
    if min(len(images[:images_per_class]) for images in by_label.values()) < 3:
        rows = one_training_image(by_label, random.Random(seed))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"] if rows[0][2] else ["path", "label"])
        writer.writerows(row if row[2] else row[:2] for row in rows)
    return path


def one_training_image(by_label: dict[str, list[Path]], rng: random.Random) -> list[tuple[Path, str, str]]:
    """One image of each class trains; the others of half the classes validate, those of the other half test."""
    labels = sorted(by_label)
    tested = set(rng.sample(labels, len(labels) // 2))
    rows = []
    for label in labels:
        images = rng.sample(sorted(by_label[label]), len(by_label[label]))
        held_out = "test" if label in tested else "validation"
        rows += [(image, label, held_out if number else "train") for number, image in enumerate(images)]
    return rows


def write_split(manifest: Path, path: Path) -> Path:
    """Write the split that headstart drew as the table that the peers read."""
    import pyarrow.parquet as pq

    rows = pq.ParquetFile(manifest).read(["uri", "label", "split", "problem"]).to_pylist()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for row in rows:
            if row["problem"] is None:
                writer.writerow([row["uri"].removeprefix("file://"), row["label"], row["split"]])
    return path


def run_headstart(data: str, labels: Path, folder: Path, seed: int, *options: object) -> tuple[Completed, Figures]:
    """``headstart fit`` from a cold start."""
    paths = ("--labels", labels, "--cache-dir", folder / "store", "--out", folder / "run", "--seed", seed)
    has_split = "split" in labels.read_text().partition("\n")[0]
    shares = () if has_split else ("--validation-share", 0.2, "--test-share", 0.2)
    completed = run(HEADSTART, "fit", SHARED / data, *paths, *shares, *options)
    return completed, read_json(folder / "run" / "evaluation.json")


def run_peer(name: str, split: Path, folder: Path, seed: int, epochs: int | None) -> tuple[Completed, Figures]:
    """A peer from a cold start, evaluated by headstart's evaluator."""
    python, (script, *options) = PEERS[name]
    fewer = ("--epochs", epochs) if epochs else ()
    given = ("--split", split, "--out", folder / name, "--seed", seed)
    completed = run(python(), HERE / "peers" / str(script), *options, *given, *fewer)
    # In a process of its own, since this process's memory would count as the next child's.
    evaluated = run(own_python(), HERE / "peers" / "evaluate.py", split, folder / name / "test.npy")
    return completed, {**evaluated.report(), "reported": completed.report()}


def figures_of(completed: Completed, evaluation: Figures) -> Figures:
    """What is saved of a run."""
    return {
        **{name: round(evaluation[name]["value"], 4) for name in METRICS},
        "seconds": completed.seconds,
        "peak_gb": completed.peak_gb,
        "images": evaluation["images"],
        "reported": evaluation.get("reported"),
    }


def saved_runs(path: Path) -> dict[Key, Figures]:
    """The runs that an earlier call saved."""
    if not path.exists():
        return {}
    runs = read_json(path)["runs"]
    return {(each["data"], each["images_per_class"], each["peer"], each["seed"]): each for each in runs}


def summarize(runs: dict[Key, Figures]) -> list[Figures]:
    """One line for each data set, number of images per class, and peer: the spread over the seeds."""
    groups: dict[tuple[str, str, str], list[Figures]] = defaultdict(list)
    for (data, images_per_class, peer, _), each in runs.items():
        groups[data, images_per_class, peer].append(each)
    lines = []
    for (data, images_per_class, peer), found in groups.items():
        line: Figures = {"data": data, "images_per_class": images_per_class, "peer": peer, "seeds": len(found)}
        line |= {name: spread([each[name] for each in found]) for name in (*METRICS, *COSTS)}
        lines.append(line)
    return sorted(lines, key=lambda line: (line["data"], line["images_per_class"], -line["top1"]["median"]))


def show(lines: list[Figures]) -> None:
    """Print a table."""
    for line in lines:
        medians = "  ".join(f"{name} {line[name]['median']:.4g}" for name in (*METRICS, *COSTS))
        print(f"{line['data']:16} {line['images_per_class']:>5} {line['peer']:28} {line['seeds']} seeds  {medians}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--peers", nargs="+", choices=[*OURS, *PEERS], default=["headstart", *PEERS])
    parser.add_argument("--images-per-class", type=int, help="default: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="of the peers that train by epochs, for a trial run")
    parser.add_argument("--name", default="peer_comparison", help="of the result, another one for another machine")
    parser.add_argument("--again", action="store_true", help="repeat saved runs")
    parser.add_argument("--show", action="store_true", help="print the saved runs and exit")
    parser.add_argument("--quick", action="store_true", help="6 images per class of trash6, one seed, one epoch")
    given = parser.parse_args()
    if given.quick:
        given.data, given.images_per_class, given.seeds, given.epochs = ["trash6"], 6, 1, 1
    return given


def main() -> None:
    """Data set by data set, seed by seed, peer by peer."""
    given = parse_arguments()
    name = f"accuracy/{given.name}"
    runs = {} if given.quick else saved_runs(result_path(name))
    if given.show:
        show(summarize(runs))
        return
    size = str(given.images_per_class or "all")
    for data in given.data:
        for seed in range(given.seeds):
            pending = [peer for peer in given.peers if given.again or (data, size, peer, seed) not in runs]
            if not pending:
                continue
            folder = empty_folder("peer_comparison")
            labels = write_labels(data, given.images_per_class, seed, folder / "labels.csv")
            # The split depends on the images' content and the seed alone.
            first = run_headstart(data, labels, folder / "split", seed)
            split = write_split(folder / "split" / "run" / "manifest.parquet", folder / "split.csv")
            for peer in pending:
                if peer == "headstart":
                    completed, evaluation = first
                elif peer in OURS:
                    completed, evaluation = run_headstart(data, labels, folder / peer, seed, *OURS[peer])
                else:
                    completed, evaluation = run_peer(peer, split, folder, seed, given.epochs)
                key = {"data": data, "images_per_class": size, "peer": peer, "seed": seed}
                runs[data, size, peer, seed] = key | figures_of(completed, evaluation)
                save(name, {"summary": summarize(runs), "runs": list(runs.values())}, quick=given.quick, show=False)
                print(json.dumps(runs[data, size, peer, seed]), flush=True)
    show(summarize(runs))


if __name__ == "__main__":
    main()
