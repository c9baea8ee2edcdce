"""How long the studio makes a person wait, and how many labels it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Figures
from benchmarks.pages.markdown import figure, heading, image, table
from benchmarks.pages.plots import INK, OTHERS, OURS

RULES = {
    "diverse": "margin with k-means++ (as the page suggests)",
    "margin": "margin alone",
    "random": "random",
}
COLORS = {"diverse": OURS, "margin": "#d9822b", "random": OTHERS}
PLOT = "labels-needed.png"


def studio(result: Figures) -> list[str]:
    """Seconds from a label, and from an upload, to the accuracy."""
    rows = [
        [
            f"{name}: {each['images']:,} images, {each['classes']} classes",
            figure(each["seconds"], " s"),
            figure(each["seconds_to_open"], " s"),
        ]
        for name, each in result.items()
        if isinstance(each, dict) and "seconds_to_open" in each
    ]
    new = result["new"]
    steps = [
        [f"{new['images']} new images are uploaded", figure(new["uploaded"], " s")],
        ["the first accuracy is there", figure(new["first_accuracy"], " s")],
        ["all of them are learned", figure(new["all_learned"], " s")],
    ]
    return [
        *heading("Labelling in the studio", result),
        *table(
            [
                "features in the store",
                "from a label to the new accuracy",
                "from the first start to it, with reading the folder",
            ],
            rows,
        ),
        *table(["store empty, network loaded", "after"], steps),
    ]


def labels_needed(result: Figures) -> list[str]:
    """The labels that each rule needs."""
    rows = []
    for rule, title in RULES.items():
        if (found := result["rules"].get(rule)) is None:
            continue
        missed = f", not reached with {result['most']:,} labels in {found['not_reached']}" * bool(found["not_reached"])
        rows.append([title, f"{figure(found['labels'])}{missed}", *_accuracies(found["curves"], (100, 200, 300, 400))])
    head = [
        "which images are labeled",
        f"labels for {result['target']:.0%}",
        *(f"with {n}" for n in (100, 200, 300, 400)),
    ]
    return [
        *heading("Labels needed", result),
        f"Median of {result['seeds']} seeds (minimum to maximum), and the mean accuracy on the held-out fifth "
        f"of trash6 with some numbers of labels, {result['batch']} of which are given at a time.",
        "",
        *table(head, rows),
        *image("Accuracy over the number of labels", PLOT),
    ]


def draw_labels_needed(result: Figures, folder: Path) -> None:
    """The mean accuracy over the number of labels, with the range of the seeds, as far as all of them go."""
    from matplotlib.figure import Figure

    plot = Figure(figsize=(8, 4.2), layout="constrained")
    axes = plot.subplots()
    for rule, title in RULES.items():
        if rule not in result["rules"]:
            continue
        counts, values = _aligned(result["rules"][rule]["curves"])
        axes.plot(counts, 100 * values.mean(0), color=COLORS[rule], label=title)
        axes.fill_between(counts, 100 * values.min(0), 100 * values.max(0), color=COLORS[rule], alpha=0.12, linewidth=0)
    axes.axhline(100 * result["target"], color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlabel("labels")
    axes.set_ylabel("accuracy on the held-out fifth, %")
    axes.set_title(
        "trash6: accuracy over labels, by the rule that chooses the images", loc="left", fontsize=10, color=INK
    )
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    plot.savefig(folder / PLOT, dpi=110)


def _aligned(curves: list[list[list[float]]]) -> tuple[list[int], np.ndarray[Any, Any]]:
    """Numbers of labels and accuracies (seeds, numbers), as far as the shortest curve goes."""
    length = min(map(len, curves))
    return [int(count) for count, _ in curves[0][:length]], np.array([[y for _, y in each[:length]] for each in curves])


def _accuracies(curves: list[list[list[float]]], wanted: tuple[int, ...]) -> list[str]:
    counts, values = _aligned(curves)
    means = dict(zip(counts, values.mean(0).tolist(), strict=True))
    return [f"{means[count]:.1%}" if count in means else "—" for count in wanted]
