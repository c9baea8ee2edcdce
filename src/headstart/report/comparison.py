"""A comparison of runs as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headstart.data.value_range import ValueRange
from headstart.evaluate.comparison import ChangedImage, ComparedPair, ComparedRun, Comparison
from headstart.evaluate.paired import PairedCounts
from headstart.evaluate.schema import Interval
from headstart.files import write_text
from headstart.report.formatting import path_shortener, percent, plain
from headstart.report.page import template_environment
from headstart.report.thumbnails import Thumbnails

__all__ = [
    "METRICS",
    "Metric",
    "facts",
    "is_comparison_page",
    "p_value",
    "render_comparison",
    "signed",
    "write_comparison",
]

MARK = '<meta name="generator" content="headstart compare">'
MAX_IMAGES = 240  # on the page, shared among the runs, so that it stays below 5 MB
MOST, LEAST = 24, 6  # images of one kind beside one run
MINUS = "\u2212"


@dataclass(frozen=True)
class Metric:
    """A figure that is compared."""

    key: str  # of Figures and Differences
    name: str
    text: str
    higher_is_better: bool
    percentage: bool

    def value(self, figure: float) -> str:
        """A figure as text.

        >>> METRICS[0].value(0.931)
        '93.1\\u202f%'
        """
        return percent(figure) if self.percentage else f"{figure:.3f}"

    def difference(self, figure: float) -> str:
        """A difference as text: of percentages, in percentage points.

        >>> METRICS[0].difference(-0.012), METRICS[3].difference(0.0321)
        ('\\u22121.2', '+0.032')
        """
        return signed(100 * figure, 1) if self.percentage else signed(figure, 3)

    def verdict(self, interval: Interval) -> str:
        """Whether the whole interval is on one side of zero: "better" or "worse" than the baseline, or "unclear".

        >>> METRICS[3].verdict(Interval(0.03, 0.01, 0.05)), METRICS[0].verdict(Interval(-0.01, -0.03, 0.01))
        ('worse', 'unclear')
        """
        if interval.low <= 0 <= interval.high:
            return "unclear"
        return "better" if (interval.low > 0) == self.higher_is_better else "worse"


METRICS = (
    Metric("accuracy", "Accuracy", "higher is better; differences in percentage points", True, True),
    Metric("balanced_accuracy", "Balanced accuracy", "mean recall of the classes; higher is better", True, True),
    Metric("top5", "Top-5 accuracy", "the true class is among the five most probable; higher is better", True, True),
    Metric("log_loss", "Log loss", "nats; lower is better", False, False),
    Metric("brier", "Brier score", "lower is better", False, False),
    Metric("ece", "Calibration error", "gap between confidence and accuracy; lower is better", False, True),
)


def signed(number: float, digits: int) -> str:
    """Format a difference with its sign; zero has none.

    >>> signed(-1.234, 1), signed(0.5, 3), signed(-0.0001, 2)
    ('\\u22121.2', '+0.500', '0.00')
    """
    text = f"{abs(number):.{digits}f}"
    if float(text) == 0:
        return text
    return ("+" if number > 0 else MINUS) + text


def facts(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """What is known of the runs beside their figures: (name, one text per run); what no run knows is left out."""
    rows: list[tuple[str, Callable[[ComparedRun], str | None]]] = [
        ("model", lambda run: run.model),
        ("trained", lambda run: run.train),
        ("training images", lambda run: _count(run.training_images)),
        ("evaluated images", lambda run: f"{run.images:,} ({run.split})"),
        ("parameters", lambda run: _count(run.parameters)),
        ("trained parameters", lambda run: _count(run.trainable_parameters)),
        ("classifier on disk", lambda run: None if run.classifier_bytes is None else _size(run.classifier_bytes)),
        ("duration of the fit", _duration),
        ("images per second", lambda run: None if run.images_per_second is None else f"{run.images_per_second:,.0f}"),
    ]
    found = [(name, [text(run) for run in comparison.runs]) for name, text in rows]
    return [(name, ["–" if text is None else text for text in texts]) for name, texts in found if any(texts)]


def _duration(run: ComparedRun) -> str | None:
    """The seconds of a fit, and those that a fit with the features in the store is spared."""
    if run.seconds is None:
        return None
    features = run.seconds_by_stage.get("features")
    return f"{run.seconds:,.1f} s" + ("" if features is None else f" (features {features:,.1f} s)")


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _size(size: int) -> str:
    """Bytes for people: decimal megabytes.

    >>> _size(14_210_000), _size(2_000)
    ('14.2 MB', '0.002 MB')
    """
    megabytes = size / 1e6
    return f"{megabytes:,.1f} MB" if megabytes >= 0.1 else f"{megabytes:.3f} MB"


def write_comparison(comparison: Comparison, path: Path, *, value_ranges: Sequence[ValueRange] = ()) -> Path:
    """Write the page of a comparison and return its path.

    :param value_ranges: black and white of pixels that are not 8-bit.
    """
    write_text(path, render_comparison(comparison, Thumbnails(value_ranges)))
    return path


def is_comparison_page(path: Path) -> bool:
    """Whether a file is what :func:`write_comparison` wrote."""
    with path.open("rb") as file:
        return MARK.encode() in file.read(4096)


def render_comparison(comparison: Comparison, thumbnails: Thumbnails) -> str:
    """Render the page; the same comparison and images give the same text."""
    most = max(LEAST, min(MOST, MAX_IMAGES // (2 * max(1, len(comparison.pairs)))))
    pairs = [_sides(pair, comparison.images, most) for pair in comparison.pairs]
    thumbnails.load(image.uri for pair in pairs for changes in pair.changes for image in changes.images)
    environment = template_environment("headstart.report")
    every = [image.uri for pair in comparison.pairs for image in (*pair.gained, *pair.lost)]
    environment.filters.update(plain=plain, path=path_shortener(every))
    environment.globals.update(thumbnails=thumbnails)
    macros = environment.get_template("macros.jinja").module
    environment.globals.update(image=macros.image)  # type: ignore[attr-defined]
    return environment.get_template("comparison.html.jinja").render(
        mark=MARK,
        comparison=comparison,
        metrics=[_table(metric, comparison) for metric in METRICS if comparison.has(metric.key)],
        pairs=pairs,
        facts=facts(comparison),
    )


@dataclass(frozen=True)
class _Row:
    """A run in the table of one metric; without a difference for the baseline and for runs that are not compared."""

    run: ComparedRun
    value: str
    difference: str | None = None
    bounds: str = ""
    verdict: str = ""
    place: Interval | None = (
        None  # of the difference and its bounds: percent of the width of the bar, whose middle is 0
    )


@dataclass(frozen=True)
class _Table:
    metric: Metric
    rows: tuple[_Row, ...]


def _table(metric: Metric, comparison: Comparison) -> _Table:
    found: dict[str, Interval] = {pair.run: getattr(pair.differences, metric.key) for pair in comparison.pairs}
    reach = max((abs(bound) for each in found.values() for bound in (each.low, each.high)), default=0.0) or 1.0
    return _Table(metric, tuple(_row(metric, run, found.get(run.name), reach) for run in comparison.runs))


def _row(metric: Metric, run: ComparedRun, interval: Interval | None, reach: float) -> _Row:
    value = metric.value(getattr(run.figures, metric.key))
    if interval is None:
        return _Row(run, value)
    place = Interval(*(50 + 50 * bound / reach for bound in (interval.value, interval.low, interval.high)))
    bounds = f"{metric.difference(interval.low)} to {metric.difference(interval.high)}"
    return _Row(run, value, metric.difference(interval.value), bounds, metric.verdict(interval), place)


@dataclass(frozen=True)
class _Changes:
    """Images that changed sides in one direction."""

    kind: Literal["lost", "gained"]
    images: tuple[ChangedImage, ...]  # those that are shown
    total: int


@dataclass(frozen=True)
class _Sides:
    """The images that changed sides between a run and the baseline."""

    run: str
    counts: PairedCounts
    p: str
    shares: tuple[tuple[str, float], ...]  # (kind, percent of the images)
    changes: tuple[_Changes, ...]


def _sides(pair: ComparedPair, images: int, most: int) -> _Sides:
    counts = pair.differences.counts
    kinds = (("both", counts.both), ("gained", counts.first), ("lost", counts.second), ("neither", counts.neither))
    return _Sides(
        run=pair.run,
        counts=counts,
        p=p_value(pair.differences.p_value),
        shares=tuple((kind, 100 * count / images) for kind, count in kinds),
        changes=(
            _Changes("lost", pair.lost[:most], len(pair.lost)),
            _Changes("gained", pair.gained[:most], len(pair.gained)),
        ),
    )


def p_value(p: float) -> str:
    """Format a p-value.

    >>> p_value(0.0391), p_value(0.4), p_value(1e-9)
    ('= 0.039', '= 0.40', '< 0.001')
    """
    if p < 0.001:
        return "< 0.001"
    return f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"
