"""Figures, tables and headings as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Figures


@dataclass(frozen=True)
class Section:
    """How one result is shown on its page."""

    text: Callable[[Figures], list[str]]
    draw: Callable[[Figures, Path], None] | None = None  # its plots, into a folder


def number(value: float) -> str:
    """Three significant digits, without powers of ten.

    >>> number(0.12345), number(12345.6)
    ('0.123', '12,346')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def figure(value: Figures | float | None, unit: str = "", scale: float = 1) -> str:
    """A median with its range; the range is left out where it has no width.

    >>> figure({"median": 2.0, "low": 1.5, "high": 2.25}, " s")
    '2 s (1.5 to 2.25)'
    """
    if value is None:
        return "—"
    if not isinstance(value, dict):
        return f"{number(value * scale)}{unit}"
    median, low, high = (number(value[name] * scale) for name in ("median", "low", "high"))
    return f"{median}{unit}" + (f" ({low} to {high})" if low != high else "")


def percent(value: Figures) -> str:
    """A median share with its range, as percent."""
    return figure(value, " %", 100)


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A table, and an empty line."""
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows), ""]


def machine_of(result: Figures) -> str:
    """Where a result was measured."""
    machine = result["machine"]
    return str(result.get("gpu") or machine.get("gpu") or f"{machine['cores']} cores of {machine['processor']}")


def heading(title: str, result: Figures) -> list[str]:
    """What was measured, with the command, the date and the machine, and what is to be known of how it was."""
    note = [str(result["note"]), ""] if "note" in result else []
    return [f"## {title}", "", f"`{result['command']}`, {result['date']}, {machine_of(result)}.", "", *note]


def image(title: str, name: str) -> list[str]:
    """A plot, seen from the page of a folder."""
    return [f"![{title}](../plots/{name})", ""]
