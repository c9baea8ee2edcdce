"""The command line: each verb reads its arguments, calls one function of the workflow and prints.

Nothing here imports torch before a verb runs: ``headstart --help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from headstart import __version__, places
from headstart.console import Console
from headstart.errors import HeadstartError, SettingsError
from headstart.settings import (
    RECIPES,
    EngineSettings,
    FitSettings,
    ImageNetV2Settings,
    InputSettings,
    Knob,
    ReadSettings,
    Settings,
    knobs,
    seconds,
)

__all__ = ["cli", "main"]

Command = Callable[..., Any]
PHOTOS = click.argument("photos")
RUN = click.argument("run")


def main() -> None:
    """Run the command line; errors that headstart raises on purpose are one plain message."""
    try:
        cli(standalone_mode=False)
    except HeadstartError as failure:
        _stop(f"error: {failure}", 2 if isinstance(failure, SettingsError) else 1)
    except click.exceptions.Abort:
        _stop("stopped; what was computed is kept, and the same command goes on from there", 130)
    except click.ClickException as failure:
        failure.show()
        sys.exit(failure.exit_code)


def _stop(text: str, code: int) -> None:
    click.echo(text, err=True)
    sys.exit(code)


def options(*kinds: type[Settings], only: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """An option for each knob of these settings; the command gets them as strings, to be read by ``Settings.parse``."""

    def add(command: Command) -> Command:
        for kind in reversed(kinds):
            for knob in reversed([each for each in knobs(kind) if not only or each.name in only]):
                command = click.option(knob.option, metavar=_metavar(knob), help=_help(knob))(command)
        return command

    return add


def _metavar(knob: Knob) -> str:
    return "|".join(knob.choices) or knob.metavar or {"int": "N", "float": "NUMBER"}.get(knob.type, "TEXT")


def _help(knob: Knob) -> str:
    return knob.help if knob.default is None else f"{knob.help}  [default: {knob.default}]"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="headstart")
def cli() -> None:
    """Transfer learning for image classification in which what is frozen is computed once."""


@cli.command()
@PHOTOS
@click.option(
    "--out", metavar="FOLDER", type=Path, help="Where to write the two files.  [default: PHOTOS' name in checks/]"
)
@options(ReadSettings, EngineSettings)
def check(photos: str, out: Path | None, **given: str | None) -> None:
    """Read every image of PHOTOS once: manifest.parquet, and problems.csv with what cannot be used."""
    from headstart.workflow import checking

    settings = _parsed(given, EngineSettings)
    folder = out or Path("checks") / Path(photos).resolve().name
    seen = checking.check(checking.read(photos, _parsed(given, ReadSettings)), folder, settings, progress=Console())
    click.echo(f"{len(seen):,} images, {len(seen.classes):,} classes, {len(seen.unusable):,} with a problem: {folder}")


@cli.command()
@PHOTOS
@click.option("--out", metavar="RUN", type=Path, help="The run folder.  [default: PHOTOS' name in runs/]")
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    help="Settings that belong together; those given beside it win. classic: as tutorials of 2020 do with Keras.",
)
@click.option(
    "--update",
    metavar="RUN",
    type=Path,
    help="Add PHOTOS to the images of a run that is there, with new classes where they have some; its settings hold. "
    "The run is written anew, unless --out is given.",
)
@click.option("--plan", is_flag=True, help="Tell how long it will take, how much disk and memory, and stop.")
@options(ReadSettings, FitSettings)
def fit(
    photos: str, out: Path | None, recipe: str | None, update: Path | None, plan: bool, **given: str | None
) -> None:
    """Make a classifier from PHOTOS: a folder a class, or pictures and a table of labels."""
    words = {**_recipe(recipe), **_given(given)}
    settings, reading = _parsed(words, FitSettings), _parsed(given, ReadSettings)
    from headstart.workflow import checking, fitting, reporting, runs, updating

    if update is not None:
        settings = updating.settings_of(update, words)
    manifest = checking.read(photos, reading)
    if update is not None:
        manifest = updating.extended(update, manifest, settings, progress=Console())
    if plan:
        click.echo("\n".join(fitting.plan(manifest, settings, progress=Console())))
        return
    folder = out or update or Path("runs") / Path(photos).resolve().name
    fitted = fitting.fit(manifest, settings, progress=Console())
    runs.save_run(fitted, folder)
    page = reporting.report(folder)
    click.echo(f"{_headline(fitted.evaluation)}\nrun: {folder}\nreport: {page}")


@cli.command()
@RUN
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--top", metavar="N", type=click.IntRange(1), default=5, show_default=True, help="Classes told of each image."
)
@click.option("--csv", "table", metavar="FILE", type=Path, help="Write a table instead of printing.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["top", "kaggle"]),
    default="top",
    show_default=True,
    help="Of the table: the likeliest classes; or kaggle, id and the probabilities of all classes, in submission.csv "
    "where no --csv is given.",
)
@click.option(
    "--sample",
    metavar="FILE",
    type=Path,
    help="Whose columns and rows a kaggle table has.  [default: sample_submission.csv in IMAGES or beside it]",
)
@click.option("--plot", metavar="PNG", type=Path, help="Draw the one image with its likeliest classes as bars.")
@click.option("--true", "label", metavar="LABEL", help="The true class of the one image, drawn in green.")
@options(ReadSettings, only=("labels", "id_column", "label_column"))
@options(EngineSettings, InputSettings)
def predict(
    run: str,
    images: tuple[str, ...],
    top: int,
    table: Path | None,
    form: str,
    sample: Path | None,
    plot: Path | None,
    label: str | None,
    **given: str | None,
) -> None:
    """Tell the likeliest classes of IMAGES (files or folders), by a run folder or a pretrained network's name."""
    settings, reading = _parsed(given, EngineSettings), _parsed(given, ReadSettings)
    seen = _parsed(given, InputSettings)
    from headstart.workflow import checking, predicting, reporting, submission

    found = predicting.predict(
        predicting.open_classifier(run, seen, progress=Console()),
        checking.pictures(images, reading),
        settings,
        progress=Console(),
    )
    if form == "kaggle":
        submitted = submission.submission(found, sample or submission.find_sample(images))
        submitted.write(table or Path("submission.csv"))
        click.echo(
            "\n".join([*submission.lines(submitted, submission.log_loss(found)), str(table or "submission.csv")])
        )
    elif plot:
        click.echo(reporting.plot(found, plot, k=top, label=label))
    elif table:
        found.write_csv(table, top)
        click.echo(f"{len(found.manifest):,} images, {len(found.manifest.unusable):,} with a problem: {table}")
    else:
        click.echo("\n".join(found.lines(top)))


