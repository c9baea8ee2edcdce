"""What all benchmarks share: commands with their time and memory, environments for peers, and the result files.

A benchmark runs as a module from the root of the repository, for example ``python -m benchmarks.speed.first_fit``. Its
figures go to ``results/<folder>/<name>.json``, together with the machine, the versions and the command.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build"
RESULTS = HERE / "results"
QUICK_RESULTS = BUILD / "benchmarks"  # results of --quick, which show only that a script runs
PEERS = BUILD / "peers"

SHARED = Path(os.environ.get("HEADSTART_SHARED") or ROOT.parent / "shared" / "data")
WEIGHTS = SHARED.parent / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
KERAS_TUTORIAL = SHARED.parent / "bench" / "seed_keras.py"  # the 2020 tutorial in Keras
HEADSTART = Path(sys.executable).with_name("headstart")

Figures = dict[str, Any]


@dataclass(frozen=True)
class Completed:
    """A command that ended with exit status 0."""

    seconds: float
    peak_gb: float  # peak resident memory of the largest process: the command itself, or a child it waited for
    stdout: str
    stderr: list[tuple[float, str]] = field(default_factory=list)  # lines, with the seconds since the start
    anonymous_gb: float = 0.0  # peak of what the command itself has allocated, without pages of mapped files; sampled

    def report(self) -> Figures:
        """The JSON object in the last line of standard output: how a peer's script returns its figures."""
        return json.loads(self.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def run(*words: object, cwd: Path | None = None, **environment: str) -> Completed:
    """Run a command to its end, and pass its standard error on.

    The child inherits this process's resident memory as its initial peak, so a script that measures memory must not
    import anything large before.
    """
    start = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    lines: list[tuple[float, str]] = []

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append((round(time.monotonic() - start, 2), line.rstrip()))
            sys.stderr.write(line)

    ended, allocated = threading.Event(), [0]

    def sample() -> None:
        while not ended.wait(0.05):
            allocated.append(_anonymous_bytes(process.pid))

    threads = [threading.Thread(target=listen), threading.Thread(target=sample)]
    for thread in threads:
        thread.start()
    assert process.stdout is not None
    stdout = process.stdout.read()
    ended.set()
    for thread in threads:
        thread.join()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(map(str, words))} failed with exit status {process.returncode}")
    peak, anonymous = usage.ru_maxrss * 1024 / 1e9, max(allocated) / 1e9
    return Completed(round(time.monotonic() - start, 2), round(peak, 2), stdout, lines, round(anonymous, 2))


def _anonymous_bytes(process: int) -> int:
    """The anonymous memory of a process, which Linux reports; 0 elsewhere."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def module(name: str, *words: object) -> tuple[object, ...]:
    """The command that runs a benchmark module; pass ``cwd=ROOT`` to :func:`run`."""
    return (sys.executable, "-m", name, *words)


def own_python() -> Path:
    """The Python that headstart is installed in."""
    return HEADSTART.with_name("python")


def peer_python(name: str, *packages: str, shared: bool = False) -> Path:
    """The Python of a peer's own environment, which is created at the first call.

    :param shared: make this environment's packages visible there (torch alone takes 5 GB), and install only what is
        missing.
    """
    python, ready = PEERS / name / "bin" / "python", PEERS / name / ".ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", PEERS / name], check=True)
        if shared:
            code = "import sysconfig; print(sysconfig.get_path('purelib'))"
            packages_of_peer = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
            Path(packages_of_peer.strip(), "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
        if packages:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        ready.touch()
    return python


def keras_python() -> Path:
    """TensorFlow and Keras, in an environment of their own."""
    return peer_python("keras", "tensorflow-cpu==2.21.0", "opencv-python-headless", "pandas")


def empty_folder(name: str) -> Path:
    """An empty folder below build/."""
    folder = BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def read_json(path: Path) -> Figures:
    """A JSON object."""
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, minimum and maximum."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, float]:
    """Ratio of the medians, and the smallest and largest ratio of any two runs; three significant digits."""
    return {
        "median": _three_digits(statistics.median(numerators) / statistics.median(denominators)),
        "low": _three_digits(min(numerators) / max(denominators)),
        "high": _three_digits(max(numerators) / min(denominators)),
    }


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")


def times_of(work: Callable[[], object], times: int, *, warmup: int = 1) -> list[float]:
    """Seconds of each call, after ``warmup`` calls that are not counted."""
    for _ in range(warmup):
        work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def save(name: str, figures: Figures, *, quick: bool = False, show: bool = True) -> Path:
    """Write the figures with machine, versions and command. Those of ``--quick`` go to build/benchmarks.

    :param name: folder and file without its suffix, for example "speed/first_fit".
    """
    path = result_path(name, quick=quick)
    write_result(path, figures)
    if show:
        print(json.dumps(figures, indent=2))
    return path


def write_result(path: Path, figures: Figures) -> None:
    """Write the figures with machine, versions and command to any file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "command": _command(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **_versions()},
        **figures,
    }
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def result_path(name: str, *, quick: bool = False) -> Path:
    """Where :func:`save` writes."""
    return (QUICK_RESULTS if quick else RESULTS) / f"{name}.json"


def earlier(name: str, keys: Iterable[str]) -> Figures:
    """Some entries of an earlier result, each with the machine it was measured on, which may be another one."""
    path = result_path(name)
    before = read_json(path) if path.exists() else {}
    return {key: {"machine": before["machine"], **before[key]} for key in keys if key in before}


def _command() -> str:
    """The command line of this process, as typed in the root of the repository."""
    script = Path(sys.argv[0]).resolve()
    name = ".".join(script.relative_to(ROOT).with_suffix("").parts) if script.is_relative_to(ROOT) else str(script)
    return shlex.join(["python", "-m", name, *sys.argv[1:]])


def _versions() -> dict[str, str]:
    found = {}
    for package in ("torch", "timm", "openvino", "pylance", "pillow", "numpy"):
        with suppress(PackageNotFoundError):  # OpenVINO is not needed on a machine with a GPU
            found[package] = version(package)
    return found


def machine() -> Figures:
    """A description of this machine; figures of different machines must not be divided by each other."""
    found: Figures = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.system(),
    }
    if shutil.which("nvidia-smi"):
        query = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
        found["gpu"] = subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    family = f"family {facts['cpu family']} model {facts['model']}" if "cpu family" in facts else ""
    return f"{facts.get('model name', platform.processor())} {family} ({', '.join(flags)})"
