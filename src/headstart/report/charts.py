"""Charts as PNG: labeled images, an image with its predictions, training history, and models by accuracy and speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.decode import decode
from headstart.data.formats import PLOT_SOFTWARE
from headstart.evaluate.schema import EpochRecord, Interval
from headstart.files import atomic_write
from headstart.report.history import one_trial
from headstart.report.svg import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["history_plot", "rank_plot", "sheet", "top_k_plot"]

ImageLike: TypeAlias = "Image.Image | Path | str | bytes | npt.NDArray[Any]"

# The colors of the page on white.
INK, QUIET, TRACK, GOOD, BAD = "#1b1d21", "#8a8d94", "#ecebe8", "#0a7f5f", "#c64a1a"
_MEASURES = (("loss", 1, "log loss"), ("accuracy", 100, "accuracy, %"))


def sheet(images: Sequence[ImageLike], labels: Sequence[str], path: Path) -> Path:
    """Write a PNG of images in a grid, each below its label, and return its path.

    :param images: Pillow images, or what :func:`headstart.data.decode.decode` accepts.
    :param labels: one per image.
    :raises ImageProblem: an image cannot be read.
    :raises ValueError: the numbers of images and labels differ.
    """
    columns = max(1, min(6, math.ceil(math.sqrt(len(images)))))
    rows = max(1, math.ceil(len(images) / columns))
    figure = _figure(2 * columns, 2.3 * rows)
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        axes = figure.add_subplot(rows, columns, place + 1)
        _show(axes, image)
        _write(axes.set_title, shortened(label, most=24), fontsize=9, color=INK)
    return _save(figure, path)


def top_k_plot(
    image: ImageLike,
    names: Sequence[str],
    probabilities: Sequence[float],
    *,
    path: Path,
    true: str | None = None,
    k: int = 5,
) -> Path:
    """Write a PNG of an image beside a bar chart of its ``k`` most probable classes, and return its path.

    :param names: class names, in any order.
    :param probabilities: one per class.
    :param true: the true class: its bar is green, and the first bar is red if it is another class.
    :raises ImageProblem: the image cannot be read.
    :raises ValueError: the numbers of names and probabilities differ.
    """
    best = sorted(zip(names, probabilities, strict=True), key=lambda item: -item[1])[:k]
    figure = _figure(7.5, 3)
    left, bars = figure.subplots(1, 2, width_ratios=(1, 1.3))
    _show(left, image)
    colors = [
        GOOD if name == true else BAD if true is not None and row == 0 else QUIET for row, (name, _) in enumerate(best)
    ]
    bars.barh(range(len(best)), 100, color=TRACK, height=0.18)
    bars.barh(range(len(best)), [100 * value for _, value in best], color=colors, height=0.18)
    for row, (name, value) in enumerate(best):
        _write(bars.annotate, shortened(name, most=40), xy=(0, row - 0.22), fontsize=10, color=INK)
        bars.annotate(f"{100 * value:.1f} %", (100, row - 0.22), fontsize=10, color=INK, ha="right")
    bars.set(xlim=(0, 100), ylim=(len(best) - 0.7, -0.9))
    bars.axis("off")
    return _save(figure, path)


def history_plot(history: Sequence[EpochRecord], path: Path) -> Path:
    """Write a PNG of training and validation loss and accuracy per epoch of fine-tuning, and return its path.

    The epoch whose weights were kept is marked. Of several trials, the one with the lowest validation loss is drawn.

    :param history: as in ``history.jsonl`` and ``ImageClassifier.history_``.
    :raises ValueError: there is no epoch of fine-tuning, because only a head was solved.
    """
    lines = [line for line in one_trial(history) if line.stage == "finetune"]
    if not lines:
        raise ValueError("history has no epoch of fine-tuning: only a head was solved, see the report of the run")
    figure = _figure(8, 3.2)
    epochs = [line.epoch for line in lines]
    for axes, (name, scale, title) in zip(figure.subplots(1, 2), _MEASURES, strict=True):
        for key, color, label in ((name, QUIET, "training"), (f"val_{name}", GOOD, "validation")):
            values = [scale * getattr(line, key) for line in lines]
            axes.plot(epochs, values, color=color, marker="o", markersize=3, label=label)
        kept = [(line.epoch, scale * getattr(line, f"val_{name}")) for line in lines if line.chosen]
        if kept:
            axes.scatter(*zip(*kept, strict=True), s=60, facecolors="none", edgecolors=INK, label="kept")
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        axes.set_xlabel("epoch", color=INK)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def rank_plot(
    names: Sequence[str],
    milliseconds: Sequence[float],
    accuracies: Sequence[Interval],
    path: Path,
    *,
    dropped: Sequence[bool],
) -> Path:
    """Write a PNG of models by accuracy, with 95 % intervals, over milliseconds per image, and return its path.

    Models that were ``dropped`` early were evaluated on fewer images, so that their accuracy is not fully comparable;
    their markers are hollow.
    """
    figure = _figure(8, 5)
    axes = figure.add_subplot()
    rows = list(zip(names, milliseconds, accuracies, dropped, strict=True))
    for name, speed, accuracy, hollow in rows:
        color = QUIET if hollow else GOOD
        low, value, high = 100 * accuracy.low, 100 * accuracy.value, 100 * accuracy.high
        face = "white" if hollow else color
        axes.errorbar(
            speed, value, yerr=[[value - low], [high - value]], fmt="o", color=color, mfc=face, elinewidth=1, capsize=2
        )
        _write(axes.annotate, name, xy=(speed, value), xytext=(6, 5), textcoords="offset points", fontsize=8, color=INK)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.tick_params(which="both", labelsize=8, colors=INK)
    axes.margins(x=0.1)
    left, right = axes.get_xlim()
    axes.set_xlim(left, right * (right / left) ** 0.2)  # room for the last name
    axes.set_xlabel("milliseconds per image on this machine, network only", color=INK)
    axes.set_ylabel("validation accuracy of the head, %", color=INK)
    axes.grid(visible=True, which="both", color=TRACK, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if any(dropped):
        axes.set_title("hollow: dropped early, evaluated on fewer images", fontsize=8, color=QUIET, loc="left")
    return _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")


def _show(axes: Axes, image: ImageLike) -> None:
    axes.imshow(np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else decode(image)))
    axes.axis("off")


def _write(put: Any, text: str, **style: Any) -> None:
    """Write text in fonts that have its characters; a character that no installed font has becomes a box."""
    known, families = _fonts(text)
    put(
        "".join(character if character in known else "□" for character in text),
        family=families,
        parse_math=False,
        **style,
    )


@lru_cache(maxsize=1024)
def _fonts(text: str) -> tuple[frozenset[str], list[str]]:
    """Return the characters that installed fonts have, and the families to use: DejaVu Sans first."""
    from matplotlib import font_manager

    missing = set(text)
    families = []
    # Last Resort has a symbol of the script for every character, which is unreadable.
    fonts = [font for font in font_manager.fontManager.ttflist if not font.name.startswith("Last Resort")]
    for font in sorted(fonts, key=lambda font: (font.name != "DejaVu Sans", font.name)):
        found = missing & _characters(font.fname)
        if found:
            families.append(font.name)
            missing -= found
        if not missing:
            break
    return frozenset(set(text) - missing), families or ["DejaVu Sans"]


@lru_cache(maxsize=1024)
def _characters(path: str) -> frozenset[str]:
    from matplotlib.font_manager import get_font

    return frozenset(map(chr, get_font(path).get_charmap()))


def _save(figure: Figure, path: Path) -> Path:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": PLOT_SOFTWARE})
    return path
