"""Commands about pretrained networks: ``headstart models``, ``summary`` and ``rank``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headstart.cli.console import console
from headstart.cli.options import IMAGES, GroupedCommand, parse, settings_options
from headstart.config import EngineSettings, FitSettings, InputSettings, ReadSettings, options_of, parse_duration
from headstart.files import prepare_folder, write_or_keep

__all__ = ["models", "rank", "summary"]

_OF_FIT = (
    *(option.name for option in options_of(InputSettings)),  # with the defaults of fit
    *("pretrained_head", "validation_share", "test_share", "seed", "cache_dir", "feature_store", "feature_dtype"),
)


@click.command()
@click.argument("pattern", default="*")
@click.option(
    "--recommended",
    is_flag=True,
    help="List those that fit --model auto and --quality choose from, with their speed here.",
)
def models(pattern: str, *, recommended: bool) -> None:
    """List the pretrained networks that match PATTERN.

    PATTERN is a name with wildcards, for example "mobilenet*"; all by default.
    """
    if recommended:
        from headstart.workflow.model_choice import recommended_lines

        click.echo("\n".join(recommended_lines("auto")))
        return
    from headstart.workflow.models import list_models

    click.echo("\n".join(list_models(pattern)))


@click.command(cls=GroupedCommand)
@click.argument("model")
@click.option(
    "--classes",
    metavar="N",
    type=click.IntRange(2),
    help="Number of classes of a new head.  [default: the pretrained head]",
)
@settings_options(FitSettings, only=("train", "weights"))
def summary(model: str, classes: int | None, **given: Any) -> None:
    """Print the layers of MODEL and where --train cuts it.

    Each layer with its output shape and its number of parameters.
    """
    settings = parse(given, FitSettings)
    from headstart.workflow.models import summarize_model

    train = "head" if settings.train == "auto" else settings.train  # the first trial of the search
    click.echo("\n".join(summarize_model(model, weights_file=settings.weights, train=train, classes=classes)))


@click.command(cls=GroupedCommand)
@IMAGES
@click.option(
    "--models",
    "names",
    metavar="NAMES",
    default="embedded",
    show_default=True,
    help='Networks, separated by commas: names; patterns, for example "mobilenet*", of networks whose weights are on '
    "this machine; or embedded, the networks whose weights are part of an installed package.",
)
@click.option(
    "--budget",
    metavar="TIME",
    help="Time limit, for example 60s or 10min. A larger sample that is expected to exceed it is not tried.",
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=Path,
    help="Folder for rank.json and rank.png.  [default: ranks/NAME, as PHOTOS is named]",
)
@settings_options(ReadSettings)
@settings_options(EngineSettings)
@settings_options(FitSettings, only=_OF_FIT)
def rank(photos: str, names: str, budget: str | None, out: Path | None, **given: Any) -> None:
    """Rank pretrained networks by their accuracy on PHOTOS.

    Heads are solved on a growing sample, and clear losers are dropped early.
    """
    settings, reading = parse(given, FitSettings), parse(given, ReadSettings)
    seconds = parse_duration(budget) if budget is not None else None
    folder = out or Path("ranks") / Path(photos).resolve().name
    prepare_folder(folder)
    from headstart.workflow.rank import rank as rank_models
    from headstart.workflow.ranking import format_ranking, save_ranking
    from headstart.workflow.reading import read

    asked = [name for each in names.split(",") if (name := each.strip())]
    events = console()
    manifest = read(photos, reading, events=events)
    found = rank_models(manifest, asked, settings, budget=seconds, events=events)
    command = {**settings.values(), "photos": photos, "models": asked, "budget": seconds}
    plot = write_or_keep(folder, lambda place: save_ranking(found, place, command=command))
    click.echo("\n".join([*format_ranking(found), f"plot: {plot}"]))
