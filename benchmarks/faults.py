"""Faults: kills, signals and full disks in a fit, damaged documents and damaged images, and what comes of them.

    python -m benchmarks.faults [--minutes 10] [--seed 0] [--quick]

**Fits.** A small fit replaces an older run. At a random change of a file, or at a random moment, its process is killed,
told to stop, or finds the disk full or read-only from there on. Then the run must be the old one or the new one, the
same command must end with the classifier and the figures of a fit that nothing disturbed, and neither the run nor the
cache may keep temporary files. Changes are counted by Python's audit events; those of libraries in other languages are
between them, and are met by kills at any moment.

**Documents.** Single bits of every file of a run, of its classifier and of the cache are changed, files are cut and
continued with zeros: what is read must be what was written, or refused by an error that names the file.

**Images.** Single bits are changed and blocks of 4,096 bytes are lost, in the middle and to the end of files in every
common format: nothing but an image or a reason may come of it. How many are taken for images is counted.

Prints tables; the exit code is 1 if anything was lost, believed or shown as a traceback. Only on systems with fork.
"""

from __future__ import annotations

import argparse
import errno
import importlib.util
import io
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, features

MUTATIONS = Path(__file__).parent.parent / "tests" / "mutations.py"
TINY = ("--model", "test_resnet", "--weights", "random", "--engine", "torch")
SEARCH, HEAD = ("--train", "last:1", "--epochs", "2"), ("--train", "head")
SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}
ERRORS = {"disk full": errno.ENOSPC, "read-only": errno.EROFS}
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink")
NEED_SPACE = ("open", "os.mkdir", "os.rename")  # a rename may need a longer list of names
BLOCK = 4096


