"""The run folder of a fit or an evaluation: where it goes, and what is written into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart.artifacts.run_folder import run_info, write_run
from headstart.workflow.fit import FitResult

__all__ = ["save_run"]


def save_run(result: FitResult, folder: Path, *, arguments: Sequence[str] = ()) -> Path:
    """Write everything but the report: the classifier, its evaluation, the history and the settings.

    :param arguments: the command line as typed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result.classifier.save(folder / "classifier")
    settings = result.settings
    write_run(
        folder,
        info=run_info(
            "fit",
            settings.values(),
            arguments=arguments,
            seeds=range(settings.seed, settings.seed + settings.seeds),
            seconds=round(result.seconds, 2),
        ),
        evaluation=result.evaluation,
        history=result.history,
        manifest=result.manifest,
        split=result.manifest.usable.in_split(result.split),
        probabilities=result.probabilities,
        classes=result.classifier.classes,
    )
    return folder
