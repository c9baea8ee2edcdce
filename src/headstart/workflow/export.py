"""Export: a classifier becomes a file for another runtime, which is run and compared before it is kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from headstart import __version__
from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings, InputSettings
from headstart.data.manifest import Manifest, missing_files
from headstart.documents import file_checksum
from headstart.errors import DataError, ModelError, SettingsError
from headstart.events import Events
from headstart.export.base import ExportFormat
from headstart.export.comparison import ExportRecord, compare, write_record
from headstart.export.html_file import HtmlFormat
from headstart.export.predictor import ExportedClassifier
from headstart.export.registry import export_format
from headstart.files import replace_together, temporary_folder
from headstart.workflow.predict import open_classifier

__all__ = ["SAMPLE", "ExportResult", "default_path", "export", "images_to_compare"]

SAMPLE = 200
"""Number of images that are compared."""


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote."""

    path: Path  # of the file to hand over; with OpenVINO, the weights are beside it
    record: ExportRecord

    def lines(self) -> list[str]:
        """Text for a terminal."""
        record = self.record
        names = " and ".join(record.files)
        return [
            f"{record.runtime}: {record.comparison}",
            f"{names}: {record.bytes / 1e6:,.1f} MB, opens in {record.seconds_to_open:.1f} s, "
            f"{record.images_per_second:,.0f} images per second with decoding",
            str(self.path),
        ]


def default_path(classifier: str, to: str) -> Path:
    """The file of an export that was given no other: in the current folder, named after the run or network.

    >>> default_path("runs/dogs", "onnx"), default_path("hf_hub:timm/resnet18.a1_in1k", "torch")
    (PosixPath('dogs.onnx'), PosixPath('resnet18.a1_in1k.pt2'))
    """
    folder = Path(classifier)
    name = folder.resolve().name if folder.exists() else classifier.rstrip("/").rpartition("/")[2]
    return Path(name.replace(":", "-") + export_format(to).suffix)


def images_to_compare(classifier: str, sample: int = SAMPLE) -> Manifest:
    """The images of a run that its export is compared on: of the validation split, else of another one.

    :raises DataError: there is no run, or its images are not on this machine any more.
    """
    path = Path(classifier) / "manifest.parquet"
    if not path.is_file():
        raise DataError(
            f"{classifier}: not a run folder with its own images, so an export has nothing to be compared on; give "
            "some photographs with --images"
        )
    usable = Manifest.read(path).usable
    splits = [usable.in_split(split) for split in ("validation", "test", "train")]
    found = _spread(next((each for each in splits if len(each)), usable), sample)
    missing = set(missing_files(found))
    here = [row for row in range(len(found)) if row not in missing]
    if not here:
        raise DataError(
            f"{classifier}: none of its images is where it was, for example {found.uris[0]}; give "
            "photographs to compare the export on with --images"
            if len(found)
            else f"{path}: has no usable images; give photographs to compare the export on with --images"
        )
    return found.select(here)


def export(
    name: str,
    to: str,
    images: Manifest | None = None,
    *,
    path: Path | None = None,
    sample: int = SAMPLE,
    runtime: Path | None = None,
    input_settings: InputSettings | None = None,
    events: Events | None = None,
) -> ExportResult:
    """Write a classifier as a file for another runtime; it is kept if that gives the same answers.

    :param name: a run folder, a saved classifier, or a pretrained network by its name.
    :param to: the name of the format.
    :param images: to compare on; by default, those of the run.
    :param path: of the file; by default :func:`default_path`.
    :param sample: largest number of images to compare on.
    :param runtime: for a page, where ONNX Runtime Web is.
    :raises SettingsError: there is no such format, or a package for it is missing.
    :raises DataError: there are no images to compare on.
    :raises ModelError: the network cannot be exported, or the file gives other answers.
    """
    made = export_format(to)
    if runtime is not None:
        if not isinstance(made, HtmlFormat):
            raise SettingsError(f"--runtime is for --to html, not for --to {to}")
        made = HtmlFormat(runtime)
    made.check()
    path = path or default_path(name, to)
    if path.suffix != made.suffix:
        raise SettingsError(f"--out {path}: the name of a file for --to {to} must end in {made.suffix}")
    events = events or Events()
    classifier = open_classifier(name, input_settings, events=events)
    images = images_to_compare(name, sample) if images is None else _spread(images, sample)
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path.parent) as work:
        with events.stage(f"writing {path.name}", total=1, unit="file") as advance:
            files = made.write(classifier, work / path.name)
            advance(1)
        record = _compared(made, classifier, files, images, name=name, events=events)
        with replace_together(path.parent) as new:
            for file in files:
                file.rename(new / file.name)
            write_record(new / f"{path.name}.export.json", record)
    return ExportResult(path, record)


def _compared(
    made: ExportFormat, classifier: Classifier, files: list[Path], images: Manifest, *, name: str, events: Events
) -> ExportRecord:
    """Run the file as ``headstart predict`` does, and compare it with the classifier in float32.

    :raises ModelError: the answers differ.
    :raises DataError: no image can be read.
    """
    start = time.monotonic()
    opened = made.open(files[0])
    opening = time.monotonic() - start
    start = time.monotonic()
    found = ExportedClassifier(opened).infer(images, events=events)
    seconds = time.monotonic() - start
    expected = classifier.infer(images, settings=EngineSettings(precision="float32", engine="torch", device="cpu"))
    if not len(expected.probabilities):
        raise DataError(f"none of the {len(images):,} images to compare the export on can be read; see --images")
    comparison = compare(found.probabilities, expected.probabilities)
    if not comparison.passed:
        raise ModelError(
            f"{files[0].name}: not written, since it gives other answers in {opened.runtime}: {comparison}"
        )
    return ExportRecord(
        classifier=name,
        to=made.name,
        files={file.name: file_checksum(file) for file in files},
        bytes=sum(file.stat().st_size for file in files),
        runtime=opened.runtime,
        comparison=comparison,
        seconds_to_open=round(opening, 2),
        images_per_second=round(len(found.probabilities) / max(seconds, 1e-9), 1),
        headstart=__version__,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
    )


def _spread(images: Manifest, sample: int) -> Manifest:
    """At most so many images, evenly spread over the manifest, which may be sorted by class."""
    if len(images) <= sample:
        return images
    return images.select(np.unique(np.linspace(0, len(images) - 1, sample).astype(int)))
