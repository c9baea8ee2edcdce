"""What the benchmarks share: the machine in words, commands with time and memory, peers in their own environments."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("HEADSTART_SHARED") or ROOT.parent / "shared" / "data")
RESULTS = ROOT / "benchmarks" / "results"
HEADSTART = Path(sys.executable).with_name("headstart")
PEERS = ROOT / "build" / "peers"


@dataclass(frozen=True)
class Ran:
    """One command, run to its end."""

    seconds: float
    peak_gb: float  # resident memory at its highest, of the process and the largest of its children
    out: str


def run(*words: object, **environment: str) -> Ran:
    """Run a command alone; what it says on standard error goes to ours."""
    start = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {process.returncode}")
    return Ran(round(time.monotonic() - start, 2), round(usage.ru_maxrss / 1e6, 2), out)


def peer(name: str, *packages: str) -> Path:
    """The Python of a peer's own environment, which is made at the first call."""
    python = PEERS / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", PEERS / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def emptied(name: str) -> Path:
    """An empty folder below build/."""
    folder = ROOT / "build" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def spread(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def keep(name: str, figures: dict[str, Any]) -> None:
    """Write the figures with what they were measured on, and print them."""
    RESULTS.mkdir(exist_ok=True)
    packages = ("torch", "timm", "openvino", "pylance", "pillow", "numpy")
    result = {
        "command": f"python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".strip(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": _processor(), "cores": len(os.sched_getaffinity(0)), "system": platform.system()},
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        **figures,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    family = f"family {facts['cpu family']} model {facts['model']}" if "cpu family" in facts else ""
    return f"{facts.get('model name', platform.processor())} {family} ({', '.join(flags)})"
