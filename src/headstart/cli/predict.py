"""Commands that use a classifier: ``headstart predict``, ``evaluate`` and ``verify-input``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headstart.cli.console import console, headline
from headstart.cli.options import IMAGES, RUN, GroupedCommand, parse, settings_options
from headstart.config import EngineSettings, InputSettings, ReadSettings

if TYPE_CHECKING:
    from headstart.workflow.predict import Predictions

__all__ = ["evaluate", "predict", "verify_input"]


@click.command(cls=GroupedCommand)
@RUN
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--top",
    metavar="N",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Number of classes to print per image.",
)
@click.option("--csv", "table", metavar="FILE", type=Path, help="CSV file to write instead of printing.")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["top", "kaggle"]),
    default="top",
    show_default=True,
    help="Columns of the CSV file: top (the most likely classes), or kaggle (id and the probabilities of all classes; "
    "written to submission.csv unless --csv is given).",
)
@click.option(
    "--sample",
    metavar="FILE",
    type=Path,
    help="Sample submission whose columns and rows --format kaggle follows.  [default: sample_submission.csv in "
    "IMAGES or beside it]",
)
@click.option("--plot", metavar="PNG", type=Path, help="File for a plot of the one image and its most likely classes.")
@click.option("--true", "label", metavar="LABEL", help="True class of the image in --plot, drawn in green.")
@settings_options(ReadSettings, only=("labels", "id_column", "label_column"))
@settings_options(EngineSettings, InputSettings)
def predict(
    run: str,
    images: tuple[str, ...],
    top: int,
    table: Path | None,
    layout: str,
    sample: Path | None,
    plot: Path | None,
    label: str | None,
    **given: Any,
) -> None:
    """Predict the classes of IMAGES, files or folders.

    RUN is a run folder, or the name or file of a pretrained network.
    """
    settings, reading = parse(given, EngineSettings), parse(given, ReadSettings)
    input_settings = parse(given, InputSettings)
    from headstart.workflow import check as checking
    from headstart.workflow import predict as predicting
    from headstart.workflow import show

    classifier = predicting.open_classifier(run, input_settings, events=console())
    predictions = predicting.predict(classifier, checking.read_all(images, reading), settings, events=console())
    if layout == "kaggle":
        click.echo("\n".join(_write_submission(predictions, images, sample, table or Path("submission.csv"))))
    elif plot:
        click.echo(show.plot(predictions, plot, k=top, label=label))
    elif table:
        predictions.write_csv(table, top)
        manifest = predictions.manifest
        click.echo(f"{len(manifest):,} images, {len(manifest.unusable):,} with a problem: {table}")
    else:
        click.echo("\n".join(predictions.lines(top)))


def _write_submission(predictions: Predictions, images: tuple[str, ...], sample: Path | None, out: Path) -> list[str]:
    from headstart.workflow import submission

    submitted = submission.make_submission(predictions, sample or submission.find_sample(images))
    submitted.write(out)
    return [*submission.summary_lines(submitted, submission.log_loss(predictions)), str(out)]


@click.command(cls=GroupedCommand)
@RUN
@IMAGES
@click.option(
    "--out",
    metavar="FOLDER",
    type=Path,
    help="Folder to write.  [default: evaluations/NAME in the run, as PHOTOS is named]",
)
@settings_options(ReadSettings, EngineSettings, InputSettings)
@click.pass_obj
def evaluate(arguments: tuple[str, ...] | None, /, run: str, photos: str, out: Path | None, **given: Any) -> None:
    """Evaluate RUN on PHOTOS with labels, and write a report.

    RUN is a run folder, or the name or file of a pretrained network.
    """
    settings, reading = parse(given, EngineSettings), parse(given, ReadSettings)
    input_settings = parse(given, InputSettings)
    from headstart.workflow import check as checking
    from headstart.workflow import evaluate as evaluating
    from headstart.workflow import predict as predicting
    from headstart.workflow import report as reporting

    classifier = predicting.open_classifier(run, input_settings, events=console())
    manifest = checking.read(photos, reading)
    predictions, evaluation = evaluating.evaluate(classifier, manifest, settings, events=console())
    folder = out or evaluating.evaluation_folder(run, photos)
    values = {"classifier": run, "photos": photos, **settings.values(), **input_settings.values()}
    evaluating.save_evaluation(predictions, evaluation, folder, settings=values, arguments=arguments or ())
    page = reporting.report(folder)
    click.echo("\n".join([headline(evaluation), *evaluating.evaluation_lines(evaluation), f"report: {page}"]))


@click.command("verify-input", cls=GroupedCommand)
@RUN
@IMAGES
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(20),
    default=500,
    show_default=True,
    help="Number of images to try.",
)
@settings_options(ReadSettings, EngineSettings, InputSettings)
def verify_input(run: str, photos: str, sample: int, **given: Any) -> None:
    """Find out which preprocessing RUN expects.

    Compares the preprocessing of RUN, or the one that the options give, with the common mistakes (BGR, another pixel
    range, no crop) on PHOTOS with labels.
    """
    settings, reading = parse(given, EngineSettings), parse(given, ReadSettings)
    input_settings = parse(given, InputSettings)
    from headstart.workflow import check as checking
    from headstart.workflow import predict as predicting
    from headstart.workflow import verify_input as verifying

    classifier = predicting.open_classifier(run, input_settings, events=console())
    verdict = verifying.verify_input(
        classifier, checking.read(photos, reading), settings, sample=sample, events=console()
    )
    click.echo("\n".join(verdict.lines()))
