"""A comparison as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.evaluate.comparison import ComparedPair, ComparedRun, Comparison
from headstart.report.comparison import METRICS, Metric, facts, p_value
from headstart.report.formatting import plain

__all__ = ["comparison_lines"]

_SHOWN = ("accuracy", "log_loss", "ece")  # the page has all
_PLAIN = str.maketrans({"\N{NARROW NO-BREAK SPACE}": None, "\N{MINUS SIGN}": "-", "–": "-"})
_WIDEST = 40  # columns of a cell


def comparison_lines(comparison: Comparison) -> list[str]:
    """Tables of the figures, of the images that changed sides, and of what differs between the runs."""
    pairs = {pair.run: pair for pair in comparison.pairs}
    shown = [metric for metric in METRICS if metric.key in _SHOWN]
    figures = [["run", *(metric.name.lower() for metric in shown)]]
    figures += [_figures(run, pairs.get(run.name), comparison.baseline, shown) for run in comparison.runs]
    lines = [
        f"{comparison.images:,} shared images, {comparison.classes:,} classes; differences from {comparison.baseline} "
        "with paired 95 % intervals, those of accuracy and calibration error in percentage points",
        "",
        *_table(figures),
    ]
    if pairs:
        changes = [["changed sides", "gained", "lost", "right in both", "wrong in both", "McNemar's exact test"]]
        lines += ["", *_table([*changes, *(_changes(pair) for pair in comparison.pairs)])]
    differing = [["differs", *(run.name for run in comparison.runs)]]
    differing += [[name, *texts] for name, texts in facts(comparison)]
    differing += [[row.name, *map(plain, row.values)] for row in comparison.settings]
    return [*lines, "", *_table(differing)]


def _figures(run: ComparedRun, pair: ComparedPair | None, baseline: str, shown: Sequence[Metric]) -> list[str]:
    name = f"{run.name} (baseline)" if run.name == baseline else run.name
    values = [metric.value(getattr(run.figures, metric.key)) for metric in shown]
    if not run.fair:
        return [f"{name} (fitted to them, not compared)", *(f"({value})" for value in values)]
    if pair is None:
        return [name, *values]
    cells = []
    for metric, value in zip(shown, values, strict=True):
        found = getattr(pair.differences, metric.key)
        low, high = metric.difference(found.low), metric.difference(found.high)
        cells.append(f"{value} {metric.difference(found.value)} ({low} to {high})")
    return [name, *cells]


def _changes(pair: ComparedPair) -> list[str]:
    counts = pair.differences.counts
    numbers = (counts.first, counts.second, counts.both, counts.neither)
    return [pair.run, *(f"{number:,}" for number in numbers), f"p {p_value(pair.differences.p_value)}"]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns.

    >>> _table([["a", "long"], ["longer", "b"]])
    ['a       long', 'longer  b']
    """
    cells = [[_cut(cell.translate(_PLAIN)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cut(cell: str) -> str:
    return cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST - 1]}…"
