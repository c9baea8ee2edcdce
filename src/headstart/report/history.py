"""Which lines of a training history make one curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headstart.evaluate.schema import EpochRecord

__all__ = ["STAGES", "one_trial"]

STAGES = ("head", "finetune")


def one_trial(history: Sequence[EpochRecord], chosen: str | None = None) -> tuple[EpochRecord, ...]:
    """Return the records of one trial per stage, since the records of several are not one curve.

    :param chosen: the trial to return where it has records of the stage. Otherwise it is the trial with the lowest
        validation loss.
    """
    kept: list[EpochRecord] = []
    for stage in STAGES:
        trials: dict[str, list[EpochRecord]] = {}
        for row in history:
            if row.stage == stage:
                trials.setdefault(row.trial, []).append(row)
        if trials:
            best = min(trials, key=lambda trial: _lowest_loss(trials[trial]))
            kept += trials[chosen if chosen is not None and chosen in trials else best]
    return tuple(kept)


def _lowest_loss(rows: Sequence[EpochRecord]) -> float:
    return min((row.val_loss for row in rows if math.isfinite(row.val_loss)), default=math.inf)