@dataclass
class Fault:
    """What happens to a process from its n-th change of a file below ``root`` on, and the count of these changes."""

    root: Path
    kind: str = ""  # of SIGNALS or ERRORS; nothing happens otherwise
    at: int = 0
    seen: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Receive an audit event, before the change."""
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in CHANGES) or not str(arguments[0]).startswith(str(self.root)):
            return
        with self.lock:
            self.seen += 1
            number = self.seen
        if self.kind in SIGNALS and number == self.at:
            os.kill(os.getpid(), SIGNALS[self.kind])
        if self.kind in ERRORS and number >= self.at and (self.kind == "read-only" or event in NEED_SPACE):
            raise OSError(ERRORS[self.kind], os.strerror(ERRORS[self.kind]), str(arguments[0]))


def in_child(work: Callable[[], Any], log: Path | None = None, *, kill_after: float | None = None) -> tuple[int, Any]:
    """Run ``work`` in a forked process; return how that ended, as subprocess.Popen does, and the result or None."""
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        code = 70
        try:
            if log is not None:
                target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(target, 1)
                os.dup2(target, 2)
            os.write(sending, pickle.dumps(work()))
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(sending)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(receiving, "rb") as result:
        found = result.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, pickle.loads(found) if found else None


def headstart(*words: object, fault: Fault | None = None) -> int:
    """Run a command in this process; return how many files it changed."""
    from headstart.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
    sys.argv = ["headstart", *map(str, words)]
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
    if fault is not None:
        sys.addaudithook(fault)
    try:
        main()
    finally:
        if fault is not None:
            fault.kind = ""
    return 0 if fault is None else fault.seen


def write_photos(folder: Path) -> Path:
    """Two classes of twelve small images."""
    rng = np.random.default_rng(0)
    for label, shade in (("dark", 30), ("light", 150)):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 90, (24, 32, 3), np.uint8) + np.uint8(shade)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    time.sleep(2.1)  # inspections of images that have just changed are not cached
    return folder


def state_of(run: Path) -> tuple[str, ...] | str:
    """What tells the run from another one: the digest of its weights, its figures and probabilities; or why not."""
    from headstart.artifacts.classifier import load
    from headstart.artifacts.run_folder import read_run
    from headstart.documents import file_checksum
    from headstart.errors import RunError

    if not (run / "settings.json").exists() and not (run / "classifier").exists():
        return "no run"
    try:
        found = read_run(run)
        load(run)
    except RunError as refusal:
        return f"refused: {refusal}"
    figures = (found.evaluation.top1, found.evaluation.log_loss, found.evaluation.confusion_matrix)
    digest = file_checksum(run / "classifier" / "model.safetensors")
    return digest, repr(figures), repr(found.predictions.probabilities.tolist())


class Fits:
    """Fits with faults, each in a copy of the same folder with an older run and its cache."""

    def __init__(self, folder: Path, training: tuple[str, ...]) -> None:
        self.folder, self.photos = folder, write_photos(folder / "photos")
        self.training = training
        self.start, self.work, self.log = folder / "start", folder / "work", folder / "log.txt"
        self.found: dict[str, Counter[str]] = {}
        self.failures: list[str] = []
        self._fit(self.start, seed=0)
        _, self.old = in_child(lambda: state_of(self.start / "run"))
        self._copy()
        begin = time.monotonic()
        self.changes = self._fit(self.work, seed=1)
        self.seconds = time.monotonic() - begin
        _, self.new = in_child(lambda: state_of(self.work / "run"))
        if isinstance(self.old, str) or isinstance(self.new, str) or self.old == self.new:
            raise RuntimeError(f"the undisturbed fits are of no use: {self.old}, {self.new}")

    def try_fault(self, kind: str, at: float) -> None:
        """Try a fault at a change of a file; of kind "moment", a kill after so many seconds."""
        self._copy()
        fault = Fault(self.work, kind, int(at)) if kind != "moment" else None
        status, _ = in_child(
            lambda: headstart(*self._words(self.work, seed=1), fault=fault),
            self.log,
            kill_after=at if fault is None else None,
        )
        printed = self.log.read_text(errors="replace")
        _, state = in_child(lambda: state_of(self.work / "run"))
        name = {str(self.old): "old run", str(self.new): "new run"}.get(str(state), str(state))
        wrong = [] if name in ("old run", "new run") else [f"the run is neither old nor new: {name[:300]}"]
        if "Traceback" in printed:
            wrong.append(f"traceback: {printed[-1500:]}")
        self._fit(self.work, seed=1)
        in_child(lambda: headstart("cache", "prune", "--cache-dir", self.work / "cache"), self.log)
        if in_child(lambda: state_of(self.work / "run"))[1] != self.new:
            wrong.append("the same command ends with another classifier")
        left = [str(path) for path in self.work.rglob(".*") if path.name.startswith((".headstart", ".tmp"))]
        wrong += [f"left behind: {left}"] * bool(left)
        self.found.setdefault(kind, Counter()).update(["tried", name if not wrong else "wrong", f"exit {status}"])
        for each in wrong:
            self.failures.append(f"{kind} at {at:.3g} of {self.changes} changes, exit {status}: {each}")
            print(self.failures[-1])

    def _words(self, place: Path, *, seed: int) -> tuple[object, ...]:
        words = ("fit", self.photos, "--out", place / "run", "--cache-dir", place / "cache", "--seed", seed)
        return (*words, *TINY, *self.training)

    def _fit(self, place: Path, *, seed: int) -> int:
        words, fault = self._words(place, seed=seed), Fault(place)
        status, changes = in_child(lambda: headstart(*words, fault=fault), self.log)
        if status:
            self.failures.append(f"a fit that nothing disturbed failed: {self.log.read_text(errors='replace')[-1500:]}")
        return changes or 0

    def _copy(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.start, self.work, symlinks=True)
        shutil.rmtree(self.work / "cache", ignore_errors=True)  # so that features are computed too


def fit_faults(folder: Path, rng: random.Random, seconds: float, *, quick: bool) -> list[str]:
    """Try faults until the time is over, at least one of each kind; print what came of them."""
    fits = Fits(folder, HEAD if quick else SEARCH)
    print(f"\nFits: {fits.changes} changes of files and {fits.seconds:.1f} s each\n")
    kinds = [*SIGNALS, *ERRORS, "moment"]
    end, number = time.monotonic() + seconds, 0
    while number < len(kinds) or time.monotonic() < end:
        kind = kinds[number % len(kinds)]
        # The replacement of the older run is in the last changes.
        last = rng.random() < 0.3
        change = fits.changes - rng.randrange(min(40, fits.changes)) if last else rng.randint(1, fits.changes)
        fits.try_fault(kind, rng.uniform(0, fits.seconds) if kind == "moment" else change)
        number += 1
    for kind, counts in fits.found.items():
        print(f"{kind:12} " + ", ".join(f"{name}: {count}" for name, count in counts.items()))
    return fits.failures


def readers(run: Path, cache: Path) -> Iterator[tuple[Path, Callable[[], object]]]:
    """Each document, and how it is read to something that can be compared."""
    from headstart.artifacts.run_folder import read_run
    from headstart.data.inspection_cache import InspectionCache
    from headstart.features.store import FeatureStore
    from headstart.models.importers.isolation import Outcome

    for name in ("settings.json", "evaluation.json", "history.jsonl", "manifest.parquet", "predictions.parquet"):
        yield run / name, lambda: _comparable(read_run(run))
    for path in sorted((run / "classifier").iterdir()):
        yield path, lambda: state_of(run)
    inspections = cache / "inspections.parquet"
    yield inspections, lambda: InspectionCache(inspections)._table.to_pylist() or "refused"
    for path in sorted((cache / "features").glob("*.json")):
        yield path, lambda: _spaces(FeatureStore(cache / "features"))
    outcome = cache / "outcome.json"
    Outcome("an error", unsupported=True).write(cache)
    yield outcome, lambda: Outcome.read(cache) or "refused"


def _spaces(store: Any) -> list[Any] | str:
    return "refused" if store.damaged() else [(table.space, len(table)) for table in store.tables()]


def _comparable(run: Any) -> str:
    return repr((run.info, run.evaluation, run.history, run.manifest.table.to_pydict(), run.predictions.uris)) + repr(
        run.predictions.probabilities.tolist()
    )


def document_faults(folder: Path, count: int, seed: int) -> list[str]:
    """Change bits of each document; print how often it was refused, read as before, or neither."""
    mutations, failures = _load(MUTATIONS), []
    run, cache = folder / "start" / "run", folder / "start" / "cache"
    print("\nDocuments\n")
    for path, read in readers(run, cache):
        whole, data, counts = read(), path.read_bytes(), Counter[str]()
        for number, changed in enumerate(mutations.bytes_of(path, count, seed=seed)):
            path.write_bytes(changed)
            outcome = _outcome(read, whole)
            counts[outcome.partition(":")[0]] += 1
            if outcome.startswith(("believed", "traceback")):
                failures.append(f"{path.name}, change {number}: {outcome}")
        path.write_bytes(data)
        print(f"{path.name:30} " + ", ".join(f"{name}: {found}" for name, found in sorted(counts.items())))
    return failures


def _outcome(read: Callable[[], object], whole: object) -> str:
    from headstart.errors import HeadstartError

    try:
        found = read()
    except HeadstartError:
        return "refused"
    except Exception as error:
        return f"traceback: {type(error).__name__}: {error}"
    if found == whole:
        return "as before"
    refused = isinstance(found, str) and found.startswith(("refused", "no run"))
    return "refused" if refused else "believed: another value"


def photos_by_format() -> Iterator[tuple[str, bytes]]:
    """A photo of noise over a gradient in each format, of 20 to 300 kB."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (260, 340, 3), np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    photo = Image.blend(Image.linear_gradient("L").resize(noise.size).convert("RGB"), noise, 0.5)
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("JPEG", "JPEG", {"quality": 90}),
        ("progressive JPEG", "JPEG", {"quality": 90, "progressive": True}),
        ("PNG", "PNG", {}),
        ("WebP", "WEBP", {"quality": 90}),
        ("WebP, lossless", "WEBP", {"lossless": True}),
        ("JPEG 2000", "JPEG2000", {}),
        ("TIFF, LZW", "TIFF", {"compression": "tiff_lzw"}),
        ("TIFF, Deflate", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("GIF", "GIF", {}),
        ("TIFF", "TIFF", {}),
        ("BMP", "BMP", {}),
    ]
    if features.check("avif"):
        kinds.append(("AVIF", "AVIF", {"quality": 90, "speed": 10}))
    for name, kind, options in kinds:
        buffer = io.BytesIO()
        photo.save(buffer, kind, **options)
        yield name, buffer.getvalue()


