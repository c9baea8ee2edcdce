"""Time and memory of ``headstart check`` on the 10,222 images of dogs120: from nothing, and with features in the store.

    python -m benchmarks.speed.check [--repeats 3] [--quick]

Each run is a process of its own, whose peak memory is recorded: all that is resident, and what the command itself has
allocated. The rest is pages of the files of libraries, of which Linux keeps more where these files were written shortly
before, as by an installation; so drop its page cache first (``sync; echo 3 > /proc/sys/vm/drop_caches``). With
``--quick``, the 240 images of kaggle-dogs-240.
"""

from __future__ import annotations

import argparse

from benchmarks.harness import HEADSTART, SHARED, Completed, empty_folder, run, save, spread


def main() -> None:
    """One run with an empty store, then others with a full one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small data set: shows only that the script runs")
    given = parser.parse_args()
    data = "kaggle-dogs-240" if given.quick else "dogs120"
    work = empty_folder("check-speed")

    def check() -> Completed:
        return run(HEADSTART, "check", SHARED / data, "--out", work / "check", "--cache-dir", work / "cache")

    cold, warm = check(), [check() for _ in range(given.repeats)]
    figures = {
        "data": data,
        "from_nothing_s": cold.seconds,
        "from_nothing_peak_gb": cold.peak_gb,
        "from_nothing_anonymous_gb": cold.anonymous_gb,
        "store_warm_s": spread([each.seconds for each in warm]),
        "store_warm_peak_gb": spread([each.peak_gb for each in warm]),
        "store_warm_anonymous_gb": spread([each.anonymous_gb for each in warm]),
    }
    save("speed/check", figures, quick=given.quick)


if __name__ == "__main__":
    main()
