"""Prediction with pixels that were decoded on a device; here the CPU, through the same code as on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.config import EngineSettings
from headstart.data.manifest import Manifest
from headstart.inference import pipeline as module
from headstart.inference.pipeline import Decision, InferencePipeline
from headstart.models.backbone import load_backbone


@pytest.mark.parametrize("tta_flip", [False, True])
def test_predictions_are_nearly_those_with_pillow(
    photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, one_thread: None, tta_flip: bool
) -> None:
    paths = [photo(f"{number:02}.jpg", 37 * number, (60 + number, 50)) for number in range(23)]
    paths[4].write_bytes(paths[4].read_bytes()[:300])
    paths[9].unlink()
    backbone = load_backbone("test_resnet", weights_file="random")
    spec = replace(backbone.spec.whole(), height=32, width=32)
    pipeline = InferencePipeline(
        backbone.module.eval(), 1000, spec, "test_resnet", "head", Decision(), tta_flip=tta_flip
    )
    settings = EngineSettings(device="cpu", engine="torch", precision="float32", extract_batch_size=4, workers=2)
    manifest = Manifest.from_rows(paths)
    host = pipeline.infer(manifest, settings=settings)
    monkeypatch.setattr(module, "choose_decoder", lambda _: "torchvision")
    assert np.array_equal(pipeline.infer(manifest, settings=settings).probabilities, host.probabilities)  # a small job
    monkeypatch.setattr(module, "_SMALL_JOB", 1)
    device = pipeline.infer(manifest, settings=settings)
    assert [row for row, _ in host.problems] == [4, 9]
    assert device.problems == host.problems
    assert device.probabilities.shape == (21, 1000)
    logs = np.log(host.probabilities)
    difference = np.abs(np.log(device.probabilities) - logs).max()
    assert 100 * difference < np.abs(logs[1:] - logs[:-1]).max()  # than two images differ
