"""The plan of a fit: what each trial would take, without training anything."""

from __future__ import annotations

from headstart.config import FitSettings
from headstart.data.manifest import Manifest
from headstart.errors import CutError
from headstart.events import Events
from headstart.execution.cluster import parse_cluster
from headstart.train.unfreezing import DEEPER
from headstart.workflow.cluster_forecast import cluster_lines
from headstart.workflow.dataset import Dataset
from headstart.workflow.extraction import open_extractor
from headstart.workflow.fit import prepare
from headstart.workflow.forecast import Forecast, forecast
from headstart.workflow.model_choice import choose_model
from headstart.workflow.stopwatch import Stopwatch

__all__ = ["plan"]

_NOTE = (
    "trials below head are run only while validation improves; each begins with a glimpse, and ends there if that "
    "shows no gain"
)


def plan(manifest: Manifest, settings: FitSettings, *, events: Events | None = None) -> list[str]:
    """The expected time, disk and memory of a fit, trial by trial, as lines for a terminal.

    Raises what :func:`headstart.workflow.fit.fit` raises.
    """
    settings.check()
    events = events or Events()
    settings = choose_model(settings, len(manifest), events=events)
    dataset, extractor = prepare(manifest, settings, events, Stopwatch())
    workers = None if settings.cluster is None else parse_cluster(settings.cluster).cores()
    forecasts, notes = [forecast(extractor, dataset, workers=workers)], []
    for train in DEEPER if settings.train == "auto" and not dataset.cross_validated else ():
        try:
            deeper = open_extractor(
                extractor.backbone, train, settings, device=extractor.device, calibration=extractor.calibration
            )
        except CutError as error:
            notes.append(f"no more of this network can be trained: {error}")
            break
        forecasts.append(forecast(deeper, dataset, glimpse=True, workers=workers))
    if len(forecasts) > 1:
        notes.insert(0, _NOTE)
    if workers is not None:
        notes += cluster_lines(forecasts[0], dataset.manifest.usable, workers)
    return _lines(dataset, forecasts, notes)


def _lines(dataset: Dataset, forecasts: list[Forecast], notes: list[str]) -> list[str]:
    head = f"{'train':12}{'features':>10}{'extraction':>12}{'training':>10}{'glimpse':>11}{'disk':>10}{'memory':>10}"
    rows = [
        f"{each.train:12}{each.features:>10,}{each.extraction:>10.0f} s{each.training:>8.0f} s"
        f"{f'{each.glimpse:.0f} s' if each.glimpse else '':>11}{each.disk / 1e6:>7.0f} MB{each.memory / 1e6:>7.0f} MB"
        for each in forecasts
    ]
    images = ", ".join(f"{count:,} {name}" for name, count in dataset.counts().items() if count)
    return [f"images: {images}", head, *rows, *notes]
