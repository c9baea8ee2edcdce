"""MLflow: a run of the experiment "headstart", or as ``MLFLOW_EXPERIMENT_NAME`` says, at ``MLFLOW_TRACKING_URI``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.artifacts.run_folder import CARD
from headstart.extras import require_extra

__all__ = ["MlflowTracker"]

_EXPERIMENT = "headstart"
_REPORT = "report.html"
_LONGEST = 6000  # characters of a parameter that MLflow takes


class MlflowTracker:
    """Logs with MLflow's client, which takes no part in whatever run its caller has begun."""

    name = "mlflow"

    def check(self) -> None:
        """Check that the package is installed.

        :raises SettingsError: it is not; the message has the command that installs it.
        """
        require_extra("mlflow", ["mlflow"], what="--track mlflow")

    def open(self, folder: Path, settings: Mapping[str, object]) -> MlflowRun:
        """Begin a run that is named as the folder."""
        return MlflowRun(folder.resolve().name, settings)


class MlflowRun:
    """A run of an experiment."""

    def __init__(self, name: str, settings: Mapping[str, object]) -> None:
        import mlflow
        from mlflow.entities import Metric, Param

        self._metric: Any = Metric
        self._client: Any = mlflow.MlflowClient()
        wanted = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        found = self._client.get_experiment_by_name(wanted)
        experiment = self._client.create_experiment(wanted) if found is None else found.experiment_id
        self._run = self._client.create_run(experiment, run_name=name).info.run_id
        self._finished = False
        self.where = f"{wanted}, run {self._run}, at {mlflow.get_tracking_uri()}"
        parameters = [Param(key, str(value)[:_LONGEST]) for key, value in settings.items()]
        self._client.log_batch(self._run, params=parameters)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Write a value per metric; a colon in its name becomes a hyphen, as on systems whose files have none."""
        from time import time

        now = int(time() * 1000)
        values = [self._metric(name.replace(":", "-"), value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self._run, metrics=values)

    def log_documents(self, run: Path) -> None:
        """Upload the model card and the report; the fit is done with that."""
        for name in (CARD, _REPORT):
            if (run / name).is_file():
                self._client.log_artifact(self._run, str(run / name))
        self._finished = True

    def close(self) -> None:
        """End the run: as finished, or as failed if its documents were not logged."""
        self._client.set_terminated(self._run, "FINISHED" if self._finished else "FAILED")
