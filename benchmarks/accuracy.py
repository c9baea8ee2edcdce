"""Accuracy against peers on the same pictures, split and weights, over all data sets of ../shared/data to train on.

    python benchmarks/accuracy.py --data dogs120 trash6 kaggle-dogs-240 --peers headstart sklearn --seeds 5
    python benchmarks/accuracy.py --data dogs120 trash6 --part 12 --seeds 5         # every peer, on a part
    python benchmarks/accuracy.py --show                                            # what is there already

headstart makes the split (a fifth to validate, a fifth to test, another for each seed) and says so in its manifest,
which all peers read. What is told is of the test part, which nobody chose on, by one evaluator for all. Seconds are of
the whole process from nothing: imports, decoding, features, training, and the test part's probabilities.

Every run is kept in results/accuracy.json as it ends, by data, part, peer and seed, and is not run again (--again
does): a stop costs one run. --part N takes the first N pictures a class, the same for all: fine-tuning a whole network
on 10,000 pictures takes an hour on two cores.

imagenet-val is left out: 1.8 pictures a class of the very classes that the networks know are nothing to train on. Of
kaggle-dogs-240, two pictures a breed, one trains; of the other half a part each validates and tests.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import HEADSTART, HERE, RESULTS, SHARED, TRIAL, WEIGHTS, Ran, emptied, keep, peer, run, spread, told

DATA = ("dogs120", "trash6", "kaggle-dogs-240")
FIGURES = ("top1", "log_loss", "ece")
Key = tuple[str, str, str, int]  # data, part, peer, seed


def here() -> str:
    """The Python that headstart is in."""
    return str(HEADSTART.with_name("python"))


def fastai() -> str:
    """fastai 2.8 takes the torch that headstart has."""
    return str(peer("fastai", "fastai", beside=True))


def keras() -> str:
    """TensorFlow lives alone."""
    return str(peer("keras", "tensorflow-cpu==2.21.0", "opencv-python-headless", "pandas"))


PEERS: dict[str, tuple[Callable[[], str], tuple[object, ...]]] = {
    "sklearn": (here, ("sklearn_logistic.py",)),
    "finetune-tail": (here, ("finetune_timm.py", "--train", "tail")),
    "finetune-all": (here, ("finetune_timm.py", "--train", "all")),
    "fastai": (fastai, ("fastai_finetune.py",)),
    "keras": (keras, ("keras_recipe.py", "--weights", WEIGHTS)),
    "keras-right-input": (keras, ("keras_recipe.py", "--weights", WEIGHTS, "--input", "right")),
}
OURS: dict[str, tuple[object, ...]] = {
    "headstart": (),
    "headstart-no-head-start": ("--pretrained-head", "off"),
    "headstart-head": ("--train", "head"),
    "headstart-mirror": ("--mirror", "on", "--size", "256"),
    "headstart-mobilenetv2": ("--model", WEIGHTS),
}


def labelled(data: str) -> list[tuple[Path, str]]:
    """Every picture with its label."""
    root = SHARED / data
    if (root / "labels.csv").exists():
        with (root / "labels.csv").open(newline="") as file:
            return [(root / "train" / f"{row['id']}.jpg", row["breed"]) for row in csv.DictReader(file)]
    return [(path, path.parent.name) for path in sorted(root.glob("*/*.jpg"))]


def table(data: str, part: int | None, seed: int, path: Path) -> Path:
    """What headstart is given: path, label, and a split where so few pictures need one that is made by hand."""
    by_label: dict[str, list[Path]] = defaultdict(list)
    for picture, label in labelled(data):
        by_label[label].append(picture)
    rows = [(picture, label, "") for label, found in by_label.items() for picture in found[:part]]
    if min(len(found[:part]) for found in by_label.values()) < 3:
        rows = one_to_train(by_label, random.Random(seed))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"] if rows[0][2] else ["path", "label"])
        writer.writerows(row if row[2] else row[:2] for row in rows)
    return path


def one_to_train(by_label: dict[str, list[Path]], chance: random.Random) -> list[tuple[Path, str, str]]:
    """A picture a class to train on; the others of half the classes validate, those of the other half test."""
    labels = sorted(by_label)
    tested = set(chance.sample(labels, len(labels) // 2))
    rows = []
    for label in labels:
        pictures = chance.sample(sorted(by_label[label]), len(by_label[label]))
        held_out = "test" if label in tested else "validation"
        rows += [(picture, label, held_out if number else "train") for number, picture in enumerate(pictures)]
    return rows


def split_of(manifest: Path, path: Path) -> Path:
    """The split that headstart made, for the peers."""
    import pyarrow.parquet as pq

    rows = pq.ParquetFile(manifest).read(["uri", "label", "split", "problem"]).to_pylist()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for row in rows:
            if row["problem"] is None:
                writer.writerow([row["uri"].removeprefix("file://"), row["label"], row["split"]])
    return path


def ours(data: str, labels: Path, folder: Path, seed: int, *words: object) -> tuple[Ran, dict[str, Any]]:
    """headstart from nothing."""
    where = ("--labels", labels, "--store", folder / "store", "--out", folder / "run", "--seed", seed)
    shares = () if "split" in labels.read_text().partition("\n")[0] else ("--validation", 0.2, "--test", 0.2)
    ran = run(HEADSTART, "fit", SHARED / data, *where, *shares, *words)
    return ran, json.loads((folder / "run" / "evaluation.json").read_text())


def theirs(name: str, split: Path, folder: Path, seed: int, epochs: int | None) -> tuple[Ran, dict[str, Any]]:
    """A peer from nothing, examined by the evaluator that headstart examines itself with."""
    python, (script, *words) = PEERS[name]
    few = ("--epochs", epochs) if epochs else ()
    given = ("--split", split, "--out", folder / name, "--seed", seed)
    ran = run(python(), HERE / "peers" / str(script), *words, *given, *few)
    # In a process of its own: what this one holds would be counted to the next child's memory.
    judge = run(here(), HERE / "peers" / "judge.py", split, folder / name / "test.npy")
    return ran, told(judge) | {"told": told(ran)}


def figures(ran: Ran, evaluation: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run."""
    kept = {name: round(evaluation[name]["value"], 4) for name in FIGURES}
    images = {"images": evaluation["images"], "told": evaluation.get("told")}
    return {**kept, "seconds": ran.seconds, "peak_gb": ran.peak_gb, **images}


