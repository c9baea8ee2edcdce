from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _small_work(one_thread: None) -> Iterator[None]:
    """All of this folder's networks are small. NNPACK off, as in the product."""
    with torch.backends.nnpack.flags(enabled=False):
        yield