@cli.command()
@RUN
@PHOTOS
@click.option(
    "--out", metavar="FOLDER", type=Path, help="Where to write.  [default: evaluations/ in the run, by PHOTOS' name]"
)
@options(ReadSettings, EngineSettings, InputSettings)
def evaluate(run: str, photos: str, out: Path | None, **given: str | None) -> None:
    """Tell what a classifier is worth on PHOTOS with labels, with a report."""
    settings, reading = _parsed(given, EngineSettings), _parsed(given, ReadSettings)
    seen = _parsed(given, InputSettings)
    from headstart.workflow import checking, predicting, reporting, runs

    classifier = predicting.open_classifier(run, seen, progress=Console())
    found, evaluation = predicting.evaluate(classifier, checking.read(photos, reading), settings, progress=Console())
    folder = out or runs.evaluation_folder(run, photos)
    predicting.save_evaluation(
        found, evaluation, folder, command={"classifier": run, "photos": photos, **settings.values(), **seen.values()}
    )
    told = [_headline(evaluation), *predicting.evaluation_lines(evaluation), f"report: {reporting.report(folder)}"]
    click.echo("\n".join(told))


@cli.command("verify-input")
@RUN
@PHOTOS
@click.option(
    "--sample", metavar="N", type=click.IntRange(20), default=500, show_default=True, help="Images to try with."
)
@options(ReadSettings, EngineSettings, InputSettings)
def verify_input(run: str, photos: str, sample: int, **given: str | None) -> None:
    """Try the usual mistakes of input (BGR, another range, no crop) on PHOTOS with labels; tell which reading fits.

    The classifier's own reading, or the one that is given, is told apart from the others.
    """
    settings, reading = _parsed(given, EngineSettings), _parsed(given, ReadSettings)
    from headstart.workflow import checking, predicting, verifying

    classifier = predicting.open_classifier(run, _parsed(given, InputSettings), progress=Console())
    images = checking.read(photos, reading)
    found = verifying.verify_input(classifier, images, settings, sample=sample, progress=Console())
    click.echo("\n".join(found.lines()))


