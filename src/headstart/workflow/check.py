"""Look at images and labels before training: what may be wrong with them, as tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from headstart.config import FitSettings
from headstart.data.issues import CheckedImages, Issue, find_issues
from headstart.data.issues.tables import write_issues
from headstart.data.manifest import Manifest
from headstart.events import Events
from headstart.workflow.reading import inspect_without_limit
from headstart.workflow.value_ranges import tell

__all__ = ["CheckResult", "check"]


@dataclass(frozen=True)
class CheckResult:
    """What a check found."""

    manifest: Manifest  # inspected
    issues: tuple[Issue, ...]  # those of a kind stand together, the surest first

    def lines(self) -> list[str]:
        """The table for a terminal: the number of issues of each kind, with the surest of them."""
        images, classes = len(self.manifest), len(self.manifest.classes)
        lines = [f"{images:,} images, {classes:,} classes, {len(self.issues):,} issue{'s' * (len(self.issues) != 1)}"]
        counts = Counter(issue.kind for issue in self.issues)
        width = max((len(kind) for kind in counts), default=0)
        first = {issue.kind: issue for issue in reversed(self.issues)}
        return lines + [f"  {kind:{width}} {count:7,}  {first[kind].evidence}" for kind, count in counts.items()]

    def write(self, folder: Path) -> None:
        """Write ``manifest.parquet``, ``issues.csv`` and ``issues.parquet``."""
        self.manifest.write(folder / "manifest.parquet")
        write_issues(self.issues, folder)


def check(manifest: Manifest, settings: FitSettings, *, events: Events | None = None) -> CheckResult:
    """Inspect the images and find what may be wrong with them, however many have a problem."""
    events = events or Events()
    inspected = inspect_without_limit(manifest, settings, events=events)
    tell(inspected, settings, events=events)
    return CheckResult(inspected, tuple(find_issues(CheckedImages(inspected))))
