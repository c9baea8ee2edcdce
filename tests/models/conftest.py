from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _small_work() -> Iterator[None]:
    """One thread: sharing out such small work costs more than it saves. NNPACK off, as in the product."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.backends.nnpack.flags(enabled=False):
        yield
    torch.set_num_threads(threads)