@cli.command()
@PHOTOS
@click.option("--n", "count", metavar="N", type=click.IntRange(1), default=9, show_default=True, help="How many.")
@click.option("--out", metavar="PNG", type=Path, default=Path("sheet.png"), show_default=True, help="Where to draw.")
@options(ReadSettings)
def show(photos: str, count: int, out: Path, **given: str | None) -> None:
    """Draw a sheet of some of PHOTOS with their labels."""
    reading = _parsed(given, ReadSettings)
    from headstart.workflow import checking, reporting

    click.echo(reporting.draw_sheet(checking.read(photos, reading), out, count=count))


@cli.command()
@PHOTOS
@options(ReadSettings)
def info(photos: str, **given: str | None) -> None:
    """Tell what is in PHOTOS: the table of labels, the classes, the sizes of images, the files."""
    reading = _parsed(given, ReadSettings)
    from headstart.workflow import describing

    click.echo("\n".join(describing.describe(photos, reading)))


@cli.command()
@RUN
def report(run: str) -> None:
    """Write RUN's report.html again from its other files."""
    from headstart.workflow import reporting

    click.echo(reporting.report(Path(run)))


_RANKING = (
    *(knob.name for knob in knobs(InputSettings)),  # with the defaults that fit has
    *("pretrained_head", "validation", "test", "seed", "store", "store_as"),
)


@cli.command()
@PHOTOS
@click.option(
    "--models",
    "asked",
    metavar="NAMES",
    default="embedded",
    show_default=True,
    help='Networks, separated by commas: names; patterns such as "mobilenet*", of those whose weights are on this '
    "machine; embedded, those whose weights are in a package.",
)
@click.option(
    "--budget", metavar="TIME", help="Such as 60s or 10min: no larger sample is tried that would take longer."
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=Path,
    help="Where to write rank.json and rank.png.  [default: PHOTOS' name in ranks/]",
)
@options(ReadSettings)
@options(EngineSettings)
@options(FitSettings, only=_RANKING)
def rank(photos: str, asked: str, budget: str | None, out: Path | None, **given: str | None) -> None:
    """Tell which network suits PHOTOS best: heads solved on a growing sample, the hopeless dropped early."""
    settings, reading = _parsed(given, FitSettings), _parsed(given, ReadSettings)
    length = seconds(budget) if budget is not None else None
    from headstart.workflow import checking, ranking

    names = [name for each in asked.split(",") if (name := each.strip())]
    found = ranking.rank(checking.read(photos, reading), names, settings, budget=length, progress=Console())
    folder = out or Path("ranks") / Path(photos).resolve().name
    command = {**settings.values(), "photos": photos, "models": names, "budget": length}
    picture = ranking.save(found, folder, command=command)
    click.echo("\n".join([*ranking.lines(found), f"picture: {picture}"]))


@cli.command()
@click.argument("pattern", default="*")
def models(pattern: str) -> None:
    """List pretrained networks whose name fits PATTERN, such as "mobilenet*"."""
    from headstart.workflow import listing

    click.echo("\n".join(listing.models(pattern)))


