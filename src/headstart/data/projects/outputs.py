"""What jobs leave in the folder of a project: runs and exported files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from headstart.errors import RunError

__all__ = ["EXPORTS", "RECORD", "RUNS", "exported_files", "finished_runs", "run_folder"]

RUNS, EXPORTS = "runs", "exports"
RECORD = ".export.json"  # ending of the record beside each exported file


def finished_runs(project: Path) -> list[Path]:
    """The folders of the finished runs of a project's folder, newest first."""
    return _newest_first(each for each in (project / RUNS).glob("[!.]*") if (each / "evaluation.json").is_file())


def run_folder(project: Path, name: str) -> Path:
    """The folder of a run by its name, which is compared and not followed.

    :raises RunError: there is no such run.
    """
    runs = {each.name: each for each in finished_runs(project)}
    if name not in runs:
        listed = f": it has {', '.join(sorted(runs))}" if runs else ": train first"
        raise RunError(f"the project has no run {name!r}{listed}")
    return runs[name]


def exported_files(project: Path) -> list[Path]:
    """The exported files of a project's folder, newest first."""
    records = _newest_first((project / EXPORTS).glob(f"[!.]*{RECORD}"))
    files = [each.with_name(each.name.removesuffix(RECORD)) for each in records]
    return [each for each in files if each.is_file()]


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)
