"""Faults at random moments of a fit whose features the workers of a Ray cluster compute, and what comes of them.

    sudo python -m benchmarks.scale.cluster_faults [--trials 5] [--only NAME ...] [--go-on] [--quick]

* ``worker``: SIGKILL of one of the two workers.
* ``driver``: SIGKILL of ``headstart fit``, in turn with ``--cluster local:2``, whose processes must end by themselves.
* ``raylet``: SIGKILL of the raylet of one of the nodes, in turn of the one where headstart runs and of the other one.
* ``network``: the two nodes lose each packet to the other one for 20 s.

The cluster has two nodes of one core, each in a network namespace of this machine, with a bridge between them; this
needs root, and the command ``ip``. A fault comes at a moment drawn evenly from the start of the
command until its features are computed, as long as that takes undisturbed; that of a worker at the earliest when there
is one. Then headstart must
end by itself within four minutes: right, or with an error that says that the same command goes on. The cluster is made
whole, and if there was an error, the same command run again. Each trial has a cache folder of its own.

Right is: the table has each row of a fit without a cluster once, byte for byte; weights, figures and probabilities of
the run are the same; and after ``headstart cache prune`` there is no file that the table does not name.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults import state_of
from benchmarks.harness import HEADSTART, SHARED, Figures, read_json, result_path, save
from benchmarks.scale.cluster_million import below, is_actor, processes

QUICK = ("--model", "test_resnet", "--weights", "random", "--stages", "none", "--kernel", "none", "--l2", "0.01")
KINDS = ("worker", "driver", "raylet", "network")
PER_CLASS, CUT, LIMIT = 100, 20.0, 240.0  # images; seconds
# Ray takes any head node of this machine with the same address for one that runs already, also in other namespaces.
SPACE, BRIDGE, PORT = f"headstart{os.getpid()}-{{}}", f"headstart{os.getpid()}-bridge", 6400 + os.getpid() % 1000
NEXT_STEPS = ("the same command goes on from there", "start one with")  # once computing, and before


def ip(*words: str) -> None:
    """Run ``ip``, of iproute2."""
    subprocess.run(["ip", *words], check=True)


def address(node: int) -> str:
    """The address of a node."""
    return f"10.97.0.{node + 1}"


@contextmanager
def network() -> Iterator[None]:
    """Two network namespaces on a bridge in a third one."""
    spaces = [BRIDGE, *(SPACE.format(node) for node in range(2))]
    with ExitStack() as stack:
        for space in spaces:
            ip("netns", "add", space)
            stack.callback(ip, "netns", "del", space)
            ip("-n", space, "link", "set", "lo", "up")
        ip("-n", BRIDGE, "link", "add", "bridge", "type", "bridge")
        ip("-n", BRIDGE, "link", "set", "bridge", "up")
        for node, space in enumerate(spaces[1:]):
            ip("-n", BRIDGE, "link", "add", f"port{node}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", BRIDGE, "link", "set", f"port{node}", "master", "bridge", "up")
            ip("-n", space, "addr", "add", f"{address(node)}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
        yield


def cut_network(*, mend: bool) -> None:
    """Take a port from the bridge, which then loses each packet, or put it back."""
    ip("-n", BRIDGE, "link", "set", "port1", *(("master", "bridge") if mend else ("nomaster",)))


class Nodes:
    """A cluster of two nodes of one core, each in its network namespace; headstart runs on the first one.

    :param hidden: a folder of which the second node sees an empty one, in memory.
    """

    def __init__(self, folder: Path, *, hidden: Path | None = None) -> None:
        self._folder, self._hidden = folder, hidden
        self._nodes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start it, if it is not whole."""
        if len(self._nodes) == 2 and all(node.poll() is None and self.raylet(node.pid) for node in self._nodes):
            return
        self.stop()
        options = ["--block", "--num-cpus", "1", "--object-store-memory", "100000000", "--disable-usage-stats"]
        for node in range(2):
            place = ["--address", f"{address(0)}:{PORT}"]
            if node == 0:
                place = ["--head", "--port", str(PORT), "--include-dashboard", "false"]
            words = ["ip", "netns", "exec", SPACE.format(node)]
            if node == 1 and self._hidden is not None:
                words += ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"', str(self._hidden)]
            words += [str(HEADSTART.with_name("ray")), "start", *place]
            words += ["--node-ip-address", address(node), "--temp-dir", str(self._folder / str(node)), *options]
            log = (self._folder / f"node{node}.log").open("ab")
            self._nodes.append(subprocess.Popen(words, stdout=log, stderr=log))
            end = time.monotonic() + 90
            while self.raylet(self._nodes[-1].pid) is None:
                if time.monotonic() > end or self._nodes[-1].poll() is not None:
                    raise SystemExit(f"node {node} has not started: {Path(log.name).read_text()[-3000:]}")
                time.sleep(0.2)
            time.sleep(3)

    def stop(self) -> None:
        """Kill all of it."""
        for number, node in enumerate(self._nodes):
            inside = ["ip", "netns", "pids", SPACE.format(number)]  # some are orphans
            kill_all(list(map(int, subprocess.run(inside, check=True, capture_output=True).stdout.split())))
            node.wait()
        self._nodes.clear()

    def raylet(self, above: int) -> int | None:
        """The raylet below a process."""
        names = processes()[1]
        return next((each for each in below(above) if b"/raylet/raylet" in names.get(each, b"").split(b"\0")[0]), None)

    def kill_raylet(self, node: int) -> None:
        """Kill the raylet of a node."""
        raylet = self.raylet(self._nodes[node].pid)
        assert raylet is not None
        os.kill(raylet, signal.SIGKILL)

    def actors(self) -> list[int]:
        """The workers."""
        return [each for node in self._nodes for each in actors_below(node.pid)]


