"""The page about scale has the table that its script prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_page_has_the_table() -> None:
    command = [sys.executable, "-m", "benchmarks.scale.sizes"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.count("\n") > 10
    assert printed in (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