def runs_so_far(place: Path) -> dict[Key, dict[str, Any]]:
    """Runs that an earlier call kept."""
    if not place.exists():
        return {}
    runs = json.loads(place.read_text())["runs"]
    return {(each["data"], each["part"], each["peer"], each["seed"]): each for each in runs}


def summary(runs: dict[Key, dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each data set, part and peer, over the seeds."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for (data, part, name, _), each in runs.items():
        groups[data, part, name].append(each)
    lines = []
    for (data, part, name), found in groups.items():
        line: dict[str, Any] = {"data": data, "part": part, "peer": name, "seeds": len(found)}
        line |= {what: spread([each[what] for each in found]) for what in (*FIGURES, "seconds", "peak_gb")}
        lines.append(line)
    return sorted(lines, key=lambda line: (line["data"], line["part"], -line["top1"]["median"]))


def show(lines: list[dict[str, Any]]) -> None:
    """As a table."""
    for line in lines:
        told_ = "  ".join(f"{what} {line[what]['median']:.4g}" for what in (*FIGURES, "seconds", "peak_gb"))
        print(f"{line['data']:16} {line['part']:>5} {line['peer']:24} {line['seeds']} seeds  {told_}")


def main() -> None:
    """Data set after data set, seed after seed, peer after peer."""
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--peers", nargs="+", choices=[*OURS, *PEERS], default=["headstart", *PEERS])
    parser.add_argument("--part", type=int, help="pictures a class; without it all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="of the peers that train by epochs, fewer for a trial")
    parser.add_argument("--keep", default="accuracy", metavar="NAME", help="of the result; another for another machine")
    parser.add_argument("--again", action="store_true", help="run also what is kept already")
    parser.add_argument("--show", action="store_true", help="run nothing")
    parser.add_argument("--quick", action="store_true", help="6 pictures a class of trash6, one seed, one epoch")
    given = parser.parse_args()
    if given.quick:
        given.data, given.part, given.seeds, given.epochs = ["trash6"], 6, 1, 1
    place = (TRIAL if given.quick else RESULTS) / f"{given.keep}.json"
    runs = {} if given.quick else runs_so_far(place)
    if given.show:
        show(summary(runs))
        return
    part = str(given.part or "all")
    for data in given.data:
        for seed in range(given.seeds):
            wanted = [name for name in given.peers if given.again or (data, part, name, seed) not in runs]
            if not wanted:
                continue
            folder = emptied("accuracy")
            labels = table(data, given.part, seed, folder / "labels.csv")
            first = ours(data, labels, folder / "split", seed)  # the split is drawn from content and seed alone
            split = split_of(folder / "split" / "run" / "manifest.parquet", folder / "split.csv")
            for name in wanted:
                if name == "headstart":
                    ran, evaluation = first
                elif name in OURS:
                    ran, evaluation = ours(data, labels, folder / name, seed, *OURS[name])
                else:
                    ran, evaluation = theirs(name, split, folder, seed, given.epochs)
                key = {"data": data, "part": part, "peer": name, "seed": seed}
                runs[data, part, name, seed] = key | figures(ran, evaluation)
                keep(given.keep, {"summary": summary(runs), "runs": list(runs.values())}, quick=given.quick, say=False)
                print(json.dumps(runs[data, part, name, seed]), flush=True)
    show(summary(runs))


if __name__ == "__main__":
    main()
