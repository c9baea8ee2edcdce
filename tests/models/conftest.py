from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _small_work(one_thread: None) -> None:
    """All networks in this folder are small."""
