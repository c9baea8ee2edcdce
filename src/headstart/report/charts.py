"""Single pictures as PNG: images with their labels, an image beside its first guesses, the epochs of a training,
networks by what they reach.
"""

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
from headstart.evaluate.intervals import Interval
from headstart.files import replacing
from headstart.report.figures import one_rung
from headstart.report.svg import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["history_plot", "rank_plot", "sheet", "top_k_plot"]

Picture: TypeAlias = "Image.Image | Path | str | bytes | npt.NDArray[Any]"

# The page's colours on white.
INK, QUIET, TRACK, GOOD, BAD = "#1b1d21", "#8a8d94", "#ecebe8", "#0a7f5f", "#c64a1a"
_MEASURES = (("loss", 1, "log-loss"), ("accuracy", 100, "accuracy, %"))


def sheet(images: Sequence[Picture], labels: Sequence[str], path: Path) -> Path:
    """Write a PNG of images in a grid, each under its label, and return its path.

    ``images`` are what :func:`headstart.data.decode.decode` takes, or Pillow's; ``labels`` one for each. Raises
    :class:`~headstart.errors.ImageProblem` for an image that cannot be read, ValueError where the numbers differ.
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
    image: Picture,
    names: Sequence[str],
    shares: Sequence[float],
    *,
    path: Path,
    true: str | None = None,
    k: int = 5,
) -> Path:
    """Write a PNG of an image beside bars in percent of its ``k`` most probable classes, and return its path.

    ``names`` and ``shares`` (0 to 1) are one a class, in any order. With ``true`` given, its bar is green, and the
    first one red where it is another. Raises as :func:`sheet` does.
    """
    best = sorted(zip(names, shares, strict=True), key=lambda item: -item[1])[:k]
    figure = _figure(7.5, 3)
    picture, bars = figure.subplots(1, 2, width_ratios=(1, 1.3))
    _show(picture, image)
    colours = [
        GOOD if name == true else BAD if true is not None and row == 0 else QUIET for row, (name, _) in enumerate(best)
    ]
    bars.barh(range(len(best)), 100, color=TRACK, height=0.18)
    bars.barh(range(len(best)), [100 * share for _, share in best], color=colours, height=0.18)
    for row, (name, share) in enumerate(best):
        _write(bars.annotate, shortened(name, most=40), xy=(0, row - 0.22), fontsize=10, color=INK)
        bars.annotate(f"{100 * share:.1f} %", (100, row - 0.22), fontsize=10, color=INK, ha="right")
    bars.set(xlim=(0, 100), ylim=(len(best) - 0.7, -0.9))
    bars.axis("off")
    return _save(figure, path)


def history_plot(history: Sequence[dict[str, Any]], path: Path) -> Path:
    """Write a PNG of loss and accuracy over the epochs, of training and of validation, and return its path.

    ``history`` has a line an epoch, as ``history.jsonl`` and ``ImageClassifier.history_`` have it; the epoch whose
    weights were kept is marked. Of several rungs of the ladder the one with the lowest validation loss is drawn.
    ValueError: none of its lines is of an epoch, as where the head alone was solved.
    """
    lines = [line for line in one_rung(history) if line["stage"] == "tail"]
    if not lines:
        raise ValueError("the history tells of no epoch: the head alone was solved, whose path the report draws")
    figure = _figure(8, 3.2)
    epochs = [line["epoch"] for line in lines]
    for axes, (name, scale, title) in zip(figure.subplots(1, 2), _MEASURES, strict=True):
        for key, colour, label in ((name, QUIET, "training"), (f"val_{name}", GOOD, "validation")):
            values = [scale * line[key] for line in lines]
            axes.plot(epochs, values, color=colour, marker="o", markersize=3, label=label)
        kept = [(line["epoch"], scale * line[f"val_{name}"]) for line in lines if line.get("chosen")]
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
    """Write a PNG of networks by accuracy, with 95 % intervals, against milliseconds an image; return its path.

    Those ``dropped`` were tried on fewer images: their accuracy is not quite comparable, and they are drawn hollow.
    """
    figure = _figure(8, 5)
    axes = figure.add_subplot()
    rows = list(zip(names, milliseconds, accuracies, dropped, strict=True))
    for name, speed, share, hollow in rows:
        colour = QUIET if hollow else GOOD
        low, value, high = (100 * share[key] for key in ("low", "value", "high"))
        face = "white" if hollow else colour
        axes.errorbar(
            speed, value, yerr=[[value - low], [high - value]], fmt="o", color=colour, mfc=face, elinewidth=1, capsize=2
        )
        _write(axes.annotate, name, xy=(speed, value), xytext=(6, 5), textcoords="offset points", fontsize=8, color=INK)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.tick_params(which="both", labelsize=8, colors=INK)
    axes.margins(x=0.1)
    left, right = axes.get_xlim()
    axes.set_xlim(left, right * (right / left) ** 0.2)  # room for the last name
    axes.set_xlabel("milliseconds an image on this machine, the network alone", color=INK)
    axes.set_ylabel("validation accuracy of a solved head, %", color=INK)
    axes.grid(visible=True, which="both", color=TRACK, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if any(dropped):
        axes.set_title("hollow: dropped early, on fewer images", fontsize=8, color=QUIET, loc="left")
    return _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")


def _show(axes: Axes, image: Picture) -> None:
    axes.imshow(np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else decode(image)))
    axes.axis("off")


def _write(put: Any, text: str, **style: Any) -> None:
    """Put a text on a figure in fonts that have its letters; a letter that no installed font has becomes a box."""
    known, families = _fonts(text)
    put("".join(letter if letter in known else "□" for letter in text), family=families, parse_math=False, **style)


@lru_cache(maxsize=1024)
def _fonts(text: str) -> tuple[frozenset[str], list[str]]:
    """The letters of a text that installed fonts have, and the families to take them from: DejaVu Sans first."""
    from matplotlib import font_manager

    missing = set(text)
    families = []
    # Last Resort has a picture of the script for every letter: no help to a reader.
    fonts = [font for font in font_manager.fontManager.ttflist if not font.name.startswith("Last Resort")]
    for font in sorted(fonts, key=lambda font: (font.name != "DejaVu Sans", font.name)):
        found = missing & _letters(font.fname)
        if found:
            families.append(font.name)
            missing -= found
        if not missing:
            break
    return frozenset(set(text) - missing), families or ["DejaVu Sans"]


@lru_cache(maxsize=1024)
def _letters(path: str) -> frozenset[str]:
    from matplotlib.font_manager import get_font

    return frozenset(map(chr, get_font(path).get_charmap()))


def _save(figure: Figure, path: Path) -> Path:
    with replacing(path) as beside:
        figure.savefig(beside, format="png")
    return path
