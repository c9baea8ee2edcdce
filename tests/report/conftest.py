"""Run folders to report on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headstart.evaluate.schema import read_evaluation, read_run_info, write_evaluation, write_run_info


@pytest.fixture
def change():
    """A function that replaces fields of the evaluation of a run."""

    def change(run, **values):
        path = run / "evaluation.json"
        write_evaluation(path, replace(read_evaluation(path), **values))

    return change


@pytest.fixture
def change_info():
    """A function that replaces fields of the settings.json of a run."""

    def change(run, **values):
        path = run / "settings.json"
        write_run_info(path, replace(read_run_info(path), **values))

    return change
