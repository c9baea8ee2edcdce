"""Which labels ``headstart check`` calls wrong, where it is known which are, beside cleanlab.

    python -m benchmarks.accuracy.wrong_labels [--seeds 5] [--peers headstart confident-joint cleanlab] [--quick]

Of dogs120, 100 images get a breed drawn at random, and 100 others the breed whose mean features are most similar to
their own. ``precision at 80`` is the share of these among the images that are listed first, where 80 % of them are
found; those of the other kind are left out of the count. The set has wrong labels of its own. The 108 images that are
listed first without any label changed were looked at; wrong_labels_judged.csv says which labels are wrong by eye. In
the figures ``with judged`` these count as found, in the others as errors.

``confident-joint`` chooses from the same probabilities as confident learning does: the images whose likeliest class, of
those that are at least as probable as is usual for their own images, is not the label. The peer is cleanlab as its
documentation describes it: probabilities from a cross-validated logistic regression of scikit-learn on the same
features, ranked by self-confidence.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from benchmarks.datasets import labeled_images
from benchmarks.harness import HERE, Figures, earlier, empty_folder, peer_python, run, save, spread
from numpy.typing import NDArray

if TYPE_CHECKING:
    from headstart.data.issues import OutOfFold

PEERS = ("headstart", "confident-joint", "cleanlab")
KINDS = ("drawn at random", "most similar breed")
RECALLS = (60, 80, 90)
PER_KIND = 100
JUDGED = Path(__file__).with_name("wrong_labels_judged.csv")


def change_labels(
    vectors: NDArray[np.float32], targets: NDArray[np.int64], seed: int, per_kind: int
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """The labels with known errors, and the rows of each kind of them."""
    rng, classes = np.random.default_rng(seed), int(targets.max()) + 1
    rows, changed = rng.permutation(len(targets))[: 2 * per_kind], targets.copy()
    at_random, similar = rows[:per_kind], rows[per_kind:]
    changed[at_random] = (targets[at_random] + rng.integers(1, classes, size=per_kind)) % classes
    means = np.stack([vectors[targets == number].mean(0) for number in range(classes)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cosines = means @ means.T
    np.fill_diagonal(cosines, -1)
    changed[similar] = cosines.argmax(1)[targets[similar]]
    return changed, [at_random, similar]


def precision_at(
    listed: NDArray[np.int64],
    wanted: NDArray[np.int64],
    others: NDArray[np.int64],
    judged: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """For each recall the share of wanted rows among those listed until then; 0 where it is not reached.

    :param judged: rows that count as found as well, but not for the recall.
    """
    listed = listed[~np.isin(listed, others)]
    found = np.isin(listed, wanted).cumsum()
    right = found if judged is None else np.isin(listed, np.union1d(wanted, judged)).cumsum()
    places = {recall: int(np.searchsorted(found, recall * len(wanted) / 100)) for recall in RECALLS}
    return {
        f"precision at {recall}": float(right[place] / (place + 1)) if place < len(found) else 0.0
        for recall, place in places.items()
    }


def judged_wrong(uris: list[str]) -> NDArray[np.int64]:
    """The rows of images whose own label is wrong by eye."""
    with JUDGED.open(newline="") as file:
        wrong = {row["image"] for row in csv.DictReader(file) if row["verdict"] == "wrong"}
    return np.flatnonzero([Path(uri).stem in wrong for uri in uris])


def main() -> None:
    """Seed by seed, on one set of features."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--peers", nargs="+", choices=PEERS, default=list(PEERS), help="keep the saved figures of others"
    )
    parser.add_argument("--quick", action="store_true", help="20 breeds, one seed, headstart alone")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.peers = 1, ["headstart"]
    from headstart.config import FitSettings
    from headstart.data.issues.wrong_labels import likely_wrong
    from headstart.data.manifest import Manifest
    from headstart.events import Events
    from headstart.workflow.image_features import open_network, predict_out_of_fold
    from headstart.workflow.reading import inspect_images

    folder, events = empty_folder("wrong-labels"), Events()
    rows = labeled_images("dogs120")
    if given.quick:
        rows = [row for row in rows if row[1] in set(sorted({label for _, label in rows})[:20])]
    settings = FitSettings.of(cache_dir=str(folder / "store"))
    manifest = Manifest.from_rows([path for path, _ in rows], labels=[label for _, label in rows])
    images = inspect_images(manifest, settings, events=events)
    classes, targets = images.classes, images.targets(images.classes)
    network = open_network(images, settings, events=events)
    vectors = np.asarray(network.features(images, events=events), np.float32)
    own = judged_wrong(images.uris)
    figures = earlier("accuracy/wrong_labels", [peer for peer in PEERS if peer not in given.peers])
    lines: dict[str, list[Figures]] = {peer: [] for peer in given.peers}
    for seed in range(given.seeds):
        changed, kinds = change_labels(vectors, targets, seed, PER_KIND // (5 if given.quick else 1))
        for peer in given.peers:
            start = time.monotonic()
            if peer != "cleanlab":
                labeled = images.with_column("label", [classes[number] for number in changed])
                found = predict_out_of_fold(labeled, vectors, network, settings, events=events)
                assert found is not None
                listed = likely_wrong(found)[0] if peer == "headstart" else confident_joint(found)
            else:
                listed = cleanlab(vectors, changed, folder)
            line: Figures = {"seconds": time.monotonic() - start, "listed": len(listed)}
            for name, wanted, others in zip(KINDS, kinds, kinds[::-1], strict=True):
                line[name] = precision_at(listed, wanted, others)
                line[f"{name}, with judged"] = precision_at(listed, wanted, others, own)
            lines[peer].append(line)
            print(seed, peer, line, flush=True)
    for peer, found_lines in lines.items():
        figures[peer] = {
            **{name: spread([line[name] for line in found_lines]) for name in ("seconds", "listed")},
            **{
                kind: {key: spread([line[kind][key] for line in found_lines]) for key in found_lines[0][kind]}
                for kind in found_lines[0]
                if kind.startswith(KINDS)
            },
            "seeds": len(found_lines),
        }
    save("accuracy/wrong_labels", figures, quick=given.quick)


def confident_joint(found: OutOfFold) -> NDArray[np.int64]:
    """The rows off the diagonal of the confident joint (Northcutt et al. 2021), the least probable label first."""
    probabilities, targets = found.probabilities, found.targets
    of_label = probabilities[np.arange(len(targets)), targets]
    thresholds = np.bincount(targets, of_label) / np.bincount(targets)
    confident = np.where(probabilities >= thresholds, probabilities, 0)
    rows = np.flatnonzero((confident.max(1) > 0) & (confident.argmax(1) != targets))
    return rows[np.argsort(of_label[rows])]


def cleanlab(vectors: NDArray[np.float32], targets: NDArray[np.int64], folder: Path) -> NDArray[np.int64]:
    """The rows that cleanlab lists, the worst first."""
    np.savez(folder / "given.npz", vectors=vectors, targets=targets)
    python = peer_python("cleanlab", "cleanlab==2.9.0", shared=False)
    run(python, HERE / "peers" / "cleanlab_labels.py", folder / "given.npz", folder / "listed.npy")
    return np.load(folder / "listed.npy")  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
