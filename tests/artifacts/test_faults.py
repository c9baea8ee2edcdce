"""A run replaces an older one completely or not at all, whatever happens; ``benchmarks/faults.py`` tries whole fits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_a_run_that_is_killed_or_finds_the_disk_full_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    command = [sys.executable, Path(__file__).with_name("faulty_writing.py"), tmp_path]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    printed = json.loads(ran.stdout)
    assert printed["wrong"] == []
    assert printed["found"]["kill"] > 20
    assert min(printed["found"][name] for name in ("old", "new", "disk full", "read-only")) >= 5
