"""What the benchmarks share: the machine in words, commands with time and memory, peers in their own environments."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "benchmarks"
SHARED = Path(os.environ.get("HEADSTART_SHARED") or ROOT.parent / "shared" / "data")
WEIGHTS = SHARED.parent / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
SEED = SHARED.parent / "bench" / "seed_keras.py"  # the peer to beat: the 2020 tutorial in Keras
RESULTS = HERE / "results"
TRIAL = ROOT / "build" / "benchmarks"  # results of --quick: they say that a script runs, and nothing of its speed
HEADSTART = Path(sys.executable).with_name("headstart")
PEERS = ROOT / "build" / "peers"


@dataclass(frozen=True)
class Ran:
    """One command, run to its end."""

    seconds: float
    peak_gb: float  # resident memory at its highest, of the process and the largest of its children
    out: str
    said: list[tuple[float, str]] = field(default_factory=list)  # lines of standard error, with seconds since the start


def run(*words: object, **environment: str) -> Ran:
    """Run a command alone; what it says on standard error goes to ours.

    The child starts with our own memory as its peak: a script that calls this imports nothing large before.
    """
    start = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    said: list[tuple[float, str]] = []

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            said.append((round(time.monotonic() - start, 2), line.rstrip()))
            sys.stderr.write(line)

    listening = threading.Thread(target=listen)
    listening.start()
    assert process.stdout is not None
    out = process.stdout.read()
    listening.join()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {process.returncode}")
    return Ran(round(time.monotonic() - start, 2), round(usage.ru_maxrss / 1e6, 2), out, said)


def peer(name: str, *packages: str, beside: bool = False) -> Path:
    """The Python of a peer's own environment, which is made at the first call.

    :param beside: what this Python has (torch is 5 GB) is seen there too; only what is missing is installed.
    """
    python, ready = PEERS / name / "bin" / "python", PEERS / name / ".ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", PEERS / name], check=True)
        if beside:
            ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
            theirs = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
            Path(theirs, "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
        if packages:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        ready.touch()
    return python


def told(ran: Ran) -> dict[str, Any]:
    """What a peer's script says of itself: the JSON object in its last line."""
    return json.loads(ran.out.strip().splitlines()[-1])  # type: ignore[no-any-return]


def emptied(name: str) -> Path:
    """An empty folder below build/."""
    folder = ROOT / "build" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def spread(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratio(over: list[float], under: list[float]) -> dict[str, float]:
    """How many of ``under`` go into ``over``: of the medians, and of the runs that lie farthest to either side."""
    return {
        "median": _three_digits(statistics.median(over) / statistics.median(under)),
        "low": _three_digits(min(over) / max(under)),
        "high": _three_digits(max(over) / min(under)),
    }


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")


def times_of(work: Callable[[], object], times: int, *, before: int = 1) -> list[float]:
    """Seconds of each call, after some that are not counted."""
    for _ in range(before):
        work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken


def keep(name: str, figures: dict[str, Any], *, quick: bool = False, say: bool = True) -> None:
    """Write the figures with what they were measured on, and print them; those of a trial go elsewhere."""
    folder = TRIAL if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "command": f"python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".strip(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **_versions()},
        **figures,
    }
    (folder / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    if say:
        print(json.dumps(figures, indent=2))


def kept(name: str, parts: Iterable[str]) -> dict[str, Any]:
    """These parts of an earlier result, each with the machine it was measured on, which need not be this one."""
    place = RESULTS / f"{name}.json"
    before = json.loads(place.read_text()) if place.exists() else {}
    return {part: {"machine": before["machine"], **before[part]} for part in parts if part in before}


def _versions() -> dict[str, str]:
    found = {}
    for package in ("torch", "timm", "openvino", "pylance", "pillow", "numpy"):
        with suppress(PackageNotFoundError):  # a machine with a GPU needs no OpenVINO
            found[package] = version(package)
    return found


def machine() -> dict[str, Any]:
    """In words; figures of two machines are not to be divided by each other."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.system(),
    }
    if shutil.which("nvidia-smi"):
        ask = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
        found["gpu"] = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    family = f"family {facts['cpu family']} model {facts['model']}" if "cpu family" in facts else ""
    return f"{facts.get('model name', platform.processor())} {family} ({', '.join(flags)})"
