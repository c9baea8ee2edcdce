from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _small_work(one_thread: None) -> None:
    """All of this folder's networks are small."""
