"""A process that labels is killed: each label that it acknowledged is there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from headstart.data.projects import Project

_KILLS = 4

_SCRIPT = """
import sys
from headstart.data.projects import Project
project = Project.open(sys.argv[1])
number = int(sys.argv[2])
while True:
    number += 1
    image, label = 1 + number % 5, 1 + number % 2
    if number % 7 == 0:
        print("undo", project.undo().revision, flush=True)
    else:
        change = project.set_labels({image: label})
        if change.images:  # else it had the label already, which is no change
            print("label", change.revision, image, label, flush=True)
"""


def test_no_acknowledged_label_is_lost_when_the_process_is_killed(project: Project) -> None:
    folder: Path = project.folder
    project.close()
    rng = random.Random(0)
    acknowledged = 0
    for kill in range(_KILLS):
        command = [sys.executable, "-c", _SCRIPT, str(folder), str(kill * 31)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline()]  # it has begun
            time.sleep(rng.uniform(0, 0.1))
            process.kill()
            lines += process.stdout.readlines()
        complete = [line.split() for line in lines if line.endswith("\n")]
        acknowledged += len(complete)
        with Project.open(folder) as opened:
            assert opened.revision >= int(complete[-1][1])
            for kind, revision, *what in complete:
                if kind == "label":
                    image, label = map(int, what)
                    steps = {step.revision: step.after for step in opened.label_history(image)}
                    assert steps[int(revision)] == label
            present = {image: opened.label_history(image) for image in range(1, 6)}
            assert opened.labels() == {
                image: steps[0].after for image, steps in present.items() if steps and steps[0].after is not None
            }
    assert acknowledged > _KILLS
