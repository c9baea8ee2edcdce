"""``headstart fit``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headstart.cli.console import console, headline
from headstart.cli.options import IMAGES, GroupedCommand, given_values, parse, settings_options
from headstart.config import QUALITIES, RECIPES, FitSettings, ReadSettings
from headstart.errors import HeadstartError, SettingsError
from headstart.events import Done, EventLog, Events
from headstart.files import finish_replacing, prepare_folder

if TYPE_CHECKING:
    from headstart.tracking import Tracker, Tracking

__all__ = ["fit"]


@click.command(cls=GroupedCommand)
@IMAGES
@click.option("--out", metavar="RUN", type=Path, help="Run folder to write.  [default: runs/NAME, as PHOTOS is named]")
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    help="Named set of settings; options given with it override it. classic: a Keras tutorial of 2020; imagenet-1h: a "
    "ResNet-50 from random weights, as Goyal et al. 2017 train it.",
)
@click.option(
    "--quality",
    type=click.Choice(list(QUALITIES)),
    help="Settings that trade time for accuracy; options given with it override them. fast: the head alone, in "
    "seconds; balanced: the defaults; best: --model auto and flip averaging, within half an hour. See headstart models "
    "--recommended.",
)
@click.option(
    "--update",
    metavar="RUN",
    type=Path,
    help="Existing run to which PHOTOS are added, with new classes if there are any. The run keeps its settings and is "
    "overwritten unless --out is given.",
)
@click.option(
    "--track",
    metavar="TRACKER",
    help="Tool that follows the fit: tensorboard (in the run folder), mlflow (MLFLOW_TRACKING_URI) or trackio.",
)
@click.option("--plan", is_flag=True, help="Print the estimated time, disk and memory, then exit.")
@settings_options(ReadSettings, FitSettings)
@click.pass_obj
def fit(
    arguments: tuple[str, ...] | None,
    /,
    photos: str,
    out: Path | None,
    recipe: str | None,
    quality: str | None,
    update: Path | None,
    track: str | None,
    plan: bool,
    **given: Any,
) -> None:
    """Fit a classifier to PHOTOS and write a run folder.

    PHOTOS is a folder with one subfolder per class, or images with a table of labels.
    """
    if recipe and quality:
        raise SettingsError("--recipe and --quality are two sets of settings: give one of them")
    values = {**RECIPES.get(recipe or "", {}), **QUALITIES.get(quality or "", {}), **given_values(given)}
    settings, reading = parse(values, FitSettings), parse(given, ReadSettings)
    folder = out or update or Path("runs") / Path(photos).resolve().name
    tracker = _checked_tracker(track)
    if not plan:
        prepare_folder(folder)
    if update is not None:
        finish_replacing(update)
    from headstart.workflow import fit as fitting
    from headstart.workflow import plan as planning
    from headstart.workflow import runs
    from headstart.workflow import update as updating
    from headstart.workflow.reading import read

    if update is not None:
        settings = updating.settings_of(update, values)
    log = EventLog(folder / "events.jsonl")
    events = console() if plan else console(log)
    with _no_run_of_a_log_alone(log.path):
        manifest = read(photos, reading, events=events)
        if update is not None:
            manifest = updating.extended(update, manifest, settings, events=events)
        if plan:
            click.echo("\n".join(planning.plan(manifest, settings, events=events)))
            return
        with _tracked(tracker, folder, settings, events) as tracking:
            fitted = fitting.fit(manifest, settings, events=events)
            page = runs.finish_run(fitted, folder, arguments=arguments or (), events=events)
            log(Done(headline(fitted.evaluation)))
            where = tracking and tracking.finish(fitted.evaluation, page.parent)
    click.echo(f"{headline(fitted.evaluation)}\nrun: {folder}\nreport: {page}" + f"\ntracked: {where}" * bool(where))


def _checked_tracker(name: str | None) -> Tracker | None:
    """The tracker of that name, if its packages are installed."""
    if name is None:
        return None
    from headstart.tracking import tracker_named

    tracker = tracker_named(name)
    tracker.check()
    return tracker


@contextmanager
def _tracked(tracker: Tracker | None, folder: Path, settings: FitSettings, events: Events) -> Iterator[Tracking | None]:
    """Track what happens in the block."""
    if tracker is None:
        yield None
        return
    from headstart.tracking import Tracking

    tracking = Tracking(tracker, folder, settings.values(), warn=events.warn)
    events.listen(tracking)
    try:
        yield tracking
    finally:
        tracking.close()


@contextmanager
def _no_run_of_a_log_alone(log: Path) -> Iterator[None]:
    """When the fit is refused, remove a run folder that holds nothing but the log of events."""
    try:
        yield
    except HeadstartError:
        if log.is_file() and list(log.parent.iterdir()) == [log]:
            log.unlink()
            log.parent.rmdir()
        raise
