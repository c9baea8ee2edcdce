from __future__ import annotations

import os
import subprocess
import sys

import pytest

# OpenMP tells what it has read once torch loads it: the variable must be set before.
LOADS_TORCH = """
import click
from headstart.cli.main import cli, main

@cli.command()
def load():
    import torch

main()
"""
gnu = pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP there")


def openmp_settings(**environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    ran = subprocess.run(
        [sys.executable, "-c", LOADS_TORCH, "load"],
        check=True,
        capture_output=True,
        text=True,
        env={**kept, "OMP_DISPLAY_ENV": "verbose", **environment},
    )
    return ran.stderr


@gnu
@pytest.mark.parametrize(
    ("environment", "rounds"),
    [({}, "2000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")],
)
def test_threads_spin_briefly_unless_a_person_has_set_how_they_wait(environment: dict[str, str], rounds: str) -> None:
    assert f"GOMP_SPINCOUNT = '{rounds}'" in openmp_settings(**environment)
