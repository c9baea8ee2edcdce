"""Run the headstart command, and tell where the seconds of its main thread went.

    python -m benchmarks.speed.sampled OUT.json fit PHOTOS --out RUN

A thread looks at the main thread's stack every 10 ms. Each sample counts for the innermost function of headstart, or
the module that is being imported, together with the package that this was calling. The command's own output is as
always.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

INTERVAL = 0.01  # seconds
MOST = 60  # lines


def package_of(path: str) -> str:
    """The package that a file belongs to.

    >>> package_of("/x/site-packages/torch/nn/modules/module.py"), package_of("/x/src/headstart/cli/fit.py")
    ('torch', 'headstart.cli.fit')
    """
    parts = Path(path).with_suffix("").parts
    if "headstart" in parts:
        start = len(parts) - 1 - parts[::-1].index("headstart")
        return ".".join(parts[start:])
    for folder in ("site-packages", "dist-packages", "site"):
        if folder in parts:
            return parts[parts.index(folder) + 1]
    return "python" if parts else "?"


def place_of(frame: FrameType | None) -> tuple[str, str]:
    """(what of headstart was running, or what was imported; what it was calling)."""
    own, imported, inner = "", "", ""
    while frame is not None:
        name = package_of(frame.f_code.co_filename)
        inner = inner or f"{name}.{frame.f_code.co_name}"
        if frame.f_code.co_name == "<module>" and name != "python" and not name.startswith("benchmarks"):
            if not name.startswith("headstart"):
                imported = name  # the outermost remains: who imports it matters more than what it imports
            imported = imported or name
        elif not own and name.startswith("headstart"):
            own = f"{name}.{frame.f_code.co_name}"
        frame = frame.f_back
    return f"import {imported}" if imported else own, inner


def shares_of_threads(work: Callable[[], object], most: int = 6) -> dict[str, dict[str, float]]:
    """Run a piece of work, and return by thread in which functions it was found, as shares of the samples."""
    counts: dict[str, Counter[str]] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(INTERVAL / 2):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                name = names.get(ident, "")
                if name and name != sampler.name:
                    own, inner = place_of(frame)
                    counts.setdefault(name, Counter())[f"{own} > {inner}"] += 1

    sampler = threading.Thread(target=look, daemon=True, name="sampler")
    sampler.start()
    try:
        work()
    finally:
        done.set()
        sampler.join()
    return {
        name: {place: round(count / found.total(), 2) for place, count in found.most_common(most)}
        for name, found in sorted(counts.items())
    }


def main() -> None:
    """Run ``headstart`` with the arguments, and write the counts."""
    out, arguments = Path(sys.argv[1]), sys.argv[2:]
    counts: Counter[tuple[str, str]] = Counter()
    timeline: list[list[Any]] = []
    thread, start, done = threading.main_thread().ident, time.monotonic(), threading.Event()

    def look() -> None:
        last = start
        while not done.wait(INTERVAL):
            now = time.monotonic()
            place, inner = place_of(sys._current_frames().get(thread or 0))
            counts[place, inner] += now - last  # type: ignore[assignment]  # seconds
            if not timeline or timeline[-1][2] != place:
                timeline.append([round(last - start, 2), 0.0, place])
            timeline[-1][1] = round(timeline[-1][1] + now - last, 2)
            last = now

    sampler = threading.Thread(target=look, daemon=True)
    sampler.start()
    sys.argv = ["headstart", *arguments]
    try:
        from headstart.cli import main as command

        command()
    finally:
        done.set()
        sampler.join()
        lines = [[round(seconds, 2), *place] for place, seconds in counts.most_common(MOST)]
        steps = [step for step in timeline if step[1] >= 0.1]
        imports = sum(seconds for (place, _), seconds in counts.items() if place.startswith("import "))
        figures = {"seconds": round(time.monotonic() - start, 2), "importing": round(imports, 2)}
        out.write_text(json.dumps({**figures, "top": lines, "timeline": steps}))


if __name__ == "__main__":
    main()
