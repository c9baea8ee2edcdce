"""The files of examples/cluster: the script runs on a cluster, the others are checked without one."""

from __future__ import annotations

import csv
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parent.parent / "examples" / "cluster"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def of_cluster() -> Iterator[dict[str, str]]:
    """A cluster that was started by ``ray start`` before the job: the environment by which the job finds it."""
    pytest.importorskip("ray", reason="Ray has no wheels for this Python")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex()}
    port, options = free_port(), ["--num-cpus=1", "--disable-usage-stats", "--node-ip-address=127.0.0.1"]
    with TemporaryDirectory(prefix="ray-") as folder:  # its sockets do not fit below the long path of tmp_path
        ray = Path(sys.executable).with_name("ray")
        command = [ray, "start", "--head", "--block", f"--port={port}", f"--temp-dir={folder}", *options]
        ports = [f"--{name}-port={free_port()}" for name in ("ray-client-server", "metrics-export")]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([*command, *ports], env={**os.environ, **token}, **quiet) as head:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and head.poll() is None:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.2)
            yield {"RAY_ADDRESS": f"127.0.0.1:{port}", **token}
            head.terminate()  # which ends all that it has started


def test_the_job_fits_and_predicts(
    of_cluster: dict[str, str], pictures: Callable[..., list[Path]], tmp_path: Path
) -> None:
    for seed, folder in enumerate(("photos/cats", "photos/dogs", "new")):
        (tmp_path / folder).mkdir(parents=True)
        pictures(12, seed=seed, folder=folder)
    out = tmp_path / "run"
    words = [FOLDER / "fit_and_predict.py", tmp_path / "photos", tmp_path / "new", "--out", out]
    options = ["--model", "test_resnet", "--weights", "random"]
    done = subprocess.run(
        [sys.executable, *words, *options],
        env={**os.environ, **of_cluster, "HEADSTART_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    accuracy, images = done.stdout.splitlines()
    assert accuracy.startswith("accuracy ")
    assert images == f"12 images: {out / 'predictions.csv'}"
    assert (out / "report.html").exists()
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]).parent for row in rows] == [tmp_path / "new"] * 12
    assert {row["class_1"] for row in rows} <= {"cats", "dogs"}


def test_the_manifest_of_kubernetes_names_what_the_image_has() -> None:
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    pods: list[dict[str, Any]] = [cluster["headGroupSpec"]["template"]["spec"]]
    pods += [group["template"]["spec"] for group in cluster["workerGroupSpecs"]]
    for pod in pods:
        (container,) = pod["containers"]
        assert container["image"] == "headstart-ray"
        assert pod["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "photos"}}]
        assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
        assert container["env"] == [{"name": "HEADSTART_CACHE", "value": "/data/cache"}]
    python, script, *arguments = shlex.split(job["spec"]["entrypoint"])
    image = (FOLDER / "Dockerfile").read_text().splitlines()
    assert (python, Path(script)) == ("python", Path("/app") / "fit_and_predict.py")
    assert {"WORKDIR /app", "COPY fit_and_predict.py ."} <= set(image)
    assert all(word.startswith(("/data/", "--")) for word in arguments)


def test_the_script_of_slurm(tmp_path: Path) -> None:
    """With stand-ins for SLURM, Ray and headstart, and a path that has a space."""
    stand_ins = {
        "scontrol": 'printf "node7\\nnode8\\n"',
        "srun": 'exec "$@"',
        "ray": 'echo "ray $*" >> calls; while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
        "headstart": 'printf "%s|" headstart "$@" >> calls; echo >> calls',
    }
    for name, line in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "8"}
    done = subprocess.run(
        ["bash", FOLDER / "fit.sbatch", "/my photos", "/new", "/run"],
        env={**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    ray, fit, predict = (
        line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith(("ray", "h"))
    )
    assert ray.startswith("ray symmetric-run --address node7:6379 --min-nodes 2 --num-cpus 8 -- bash -euc")
    assert fit == "headstart|fit|/my photos|--train|head|--out|/run|--cluster|auto|"
    assert predict == "headstart|predict|/run|/new|--csv|/run/predictions.csv|--cluster|auto|"
    assert subprocess.run(["bash", FOLDER / "fit.sbatch"], capture_output=True, check=False).returncode == 2
