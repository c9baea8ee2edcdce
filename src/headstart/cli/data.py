"""Commands about images and labels: ``headstart check``, ``info``, ``show`` and ``data``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headstart.cli.console import console
from headstart.cli.options import IMAGES, GroupedCommand, parse, settings_options
from headstart.config import EngineSettings, FitSettings, ImageNetV2Settings, ReadSettings
from headstart.errors import OutputError
from headstart.files import check_writable, prepare_folder

__all__ = ["check", "data", "info", "show"]


@click.command(cls=GroupedCommand)
@IMAGES
@click.option(
    "--out", metavar="FOLDER", type=Path, help="Folder for the files.  [default: checks/NAME, as PHOTOS is named]"
)
@click.option(
    "--against",
    metavar="RUN|MANIFEST",
    type=Path,
    help="Run to compare the images with: whether they differ from those it was evaluated on, and which look like "
    "none of its classes. Or the manifest of an earlier check or run: names the images that have changed since, are "
    "gone, or are new.",
)
@click.option(
    "--features/--no-features",
    default=True,
    help="Compute the features of the network, by which wrong labels are found.  [default: features]",
)
@click.option(
    "--write-corrections",
    is_flag=True,
    help="Write corrections.csv, too: what is sure enough to change, for you to edit and for --corrections.",
)
@settings_options(ReadSettings, EngineSettings)
@settings_options(FitSettings, only=("model", "weights", "cluster", "cache_dir", "feature_store", "seed"))
def check(
    photos: str, out: Path | None, against: Path | None, features: bool, write_corrections: bool, **given: Any
) -> None:
    """Find what may be wrong with the images and labels of PHOTOS.

    Writes the page issues.html, and issues.csv, issues.parquet and manifest.parquet.
    """
    settings, reading = parse(given, FitSettings), parse(given, ReadSettings)
    folder = out or Path("checks") / Path(photos).resolve().name
    prepare_folder(folder)
    corrections = folder / "corrections.csv"
    if write_corrections and corrections.exists():
        raise OutputError(f"{corrections}: is there already, perhaps edited: move it, or choose another --out")
    from headstart.data.issues import tables
    from headstart.data.manifest import Manifest
    from headstart.data.manifest_diff import compare
    from headstart.workflow import check as checking
    from headstart.workflow.reading import read

    is_run = against is not None and against.is_dir()
    before = None if against is None or is_run else Manifest.read(against)  # the check may overwrite it
    events = console()
    found = checking.check(
        read(photos, reading, events=events),
        settings,
        features=features,
        against=against if is_run else None,
        events=events,
    )
    found.write(folder)
    click.echo("\n".join(found.lines()))
    click.echo(f"written to {folder}: issues.html, issues.csv, issues.parquet, manifest.parquet")
    if write_corrections:
        count = tables.write_corrections(found.issues, corrections)
        click.echo(f"{corrections}: {count:,} correction{'s' * (count != 1)} to look at, for --corrections")
    if before is not None:
        click.echo("\n".join(compare(before, found.manifest).lines()))


@click.command(cls=GroupedCommand)
@IMAGES
@click.option(
    "--n", "count", metavar="N", type=click.IntRange(1), default=9, show_default=True, help="Number of images."
)
@click.option("--out", metavar="PNG", type=Path, default=Path("sheet.png"), show_default=True, help="File to write.")
@settings_options(ReadSettings)
def show(photos: str, count: int, out: Path, **given: Any) -> None:
    """Draw random images of PHOTOS with their labels."""
    reading = parse(given, ReadSettings)
    check_writable(out)
    from headstart.workflow import show
    from headstart.workflow.reading import read

    click.echo(show.draw_sheet(read(photos, reading, events=console()), out, count=count))


@click.command(cls=GroupedCommand)
@IMAGES
@settings_options(ReadSettings)
def info(photos: str, **given: Any) -> None:
    """Describe the labels, classes, sizes and files of PHOTOS."""
    reading = parse(given, ReadSettings)
    from headstart.workflow import info as describing

    click.echo("\n".join(describing.describe(photos, reading)))


@click.group()
def data() -> None:
    """Fetch, unpack and check a known data set."""


@data.command("imagenetv2", cls=GroupedCommand)
@settings_options(ImageNetV2Settings)
@click.option("--archive", metavar="FILE", type=Path, help="Published archive, if it is downloaded already.")
@click.option("--out", metavar="FOLDER", type=Path, help="Folder to write.  [default: imagenetv2-VARIANT]")
def data_imagenetv2(archive: Path | None, out: Path | None, **given: Any) -> None:
    """Fetch ImageNetV2 (1.25 GB).

    10,000 images of ImageNet's 1,000 classes, for evaluation.
    """
    variant = parse(given, ImageNetV2Settings).variant
    from headstart.workflow import download

    click.echo("\n".join(download.download_imagenet_v2(variant, out, archive=archive, events=console())))


@data.command("dog-breeds")
@click.option("--zip", "archive", metavar="FILE", type=Path, help="Zip file of Kaggle, if it is downloaded already.")
@click.option("--out", metavar="FOLDER", type=Path, help="Folder to write.  [default: dog-breeds]")
def data_dog_breeds(archive: Path | None, out: Path | None) -> None:
    """Fetch Kaggle's dog breeds (0.7 GB).

    10,222 images of 120 breeds, fetched with your own Kaggle credentials.
    """
    from headstart.workflow import download

    click.echo("\n".join(download.download_dog_breeds(out, archive=archive, events=console())))
