"""Near-duplicates by the perceptual hashes of imagededup (Apache-2.0), with its default threshold.

python imagededup_pairs.py FOLDER PAIRS.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from imagededup.methods import PHash

if __name__ == "__main__":
    found = PHash().find_duplicates(image_dir=sys.argv[1], scores=False)
    pairs = sorted({tuple(sorted((one, other))) for one, others in found.items() for other in others})
    Path(sys.argv[2]).write_text(json.dumps(pairs))
