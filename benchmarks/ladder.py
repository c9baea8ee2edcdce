"""What each rung of the ladder costs and gains, and where ``headstart fit`` ends, over seeds.

    python benchmarks/ladder.py [--seeds 5]

By ``headstart fit`` from the command line, a fifth to validate; of trash6 another fifth that no choice sees, which the
end is told of; of dogs120 the end is told of validation, as the issue that asks for it does. The first seed starts from
nothing; the store stays for the others, whose other split still needs some features. Seconds are those of a rung alone,
and of the whole process. Every figure but the ladder's own rows is after scaling by temperature.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from typing import Any

from harness import HEADSTART, SHARED, emptied, keep, kept, run, spread

RUNS: dict[str, tuple[object, ...]] = {
    "trash6": ("--validation", 0.2, "--test", 0.2),
    "trash6, two minutes": ("--validation", 0.2, "--test", 0.2, "--budget", "2min"),
    "trash6, two minutes, BatchNorm frozen": (
        *("--validation", 0.2, "--test", 0.2),
        *("--budget", "2min", "--batchnorm", "frozen"),
    ),
    "dogs120": ("--validation", 0.2, "--test", 0),
    "dogs120, mirrored, 256 pixels": ("--validation", 0.2, "--test", 0, "--mirror", "on", "--size", 256),
    "dogs120, pretrained head off": ("--validation", 0.2, "--test", 0, "--pretrained-head", "off"),
    "dogs120, 256 pixels": ("--validation", 0.2, "--test", 0, "--size", 256),
    "dogs120, 256 pixels, pretrained head off": (
        *("--validation", 0.2, "--test", 0),
        *("--size", 256, "--pretrained-head", "off"),
    ),
}


def fitted(name: str, seeds: int) -> dict[str, Any]:
    """Seed after seed."""
    data = name.partition(",")[0]
    folder = emptied("ladder")
    ends: dict[str, list[float]] = defaultdict(list)
    rungs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    chosen = []
    for seed in range(seeds):
        places = ("--store", folder / "store", "--out", folder / "run")
        ran = run(HEADSTART, "fit", SHARED / data, *RUNS[name], "--seed", seed, *places)
        evaluation = json.loads((folder / "run" / "evaluation.json").read_text())
        for figure in ("top1", "log_loss", "ece"):
            ends[figure].append(evaluation[figure]["value"])
        ends["covered"].append(evaluation["sets"]["covered"]["value"])
        ends["seconds"].append(ran.seconds)
        ends["peak_gb"].append(ran.peak_gb)
        for row in evaluation["ladder"]:
            rungs[row["rung"]].append(row)
        chosen.append(next(row["rung"] for row in evaluation["ladder"] if row["chosen"]))
    return {
        "part": evaluation["part"],
        "chosen": chosen,
        "first_from_nothing_s": ends["seconds"][0],
        "end": {name: {**spread(each), "mean": round(sum(each) / seeds, 4)} for name, each in ends.items()},
        "rungs": {
            name: {
                "seeds": len(rows),
                **{figure: spread([row[figure] for row in rows]) for figure in ("accuracy", "log_loss", "seconds")},
            }
            for name, rows in rungs.items()
        },
    }


def main() -> None:
    """One after the other; what is there is kept as it goes."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument(
        "--only", nargs="+", choices=RUNS, default=list(RUNS), help="the others stay as they are kept"
    )
    given = arguments.parse_args()
    figures = kept("ladder", [name for name in RUNS if name not in given.only])
    for name in given.only:
        figures[name] = fitted(name, given.seeds)
        keep("ladder", figures, say=False)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
