"""The run folder of a fit or an evaluation: where it goes, and what is written into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart.artifacts.run_folder import remove_evaluations, run_info, write_run
from headstart.artifacts.saliency_file import write_saliency
from headstart.events import Events
from headstart.files import replace_together, write_or_keep
from headstart.workflow.fit import FitResult
from headstart.workflow.report import report
from headstart.workflow.saliency import explain_examples

__all__ = ["finish_run", "save_run"]


def finish_run(result: FitResult, folder: Path, *, arguments: Sequence[str] = (), events: Events | None = None) -> Path:
    """Write the run folder of a fit with its report, and return the path of the report.

    :param arguments: the command line as typed.
    :raises OutputError: the folder cannot be written; the run is in a temporary one, which the message names.
    """
    return write_or_keep(folder, lambda place: report(save_run(result, place, arguments=arguments, events=events)))


def save_run(result: FitResult, folder: Path, *, arguments: Sequence[str] = (), events: Events | None = None) -> Path:
    """Write everything but the report: the classifier, its evaluation, the history and the settings.

    The files of an earlier run in the folder are replaced together, and what was made from its classifier is removed:
    its report and evaluations.

    :param arguments: the command line as typed.
    """
    settings, removed = result.settings, [0]
    classes, evaluated = result.classifier.classes, result.manifest.usable.in_split(result.split)
    saliency = explain_examples(result.classifier, evaluated, result.probabilities)
    with replace_together(folder, remove_outdated=lambda: removed.append(remove_evaluations(folder))) as new:
        result.classifier.save(new / "classifier")
        write_saliency(new / "saliency.parquet", saliency)
        write_run(
            new,
            info=run_info(
                "fit",
                settings.values(),
                arguments=arguments,
                seeds=range(settings.seed, settings.seed + settings.seeds),
                seconds=round(result.seconds, 2),
                data=result.manifest.description,
            ),
            evaluation=result.evaluation,
            history=result.history,
            manifest=result.manifest,
            split=evaluated,
            probabilities=result.probabilities,
            classes=classes,
        )
    if count := removed[-1]:
        (events or Events()).notice(
            f"removed {count:,} evaluation{'s' * (count > 1)} of the classifier that was in {folder}"
        )
    return folder
