"""From a run folder to its report. No torch."""

from __future__ import annotations

from pathlib import Path

from headstart.report import write_report

__all__ = ["report"]


def report(run: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    :raises RunError: a file of the run is missing or damaged.
    """
    return write_report(run)