def image_faults(count: int, rng: random.Random) -> list[str]:
    """Damage images; print the share of each kind of damage that is taken for an image."""
    from headstart.data.decode import inspect

    damages = {"bit": _flip, "lost block": _lose_block, "zeros to the end": _lose_end, "cut": _cut}
    failures = []
    print(f"\nImages: share of {count} that is taken for an image, by damage\n")
    for name, data in photos_by_format():
        shares = []
        for damage, make in damages.items():
            accepted = 0
            for _ in range(count):
                damaged = make(data, rng)
                try:
                    accepted += inspect(damaged).problem is None
                except Exception as error:
                    failures.append(f"{name}, {damage}: {type(error).__name__}: {error}")
            shares.append(f"{damage} {accepted / count:.0%}")
        print(f"{name:18} {len(data):8,} bytes: " + ", ".join(shares))
    return failures


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _lose_block(data: bytes, rng: random.Random) -> bytes:
    first = BLOCK * rng.randrange(1, len(data) // BLOCK)
    return data[:first] + bytes(BLOCK) + data[first + BLOCK :]


def _lose_end(data: bytes, rng: random.Random) -> bytes:
    cut = rng.randrange(len(data) - 1)
    return data[:cut] + bytes(len(data) - cut)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) - 1)]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Try all faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="for faults in fits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one fault of each kind, and few changes of files")
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    warnings.filterwarnings("ignore", "lance is not fork-safe")  # it is not used before the last fork
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        (folder / "tmp").mkdir()
        tempfile.tempdir = str(folder / "tmp")  # for runs that cannot be written to their place
        os.environ["HEADSTART_CACHE"] = str(folder / "cache")
        import headstart.workflow.fit
        import headstart.workflow.runs  # noqa: F401 - once, before processes are forked

        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        failures = fit_faults(folder, rng, 0 if chosen.quick else 60 * chosen.minutes, quick=chosen.quick)
        failures += document_faults(folder, 20 if chosen.quick else 300, chosen.seed)
        failures += image_faults(20 if chosen.quick else 200, rng)
    print(f"\n{len(failures)} failures")
    print("\n".join(f"- {failure}" for failure in failures))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
