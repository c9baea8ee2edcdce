"""Heads that the workers of a Ray cluster solve, where the features are larger than this process may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.execution.cluster import Cluster
from headstart.workflow import extraction
from headstart.workflow.fit import FitResult

pytest.importorskip("ray", reason="Ray has no wheels for this Python")

Photos = Callable[..., Path]
Fit = Callable[..., FitResult]
OVER_SHARDS = "the head is solved over shards, by the workers of the cluster"


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two one-core workers on this machine, which all tests of this file use."""
    with Cluster("local", 2).connected():
        yield "local:2"


@pytest.fixture
def all_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """No features fit into memory."""
    monkeypatch.setattr(extraction, "MAX_IN_MEMORY", 0)


def test_large_features_give_the_classifier_of_one_process(
    photos: Photos, fitted: Fit, told: Any, cluster: str, all_is_large: None
) -> None:
    folder, settings = photos(red=30, green=30, blue=30), {"train": "head", "tta_flip": True, "test_share": 0.2}
    here = fitted(folder, **settings)
    events = told()
    there = fitted(folder, events, **settings, cluster=cluster)
    assert any(OVER_SHARDS in line for line in events.lines)
    assert np.allclose(there.probabilities, here.probabilities, atol=1e-3)
    assert np.array_equal(there.probabilities.argmax(1), here.probabilities.argmax(1))
    chosen = [[(each.l2, each.prior, each.stages) for each in found.history if each.chosen] for found in (here, there)]
    assert chosen[0] == chosen[1]


def test_small_features_are_solved_here(photos: Photos, fitted: Fit, told: Any) -> None:
    """No cluster is even connected to, as all features are there."""
    folder = photos(red=10, green=10)
    fitted(folder, train="head", validation_share=0.2)
    events = told()
    fitted(folder, events, train="head", validation_share=0.2, cluster="127.0.0.1:1")
    assert not any(OVER_SHARDS in line for line in events.lines)


def test_what_workers_cannot_solve_is_told(photos: Photos, fitted: Fit, told: Any, all_is_large: None) -> None:
    folder = photos(red=10, green=10)
    fitted(folder, train="head", validation_share=None)
    events = told()
    fitted(folder, events, train="head", validation_share=None, cluster="127.0.0.1:1")
    assert any("the head is solved by this process" in line and "cross-validation" in line for line in events.lines)
