"""What replaces an older one does so completely or not at all, whatever happens.

``benchmarks/faults.py`` tries whole fits.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("kind", ["run", "classifier"])
def test_killed_or_on_a_full_disk_it_is_the_old_or_the_new_one(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, Path(__file__).with_name("faulty_writing.py"), kind, tmp_path]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    printed = json.loads(ran.stdout)
    assert printed["wrong"] == []
    assert printed["found"]["kill"] > 12
    assert min(printed["found"][name] for name in ("old", "new", "disk full", "read-only")) >= 5
