"""From a run folder to its page."""

from __future__ import annotations

from pathlib import Path

from headstart.report import write_report

__all__ = ["report"]


def report(run: Path) -> Path:
    """Write ``report.html`` from the other files of the run folder.

    :raises RunError: one of them is missing or damaged.
    """
    return write_report(run)
