"""Commands that use a classifier: ``headstart predict``, ``evaluate`` and ``verify-input``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headstart.cli.console import console, headline
from headstart.cli.options import IMAGES, MANY_IMAGES, RUN, GroupedCommand, parse, settings_options
from headstart.config import ClusterSettings, EngineSettings, InputSettings, ReadSettings
from headstart.errors import DataError, SettingsError
from headstart.files import check_writable, is_stream, prepare_folder, write_or_keep

if TYPE_CHECKING:
    from headstart.workflow.predict import Predictions

__all__ = ["evaluate", "predict", "verify_input"]


@click.command(cls=GroupedCommand)
@RUN
@MANY_IMAGES
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
    help="Columns of the CSV file: top (the most likely classes), or kaggle (id and the probabilities of all classes, "
    "or the predicted class where the sample has one column for it; written to submission.csv unless --csv is given).",
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
@click.option("--drift", is_flag=True, help="Say whether the images differ from those that the run was evaluated on.")
@settings_options(ReadSettings, only=("labels", "id_column", "label_column"))
@settings_options(EngineSettings, ClusterSettings, InputSettings)
def predict(  # noqa: PLR0913, PLR0917 - one for each option
    run: str,
    images: tuple[str, ...],
    top: int,
    table: Path | None,
    layout: str,
    sample: Path | None,
    plot: Path | None,
    label: str | None,
    drift: bool,
    **given: Any,
) -> None:
    """Predict the classes of IMAGES, files or folders.

    RUN is a run folder, hf:OWNER/NAME, s3://BUCKET/FOLDER, the name or file of a pretrained network, or a file
    that headstart export wrote.
    """
    settings, reading = parse(given, EngineSettings), parse(given, ReadSettings)
    input_settings, cluster = parse(given, InputSettings), parse(given, ClusterSettings).cluster
    out = _file_to_write(layout, table, plot)
    if drift and not (Path(run) / "settings.json").is_file():
        raise SettingsError(f"--drift must be used with a run folder, which headstart fit has written, got {run}")
    from headstart.workflow import predict as predicting
    from headstart.workflow import show
    from headstart.workflow.reading import read_all

    events = console()
    classifier = predicting.open_predictor(run, input_settings, events=events)
    manifest = read_all(images, reading, events=events)
    if out is not None and layout == "top" and plot is None and not drift:
        # Part by part: it may be of more images than memory has room for.
        _write_table(
            predicting.predict_in_parts(classifier, manifest, settings, cluster=cluster, events=events), out, top
        )
        return
    predictions = predicting.predict(classifier, manifest, settings, cluster=cluster, events=events)
    lines: list[str] = []
    if out is None:
        lines = predictions.lines(top)
    elif layout == "kaggle":
        lines = _write_submission(predictions, images, sample, out)
    elif plot:
        ranges = classifier.spec.with_value_range(settings.value_range).value_ranges
        write_or_keep(out, lambda path: show.plot(predictions, path, k=top, label=label, value_ranges=ranges))
        lines = [str(out)]
    else:
        _write_table([predictions], out, top)
    _echo(lines, out)
    if drift:
        from headstart.workflow.drift import measure_drift

        found = measure_drift(Path(run), classifier, predictions, settings, events=events)
        click.echo("\n".join(found.lines()), err=True)
    if not len(predictions.probabilities):
        raise DataError(f"none of the {len(predictions.manifest):,} images can be read")


def _file_to_write(layout: str, table: Path | None, plot: Path | None) -> Path | None:
    """The file that the predictions go to, if it can be written; None if they are printed."""
    out = (table or Path("submission.csv")) if layout == "kaggle" else plot or table
    if out is not None:
        check_writable(out, option="--plot" if out is plot else "--csv")
    return out


def _echo(lines: list[str], out: Path | None) -> None:
    if lines:
        err = out is not None and is_stream(out)  # not among what is written to standard output
        click.echo("\n".join(lines), err=err)


def _write_table(parts: Iterable[Predictions], out: Path, top: int) -> None:
    from headstart.workflow.prediction_table import PredictionTable

    with PredictionTable(top) as table:
        for part in parts:
            table.add(part)
        write_or_keep(out, table.write)
    _echo([f"{table.images:,} images, {table.images - table.readable:,} with a problem: {out}"], out)
    if not table.readable:
        raise DataError(f"none of the {table.images:,} images can be read")


def _write_submission(predictions: Predictions, images: tuple[str, ...], sample: Path | None, out: Path) -> list[str]:
    from headstart.workflow import submission

    submitted = submission.make_submission(predictions, sample or submission.find_sample(images))
    write_or_keep(out, submitted.write)
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
@settings_options(ReadSettings, EngineSettings, ClusterSettings, InputSettings)
@click.pass_obj
def evaluate(arguments: tuple[str, ...] | None, /, run: str, photos: str, out: Path | None, **given: Any) -> None:
    """Evaluate RUN on PHOTOS with labels, and write a report.

    RUN is a run folder, hf:OWNER/NAME, s3://BUCKET/FOLDER, the name or file of a pretrained network, or a file
    that headstart export wrote.
    """
    settings, reading = parse(given, EngineSettings), parse(given, ReadSettings)
    input_settings, cluster = parse(given, InputSettings), parse(given, ClusterSettings).cluster
    from headstart.workflow import evaluate as evaluating
    from headstart.workflow import predict as predicting
    from headstart.workflow import report as reporting
    from headstart.workflow.reading import read

    folder = out or evaluating.evaluation_folder(run, photos)
    evaluating.check_folder(folder)
    prepare_folder(folder)
    events = console()
    classifier = predicting.open_predictor(run, input_settings, events=events)
    manifest = read(photos, reading, events=events)
    predictions, evaluation = evaluating.evaluate(
        classifier,
        manifest,
        settings,
        cluster=cluster,
        fitted_to=evaluating.images_of_run(run),
        events=events,
    )
    values = {"classifier": run, "photos": photos, **settings.values(), **input_settings.values()}

    def write(place: Path) -> Path:
        evaluating.save_evaluation(
            predictions, evaluation, place, settings=values, arguments=arguments or (), classifier=classifier
        )
        return reporting.report(place)

    page = write_or_keep(folder, write)
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
    from headstart.workflow import predict as predicting
    from headstart.workflow import verify_input as verifying
    from headstart.workflow.reading import read

    events = console()
    classifier = predicting.open_classifier(run, input_settings, events=events)
    manifest = read(photos, reading, events=events)
    verdict = verifying.verify_input(classifier, manifest, settings, sample=sample, events=events)
    click.echo("\n".join(verdict.lines()))
