"""A process that predicts and then forks, as servers do that load their classifier before they fork workers."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os, sys, threading, time
import numpy as np
import torch
from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings
from headstart.data.spec import InputSpec
from headstart.inference.pipeline import _PREPARING
from headstart.models.backbone import build

torch.set_num_threads(2)  # two threads even on one core, so that the child lacks one
settings = EngineSettings(engine=sys.argv[1], extract_batch_size=1, precision="float32")
torch.manual_seed(0)
classifier = Classifier(build("test_resnet", classes=3), ("a", "b", "c"), InputSpec(), "test_resnet", "head")
images = list(np.random.default_rng(0).integers(0, 256, (3, 300, 300, 3), np.uint8))
expected = classifier.predict_proba(images, settings=settings)
torch.randn(512, 512) @ torch.randn(512, 512)

def hold():
    with _PREPARING:
        time.sleep(3)

threading.Thread(target=hold, daemon=True).start()
time.sleep(0.1)
child = os.fork()
if not child:
    found = classifier.predict_proba(images, settings=settings)
    again = classifier.predict_proba(images, settings=settings)
    print(np.abs(found - expected).max() < 1e-5, np.array_equal(found, again), torch.get_num_threads(), flush=True)
    sys.exit()  # with the destructors of everything, not as multiprocessing does
deadline = time.monotonic() + 60
while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
    if time.monotonic() > deadline:
        os.kill(child, 9)
        sys.exit("the child hangs")
    time.sleep(0.05)
assert ended == (child, 0)
print(np.array_equal(classifier.predict_proba(images, settings=settings), expected), torch.get_num_threads())
"""


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_a_child_predicts_as_its_parent(engine: str) -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT, engine], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "True True 1\nTrue 2\n"