@cli.command()
@click.argument("model")
@click.option("--classes", metavar="N", type=click.IntRange(2), help="A new head for as many classes.")
@options(FitSettings, only=("train", "weights"))
def summary(model: str, classes: int | None, **given: str | None) -> None:
    """Tell MODEL's layers, their output and parameters, and where --train cuts it."""
    settings = _parsed(given, FitSettings)
    from headstart.workflow import listing

    train = "head" if settings.train == "auto" else settings.train  # where the ladder begins
    lines = listing.summary(model, weights_file=settings.weights, train=train, classes=classes)
    click.echo("\n".join(lines))


@cli.group()
def data() -> None:
    """Data sets by name: fetch, unpack and check."""


@data.command("imagenetv2")
@options(ImageNetV2Settings)
@click.option("--archive", metavar="FILE", type=Path, help="The published archive, where it is downloaded already.")
@click.option(
    "--out", metavar="FOLDER", type=Path, help="Where to put them.  [default: imagenetv2-VARIANT, in this folder]"
)
def data_imagenetv2(archive: Path | None, out: Path | None, **given: str | None) -> None:
    """ImageNetV2: 10,000 pictures of ImageNet's 1,000 classes, to evaluate on. 1.25 GB."""
    variant = _parsed(given, ImageNetV2Settings).variant
    from headstart.workflow import getting

    click.echo("\n".join(getting.imagenet_v2(variant, out, archive=archive, progress=Console())))


@data.command("dog-breeds")
@click.option("--zip", "archive", metavar="FILE", type=Path, help="Kaggle's zip, where it is downloaded already.")
@click.option("--out", metavar="FOLDER", type=Path, help="Where to put them.  [default: dog-breeds, in this folder]")
def data_dog_breeds(archive: Path | None, out: Path | None) -> None:
    """Kaggle's dog breeds: 10,222 pictures of 120 breeds, fetched with your own credentials. 0.7 GB."""
    from headstart.workflow import getting

    click.echo("\n".join(getting.dog_breeds(out, archive=archive, progress=Console())))


@cli.group()
def cache() -> None:
    """The feature store: list, verify, prune."""


_STORE = options(FitSettings, only=("store",))


@cache.command("list")
@_STORE
def cache_list(store: str | None) -> None:
    """What is kept, and how large it is."""
    from headstart.workflow import listing

    click.echo("\n".join(listing.spaces(places.features(store))))


@cache.command("verify")
@_STORE
def cache_verify(store: str | None) -> None:
    """Read every row and compare it with its checksum."""
    from headstart.workflow import listing

    click.echo("\n".join(listing.verified(places.features(store))))


@cache.command("prune")
@_STORE
@click.option(
    "--model", metavar="NAME", help="Remove all features of this model; without it, only what nobody can use."
)
@click.option("--all", "everything", is_flag=True, help="Remove everything.")
def cache_prune(store: str | None, model: str | None, everything: bool) -> None:
    """Remove older versions, rows that are there twice, and what killed runs left; or whole models."""
    from headstart.workflow import listing

    click.echo(listing.prune(store, model=model, everything=everything))


_KINDS = (ReadSettings, ImageNetV2Settings, EngineSettings, InputSettings, FitSettings)
_Kind = TypeVar("_Kind", bound=Settings)


def _parsed(given: dict[str, str | None], kind: type[_Kind]) -> _Kind:
    """One kind of settings out of all that stands on the command line."""
    return kind.parse(given, *_KINDS)


def _recipe(name: str | None) -> dict[str, str | None]:
    return {key: str(value) for key, value in RECIPES[name].items()} if name else {}


def _given(values: dict[str, str | None]) -> dict[str, str | None]:
    return {name: value for name, value in values.items() if value is not None}


def _headline(evaluation: dict[str, Any]) -> str:
    top1 = evaluation["top1"]
    return (
        f"{evaluation['part']} accuracy {top1['value']:.1%} (95 % interval {top1['low']:.1%} to {top1['high']:.1%}), "
        f"{evaluation['images']:,} images, {len(evaluation['classes']):,} classes"
    )


if __name__ == "__main__":
    main()
