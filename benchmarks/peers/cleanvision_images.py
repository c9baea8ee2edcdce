"""Peer: CleanVision on images, as its documentation describes it. Runs in an environment of its own.

python cleanvision_images.py PATHS.json ISSUES.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cleanvision import Imagelab


def main() -> None:
    """All checks of single images."""
    lab = Imagelab(filepaths=json.loads(Path(sys.argv[1]).read_text()))
    lab.find_issues(n_jobs=2)
    table = lab.issues
    flags = [name for name in table.columns if name.startswith("is_") and name.endswith("_issue")]
    found = {name: [str(path) for path in table.index[table[name]]] for name in flags}
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
