"""Time and memory of ``headstart fit`` in two source trees, run alternately on this machine.

    python -m benchmarks.speed.paired_fit OLD/src src ../shared/data/trash6 --runs 5 --store warm \\
        --options="--seed 0" --first-options="--validation 0.2" --second-options="--validation-share 0.2"

Each pair runs both trees, every second pair in reverse order, so that slow minutes of the machine meet both alike. With
``--store cold`` each run has an empty cache folder (features, inspections, compiled networks); with ``--store warm``
each tree has its own, which a run that does not count fills first. Both trees run in this Python, by PYTHONPATH, and
the cache folder is set by HEADSTART_CACHE, so that the trees may name their options differently.

Prints and saves the wall seconds and the peak resident memory of each run, their median, minimum and maximum, and the
differences within the pairs (second tree minus first).
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import BUILD, QUICK_RESULTS, Figures, empty_folder, read_json, run, spread, write_result

COSTS = ("seconds", "peak_gb")


@dataclass(frozen=True)
class Tree:
    """A source tree and how to fit with it."""

    name: str  # "first" or "second"
    src: Path
    options: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where its runs and its cache go."""
        return BUILD / "paired_fit" / self.name

    def environment(self) -> dict[str, str]:
        """Imports headstart from ``src``, and keeps the cache apart."""
        return {"PYTHONPATH": str(self.src), "HEADSTART_CACHE": str(self.folder / "cache")}

    def check(self) -> None:
        """Make sure that this is the headstart that is imported.

        :raises SystemExit: it is not.
        """
        code = "import headstart; print(headstart.__file__)"
        found = Path(run(sys.executable, "-c", code, cwd=BUILD, **self.environment()).stdout.strip())
        if not found.is_relative_to(self.src):
            raise SystemExit(f"{self.src}: expected the folder that holds headstart/, but Python imports {found}")

    def fit(self, data: Path, *, cold: bool) -> Figures:
        """One fit, with an empty cache folder if ``cold``."""
        if cold:
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        out = self.folder / "run"
        shutil.rmtree(out, ignore_errors=True)
        words = (sys.executable, "-m", "headstart.cli", "fit", data, "--out", out, *self.options)
        completed = run(*words, cwd=BUILD, **self.environment())
        evaluation = read_json(out / "evaluation.json")
        return {
            "seconds": completed.seconds,
            "peak_gb": completed.peak_gb,
            "top1": evaluation["top1"]["value"],
            "stages_s": evaluation["summary"]["seconds"],
        }


def run_pairs(trees: tuple[Tree, Tree], data: Path, pairs: int, *, cold: bool) -> dict[str, list[Figures]]:
    """The figures of each run, by tree."""
    runs: dict[str, list[Figures]] = {tree.name: [] for tree in trees}
    if not cold:
        for tree in trees:
            tree.fit(data, cold=True)
    for number in range(pairs):
        for tree in trees if number % 2 == 0 else reversed(trees):
            runs[tree.name].append(tree.fit(data, cold=cold))
            last = runs[tree.name][-1]
            print(
                f"pair {number + 1}/{pairs}, {tree.name}: {last['seconds']:.2f} s, {last['peak_gb']:.2f} GB, "
                f"accuracy {last['top1']:.4f}",
                flush=True,
            )
    return runs


def compare(runs: dict[str, list[Figures]]) -> Figures:
    """Spread of each tree, and of the differences within the pairs."""
    first, second = runs["first"], runs["second"]
    found: Figures = {}
    for cost in COSTS:
        apart = [round(b[cost] - a[cost], 3) for a, b in zip(first, second, strict=True)]
        found[cost] = {
            "first": spread([each[cost] for each in first]),
            "second": spread([each[cost] for each in second]),
            "paired_differences": apart,
            "paired_difference": {
                **spread(apart),
                "mean": round(statistics.mean(apart), 3),
                "standard_error": round(statistics.stdev(apart) / len(apart) ** 0.5, 3) if len(apart) > 1 else None,
            },
        }
    return found


def show(comparison: Figures) -> None:
    """Print a table."""
    print(f"\n{'':12} {'median':>9} {'minimum':>9} {'maximum':>9}")
    for cost, each in comparison.items():
        for name in ("first", "second", "paired_difference"):
            values = "".join(f"{each[name][key]:>10.2f}" for key in ("median", "low", "high"))
            title = "difference" if name == "paired_difference" else name
            print(f"{title:12}{values}  {'seconds' if cost == 'seconds' else 'GB, peak'}")
        apart, base = each["paired_difference"], each["first"]["median"]
        error = "" if apart["standard_error"] is None else f", standard error {apart['standard_error']:.2f}"
        print(f"{'':12} mean difference {apart['mean']:+.2f} ({apart['mean'] / base:+.1%} of the first){error}\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__, allow_abbrev=False
    )
    parser.add_argument("first", type=Path, help="the folder that holds headstart/ of the first tree")
    parser.add_argument("second", type=Path, help="the same of the second tree")
    parser.add_argument("data", type=Path, help="the images to fit")
    parser.add_argument("--runs", type=int, default=5, help="pairs of runs")
    parser.add_argument("--store", choices=("cold", "warm"), default="cold")
    parser.add_argument("--options", default="", help="options of fit for both trees, in one string")
    parser.add_argument("--first-options", default="", help="options of fit for the first tree alone")
    parser.add_argument("--second-options", default="", help="options of fit for the second tree alone")
    parser.add_argument("--out", type=Path, default=QUICK_RESULTS / "speed" / "paired_fit.json")
    given = parser.parse_args()
    empty_folder("paired_fit")
    trees = (
        Tree("first", given.first.resolve(), (*shlex.split(given.options), *shlex.split(given.first_options))),
        Tree("second", given.second.resolve(), (*shlex.split(given.options), *shlex.split(given.second_options))),
    )
    for tree in trees:
        tree.check()
    runs = run_pairs(trees, given.data.resolve(), given.runs, cold=given.store == "cold")
    comparison = compare(runs)
    show(comparison)
    trees_used = {tree.name: {"src": str(tree.src), "options": list(tree.options)} for tree in trees}
    figures = {"data": given.data.name, "store": given.store, "trees": trees_used, "runs": runs}
    write_result(given.out, {**figures, "comparison": comparison})
    print(f"saved: {given.out}")


if __name__ == "__main__":
    main()
