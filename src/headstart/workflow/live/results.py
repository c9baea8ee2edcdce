"""What jobs leave in a project: its runs and exports."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from headstart.data.projects.outputs import exported_files, finished_runs
from headstart.errors import RunError
from headstart.evaluate.schema import Interval, read_evaluation
from headstart.export.registry import format_names
from headstart.workflow.export import default_path

__all__ = [
    "ExportSummary",
    "RunSummary",
    "export_file_name",
    "list_exports",
    "list_runs",
    "write_run_zip",
]

_COMPRESSED = frozenset({".json", ".jsonl", ".html", ".md", ".csv"})


@dataclass(frozen=True)
class RunSummary:
    """A run of a project."""

    name: str
    accuracy: Interval | None  # None: its evaluation cannot be read
    report: bool  # whether it has a page


@dataclass(frozen=True)
class ExportSummary:
    """A file that a run was exported to."""

    file: str
    bytes: int  # with OpenVINO, of the weights beside it, too
    format: str
    run: str


def list_runs(project: Path) -> list[RunSummary]:
    """The finished runs of a project's folder, newest first."""
    return [_run_summary(each) for each in finished_runs(project)]


def list_exports(project: Path) -> list[ExportSummary]:
    """The exported files of a project's folder, newest first."""
    return [_export_summary(each) for each in exported_files(project)]


def write_run_zip(run: Path, file: IO[bytes]) -> None:
    """Write a run folder as a zip archive, in which all files are below the name of the run.

    :param file: to write to; it need not be seekable.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(run.rglob("*")):
            parts = path.relative_to(run).parts
            if path.is_symlink() or not path.is_file() or any(part.startswith(".") for part in parts):
                continue
            # Weights and Parquet files do not get smaller.
            how = zipfile.ZIP_DEFLATED if path.suffix in _COMPRESSED else zipfile.ZIP_STORED
            archive.write(path, "/".join((run.name, *parts)), how)


def export_file_name(run: Path, to: str) -> str:
    """The name of the file that a run is exported to.

    :raises SettingsError: there is no such format.
    """
    return default_path(str(run), to).name


def _run_summary(folder: Path) -> RunSummary:
    try:
        accuracy = read_evaluation(folder / "evaluation.json").top1
    except RunError:
        accuracy = None
    return RunSummary(folder.name, accuracy, (folder / "report.html").is_file())


def _export_summary(file: Path) -> ExportSummary:
    beside = [each for each in file.parent.glob(f"{file.stem}.*") if _of_one_export(each, file)]
    to = next((name for name in format_names() if default_path("run", name).suffix == file.suffix), file.suffix[1:])
    return ExportSummary(file.name, sum(each.stat().st_size for each in beside), to, file.stem)


def _of_one_export(path: Path, file: Path) -> bool:
    """Whether a path is a file of the export: OpenVINO's weights have the suffix .bin."""
    return path == file or (file.suffix == ".xml" and path.suffix == ".bin")