def actors_below(process: int) -> list[int]:
    """Descendants of a process that are workers of headstart."""
    names = processes()[1]
    return [each for each in below(process) if is_actor(names.get(each, b""))]


def kill_all(found: Sequence[int]) -> None:
    """Kill processes."""
    for each in found:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


@dataclass
class Command:
    """A fit that runs."""

    process: subprocess.Popen[str]
    began: float = field(default_factory=time.monotonic)
    lines: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append((time.monotonic(), line.rstrip()))

    @property
    def printed(self) -> str:
        """What it has printed."""
        return "\n".join(line for _, line in self.lines)

    def features_at(self) -> float:
        """When all features were computed."""
        return next(at for at, line in self.lines if line.startswith("computing features:"))

    def end(self) -> int | None:
        """Wait for its end; None if it did not end by itself."""
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            kill_all([self.process.pid, *below(self.process.pid)])
            self.process.wait()
            return None
        time.sleep(0.2)  # for the last lines
        return code


class Trials:
    """Fits of the same images, of which a fit without a cluster says what is right."""

    def __init__(self, folder: Path, nodes: Nodes, seed: int) -> None:
        self.folder, self.nodes, self.seed = folder, nodes, seed
        self.rng = random.Random(seed)
        self.images, self.work = folder / "images", folder / "work"
        for source in sorted((SHARED / "trash6").iterdir()):
            (self.images / source.name).mkdir(parents=True)
            for path in sorted(source.glob("*.jpg"))[:PER_CLASS]:
                shutil.copy(path, self.images / source.name)
        self.images_found = len(list(self.images.rglob("*.jpg")))
        self.found: dict[str, list[Figures]] = {}
        self.right = self._undisturbed(None)
        self.seconds = 0.0  # until the features are computed, without a fault
        if (found := self._undisturbed("nodes")) != self.right:
            raise SystemExit(f"without a fault the result is another one: {found}, {self.right}")

    def _undisturbed(self, cluster: str | None) -> tuple[object, ...]:
        self.nodes.start()
        shutil.rmtree(self.work, ignore_errors=True)
        command = self._fit(cluster)
        if command.end() != 0:
            raise SystemExit(command.printed)
        self.seconds = command.features_at() - command.began
        return self._state()

    def _fit(self, cluster: str | None) -> Command:
        words = [str(HEADSTART), "fit", str(self.images), "--train", "head", "--out", str(self.work / "run")]
        words += ["--cache-dir", str(self.work / "cache"), "--device", "cpu", *QUICK]
        if cluster == "nodes":
            words = ["ip", "netns", "exec", SPACE.format(0), *words, "--cluster", f"{address(0)}:{PORT}"]
        elif cluster is not None:
            words += ["--cluster", cluster]
        return Command(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))

    def _actors(self, command: Command) -> list[int]:
        return actors_below(command.process.pid) + self.nodes.actors()

    def _wait_for_worker(self, command: Command) -> None:
        while not self._actors(command) and command.process.poll() is None:
            time.sleep(0.05)

    def try_fault(self, kind: str, number: int) -> None:
        """One fault of a kind, and all that follows."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.rng = random.Random(f"{self.seed} {kind} {number}")
        cluster = "local:2" if kind == "driver" and number % 2 == 0 else "nodes"
        self.nodes.start()
        moment = self.rng.uniform(0, self.seconds)
        command = self._fit(cluster)
        time.sleep(moment)
        if kind == "worker":
            self._wait_for_worker(command)
        figures: Figures = {"after_s": round(time.monotonic() - command.began, 1)}
        figures |= self._strike(kind, number, command)
        code = command.end()
        figures["exit"] = "hangs" if code is None else code
        wrong = []
        if code is None:
            wrong.append("it did not end")
        elif code > 0 and ("Traceback" in command.printed or not any(each in command.printed for each in NEXT_STEPS)):
            wrong.append(f"the error names no next step: {command.printed[-1500:]}")
        elif code < 0 and kind != "driver":
            wrong.append(f"it was ended by signal {-code}: {command.printed[-1500:]}")
        if kind == "driver" and (left := self._left(figures.pop("below"))):
            wrong.append(f"processes of Ray stay: {left}")
        figures["seconds"] = round(time.monotonic() - command.began, 1)
        figures["rows_kept"] = self._rows()
        if code != 0:
            self.nodes.start()
            again = self._fit(cluster)
            if again.end() != 0:
                wrong.append(f"the same command failed: {again.printed[-1500:]}")
        if not wrong or code is None:
            found = self._state()
            wrong += ["another result"] * (found != self.right)
        subprocess.run(
            [str(HEADSTART), "cache", "prune", "--cache-dir", str(self.work / "cache")], check=True, capture_output=True
        )
        wrong += self._remains()
        figures["wrong"] = wrong
        figures["message"] = "" if code == 0 or kind == "driver" else command.printed.strip().split("\n")[-1][:400]
        self.found.setdefault(kind, []).append(figures)
        sys.stderr.write(f"{kind} {number}: {figures}\n")

    def _strike(self, kind: str, number: int, command: Command) -> Figures:
        if kind == "worker":
            actors = self._actors(command)
            if not actors:
                return {"at": "after the last worker"}
            os.kill(self.rng.choice(actors), signal.SIGKILL)
        elif kind == "driver":
            every = below(command.process.pid)
            names = processes()[1]
            command.process.kill()
            return {"below": {each: names.get(each, b"") for each in every}}
        elif kind == "raylet":
            self.nodes.kill_raylet(number % 2)
            return {"node": "of the driver" if number % 2 == 0 else "the other one"}
        else:
            cut_network(mend=False)
            time.sleep(CUT)
            cut_network(mend=True)
        return {}

    def _left(self, before: dict[int, bytes]) -> list[str]:
        """Which processes are still there two minutes later; they are killed."""
        left: list[int] = []
        for _ in range(240):
            names = processes()[1]
            left = [each for each, name in before.items() if name and names.get(each) == name]
            if not left:
                break
            time.sleep(0.5)
        kill_all(left)
        return [before[each].replace(b"\0", b" ").decode(errors="replace")[:80] for each in left]

    def _table(self) -> Path | None:
        return next(iter((self.work / "cache" / "features").glob("*.lance")), None)

    def _rows(self) -> int:
        import lance

        with suppress(ValueError):  # not created yet
            return 0 if (path := self._table()) is None else int(lance.dataset(str(path)).count_rows())
        return 0

    def _state(self) -> tuple[object, ...]:
        """The rows of the table as a number and a digest, and what tells the run from others."""
        import lance

        path = self._table()
        assert path is not None
        table = lance.dataset(str(path)).to_table().sort_by([("image", "ascending"), ("view", "ascending")])
        digest = hashlib.blake2b()
        for name in table.column_names:
            column = table[name].combine_chunks()
            values = column.flatten() if name == "features" else column
            digest.update(repr(values.to_pylist()).encode() if name == "image" else values.to_numpy().tobytes())
        return len(table), digest.hexdigest(), state_of(self.work / "run")

    def _remains(self) -> list[str]:
        import lance

        path = self._table()
        assert path is not None
        named = {each.path for part in lance.dataset(str(path)).get_fragments() for each in part.data_files()}
        others = sorted({each.name for each in (path / "data").iterdir()} - named)
        found = [f"files that the table does not name: {others}"] * bool(others)
        hidden = [str(each) for each in self.work.rglob(".headstart*")]
        return found + [f"left behind: {hidden}"] * bool(hidden)


def summary(found: dict[str, list[Figures]]) -> Figures:
    """What came of the faults, by kind."""
    return {
        kind: {
            "trials": len(trials),
            "ended_right": sum(each["exit"] == 0 and not each["wrong"] for each in trials),
            "resumed": sum(each["exit"] != 0 and not each["wrong"] for each in trials),
            "wrong": sum(bool(each["wrong"]) for each in trials),
            "longest_s": max(each["seconds"] for each in trials),
        }
        for kind, trials in found.items()
    }


def saved(quick: bool) -> dict[str, list[Figures]]:
    """The saved trials by kind."""
    path = result_path("scale/cluster_faults", quick=quick)
    return dict(read_json(path)["trials"]) if path.exists() else {}


def keep(trials: Trials, *, quick: bool) -> None:
    """Write the result, with the saved trials of other kinds."""
    every = saved(quick) | trials.found
    found = {kind: every[kind] for kind in KINDS if kind in every}
    figures = {"images": trials.images_found, "faults": summary(found), "trials": found}
    save("scale/cluster_faults", figures, quick=quick, show=False)


def main() -> None:
    """Try all faults, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5, help="of each kind")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), help="keep the saved trials of others")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--go-on", action="store_true", help="count the saved trials of the same kinds as well")
    parser.add_argument("--quick", action="store_true", help="one fault of each kind, for a look")
    given = parser.parse_args()
    count = 1 if given.quick else given.trials
    # As all else that runs: Ray gives its workers the last of the processor, and trials would take minutes.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex())  # whatever this machine has set
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hs-", ignore_cleanup_errors=True)))
        stack.enter_context(network())
        nodes = Nodes(folder)
        stack.callback(nodes.stop)
        trials = Trials(folder, nodes, given.seed)
        if given.go_on:
            trials.found = {kind: found for kind, found in saved(given.quick).items() if kind in given.only}
        for number in range(count):
            for kind in (each for each in given.only if number >= len(trials.found.get(each, []))):
                trials.try_fault(kind, number)
                keep(trials, quick=given.quick)
    wrong = [each for found in trials.found.values() for each in found if each["wrong"]]
    sys.exit(f"{len(wrong)} faults ended wrong" if wrong else 0)


if __name__ == "__main__":
    main()
