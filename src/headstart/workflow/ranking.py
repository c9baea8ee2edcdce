"""The result of ranking networks: as a value, as a table for a terminal, and as ``rank.json`` with a plot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headstart import __version__
from headstart.documents import read_document, write_document
from headstart.evaluate.schema import Interval
from headstart.report import rank_plot
from headstart.train.probe import Probe, log_loss_difference

__all__ = [
    "RANKING_FORMAT",
    "RankedModel",
    "Ranking",
    "RankingDocument",
    "Row",
    "format_ranking",
    "read_ranking",
    "save_ranking",
]

RANKING_FORMAT = 1


@dataclass(frozen=True)
class Row:
    """The results of a network on the largest sample that it was tried on."""

    model: str
    probe: Probe
    logme: float
    ms_per_image: float  # in the engine alone
    engine: str
    parameters: int
    train_images: int
    validation_images: int
    round: int  # of the sample, from 1
    dropped: bool = False  # as a clear loser, before the last round


@dataclass(frozen=True)
class Ranking:
    """The networks, best first, and how the ranking ended."""

    rows: tuple[Row, ...]
    skipped: Mapping[str, str]  # model -> why it was not tried
    classes: tuple[str, ...]
    stop_reason: str  # why no larger sample was tried
    seconds: float

    @property
    def best(self) -> Row:
        """The network with the lowest log-loss among those of the last round."""
        return self.rows[0]

    @property
    def last_round(self) -> tuple[Row, ...]:
        """The networks of the last round: only these were evaluated on the same images."""
        return tuple(row for row in self.rows if row.round == self.best.round)

    @property
    def tied(self) -> tuple[Row, ...]:
        """The best network, and those of the same round that are not significantly worse."""
        differences = [(row, log_loss_difference(row.probe, self.best.probe)) for row in self.last_round[1:]]
        return (self.best, *(row for row, (mean, error) in differences if mean <= error))

    @property
    def fastest(self) -> Row:
        """The fastest of the tied networks."""
        return min(self.tied, key=lambda row: row.ms_per_image)


@dataclass(frozen=True)
class RankedModel:
    """One network in ``rank.json``."""

    model: str
    log_loss: Interval
    accuracy: Interval
    logme: float
    ms_per_image: float
    engine: str
    parameters: int
    l2: float | None
    train_images: int
    validation_images: int
    round: int
    dropped: bool


@dataclass(frozen=True)
class RankingDocument:
    """The content of ``rank.json``."""

    headstart: str  # version
    command: dict[str, object]  # settings, photos, models and budget
    classes: tuple[str, ...]
    seconds: float
    stop_reason: str
    tied: tuple[str, ...]
    fastest: str
    models: tuple[RankedModel, ...]  # best first
    skipped: dict[str, str]


def format_ranking(ranking: Ranking) -> list[str]:
    """The lines of a table for a terminal, and a summary."""
    width = max(len(row.model) for row in ranking.rows)
    table = [f"{'model':{width}}  log-loss  accuracy (95 % interval)    LogME  ms/image  params  train images"]
    for row in ranking.rows:
        accuracy = row.probe.accuracy
        interval = f"{accuracy.value:6.1%} ({accuracy.low:.1%} to {accuracy.high:.1%})"
        table.append(
            f"{row.model:{width}}  {row.probe.log_loss.value:8.3f}  {interval:24}  {row.logme:7.3f}  "
            f"{row.ms_per_image:8.2f}  {row.parameters / 1e6:5.1f}M  {row.train_images:6,}{'  dropped' * row.dropped}"
        )
    table += [f"{name:{width}}  skipped: {reason}" for name, reason in ranking.skipped.items()]
    by_logme = max(ranking.last_round, key=lambda row: row.logme).model
    best, others = ranking.best.model, [row.model for row in ranking.tied[1:]]
    tied = f"; not significantly worse: {', '.join(others)}; fastest of these: {ranking.fastest.model}"
    return [
        *table,
        f"{ranking.best.validation_images:,} validation images; stopped: {ranking.stop_reason}",
        f"best by LogME, which needs no solved head: {by_logme}",
        f"best: {best}" + tied * bool(others),
    ]


def save_ranking(ranking: Ranking, folder: Path, *, command: dict[str, object]) -> Path:
    """Write ``rank.json`` and ``rank.png``; return the path of the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    document = RankingDocument(
        headstart=__version__,
        command=command,
        classes=ranking.classes,
        seconds=ranking.seconds,
        stop_reason=ranking.stop_reason,
        tied=tuple(row.model for row in ranking.tied),
        fastest=ranking.fastest.model,
        models=tuple(_ranked_model(row) for row in ranking.rows),
        skipped=dict(ranking.skipped),
    )
    write_document(folder / "rank.json", document, version=RANKING_FORMAT)
    return rank_plot(
        [row.model for row in ranking.rows],
        [row.ms_per_image for row in ranking.rows],
        [row.probe.accuracy for row in ranking.rows],
        folder / "rank.png",
        dropped=[row.dropped for row in ranking.rows],
    )


def read_ranking(path: Path) -> RankingDocument:
    """Read ``rank.json``.

    :raises RunError: the file is missing or damaged, or has another format version.
    """
    remedy = "Run `headstart rank` again to write it anew."
    return read_document(RankingDocument, path, version=RANKING_FORMAT, remedy=remedy)


def _ranked_model(row: Row) -> RankedModel:
    return RankedModel(
        model=row.model,
        log_loss=row.probe.log_loss,
        accuracy=row.probe.accuracy,
        logme=row.logme,
        ms_per_image=round(row.ms_per_image, 3),
        engine=row.engine,
        parameters=row.parameters,
        l2=row.probe.l2,
        train_images=row.train_images,
        validation_images=row.validation_images,
        round=row.round,
        dropped=row.dropped,
    )
