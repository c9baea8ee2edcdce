"""Time and memory of five commands in two source trees, run alternately on this machine.

    python -m benchmarks.speed.paired_commands OLD/src src ../shared/data/dogs120 --runs 5

The commands are ``headstart --help``, ``check`` of every image with nothing cached, ``fit --train head`` from nothing
and with the features stored, and ``predict`` of one image by the classifier of that fit, each in a process of its own.
Every second pair runs in reverse order, so that slow minutes of the machine meet both trees alike. Short commands are
run several times in a pair, and the quickest counts. For whole fits see ``benchmarks.speed.paired_fit``.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import BUILD, QUICK_RESULTS, Completed, Figures, empty_folder, run, spread, write_result


@dataclass(frozen=True)
class Tree:
    """A source tree, and how to run its commands on the images."""

    name: str  # "first" or "second"
    src: Path
    data: Path
    options: tuple[str, ...]  # of fit

    @property
    def folder(self) -> Path:
        """Where its runs and its cache go."""
        return BUILD / "paired_commands" / self.name

    def run(self, *words: object) -> Completed:
        """Run ``headstart`` of this tree, with its own cache folder."""
        environment = {"PYTHONPATH": str(self.src), "HEADSTART_CACHE": str(self.folder / "cache")}
        return run(sys.executable, "-m", "headstart.cli", *words, cwd=BUILD, **environment)

    def help(self) -> Completed:
        """Print the help."""
        return self.run("--help")

    def check(self) -> Completed:
        """Inspect every image; nothing is cached."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        return self.run("check", self.data, "--out", self.folder / "check")

    def cold_fit(self) -> Completed:
        """Compute features and solve a head; nothing is cached."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        return self.fit()

    def fit(self) -> Completed:
        """Solve a head on stored features."""
        return self.run("fit", self.data, "--train", "head", "--out", self.folder / "run", *self.options)

    def predict(self) -> Completed:
        """Predict one image."""
        image = next(path for path in sorted(self.data.rglob("*")) if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
        return self.run("predict", self.folder / "run", image)


@dataclass(frozen=True)
class Command:
    """A command to compare, and how often a pair runs it."""

    name: str
    work: Callable[[Tree], Completed]
    repeats: int = 1


COMMANDS = (
    Command("help", Tree.help, repeats=10),
    Command("check", Tree.check),
    Command("cold fit --train head", Tree.cold_fit),
    Command("fit --train head", Tree.fit),
    Command("predict", Tree.predict, repeats=2),
)


def measure(command: Command, trees: tuple[Tree, Tree], pairs: int) -> Figures:
    """Seconds and peak memory of each run, and the differences within the pairs."""
    seconds: dict[str, list[float]] = {tree.name: [] for tree in trees}
    peaks: dict[str, list[float]] = {tree.name: [] for tree in trees}
    for tree in trees:
        command.work(tree)  # fills the caches
    for number in range(pairs):
        for tree in trees if number % 2 == 0 else reversed(trees):
            runs = [command.work(tree) for _ in range(command.repeats)]
            seconds[tree.name].append(min(each.seconds for each in runs))
            peaks[tree.name].append(max(each.peak_gb for each in runs))
    first, second = seconds["first"], seconds["second"]
    apart = [b - a for a, b in zip(first, second, strict=True)]
    base = statistics.median(first)
    return {
        "first_s": spread(first),
        "second_s": spread(second),
        "differences_s": [round(each, 3) for each in apart],
        "mean_difference": round(statistics.mean(apart) / base, 4),
        "standard_error": round(statistics.stdev(apart) / len(apart) ** 0.5 / base, 4) if pairs > 1 else None,
        "peak_gb": {name: max(values) for name, values in peaks.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__, allow_abbrev=False
    )
    parser.add_argument("first", type=Path, help="the folder that holds headstart/ of the first tree")
    parser.add_argument("second", type=Path, help="the same of the second tree")
    parser.add_argument("data", type=Path, help="the images to use")
    parser.add_argument("--only", nargs="*", choices=[command.name for command in COMMANDS], help="default: all")
    parser.add_argument("--runs", type=int, default=5, help="pairs of runs")
    parser.add_argument("--first-options", default="", help="options of fit for the first tree alone")
    parser.add_argument("--second-options", default="", help="options of fit for the second tree alone")
    parser.add_argument("--out", type=Path, default=QUICK_RESULTS / "speed" / "paired_commands.json")
    given = parser.parse_args()
    empty_folder("paired_commands")
    data = given.data.resolve()
    trees = (
        Tree("first", given.first.resolve(), data, tuple(shlex.split(given.first_options))),
        Tree("second", given.second.resolve(), data, tuple(shlex.split(given.second_options))),
    )
    figures: Figures = {"data": data.name, "commands": {}}
    for command in COMMANDS:
        if given.only and command.name not in given.only:
            continue
        found = figures["commands"][command.name] = measure(command, trees, given.runs)
        error = "" if found["standard_error"] is None else f", standard error {found['standard_error']:.1%}"
        print(
            f"{command.name:22} first {found['first_s']['median']:.2f} s, second {found['second_s']['median']:.2f} s: "
            f"{found['mean_difference']:+.1%}{error}; peak {found['peak_gb']}",
            flush=True,
        )
    write_result(given.out, figures)
    print(f"saved: {given.out}")


if __name__ == "__main__":
    main()
