"""``headstart export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headstart.cli.console import console
from headstart.cli.options import RUN, GroupedCommand, parse, settings_options
from headstart.config import InputSettings, ReadSettings
from headstart.files import check_writable

__all__ = ["export"]


@click.command(cls=GroupedCommand)
@RUN
@click.option(
    "--to",
    metavar="onnx|openvino|torch|html",
    required=True,
    help="Format: onnx (for ONNX Runtime), openvino (an .xml and a .bin file), torch (a program of torch.export), or "
    "html (a page that runs the network in the browser).",
)
@click.option("--out", metavar="FILE", type=Path, help="File to write.  [default: the name of RUN, in this folder]")
@click.option(
    "--images",
    metavar="PHOTOS",
    help="Images to compare the file with RUN on.  [default: validation images of the run]",
)
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Largest number of images to compare on.",
)
@click.option(
    "--runtime",
    metavar="FOLDER",
    type=Path,
    help="For --to html: the unpacked npm package onnxruntime-web, or its .tgz file.  [default: npm fetches it]",
)
@settings_options(InputSettings)
def export(
    run: str, to: str, out: Path | None, images: str | None, sample: int, runtime: Path | None, **given: Any
) -> None:
    """Write RUN as a file for another runtime.

    RUN is a run folder, hf:OWNER/NAME, s3://BUCKET/FOLDER, or the name of a pretrained network. The file takes
    images of any size and gives calibrated probabilities; it is kept only if its own runtime gives the answers of
    headstart.
    """
    input_settings = parse(given, InputSettings)
    from headstart.workflow import export as exporting
    from headstart.workflow.reading import read

    path = out or exporting.default_path(run, to)
    check_writable(path, option="--out")
    events = console()
    manifest = None if images is None else read(images, ReadSettings(labels="none"), events=events)
    result = exporting.export(
        run,
        to,
        manifest,
        path=path,
        sample=sample,
        runtime=runtime,
        input_settings=input_settings,
        events=events,
    )
    click.echo("\n".join(result.lines()))
