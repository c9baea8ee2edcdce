"""Fits and predictions in several threads of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from headstart.artifacts.classifier import Classifier
from headstart.models.backbone import build
from headstart.models.cut import cut
from headstart.workflow.fit import FitResult

Photos = Callable[..., Path]
Fit = Callable[..., FitResult]
MODELS = ("test_resnet", "test_efficientnet")


def test_networks_are_cut_in_threads_while_others_run(one_thread: None) -> None:
    called, image = torch.nn.Module.__call__, torch.rand(2, 3, 64, 64)
    running, done = build("test_resnet", classes=3), threading.Event()
    with torch.inference_mode():
        expected = running(image)

    def cut_often(name: str) -> bool:
        for _ in range(3):
            network = build(name, classes=3)
            parts = cut(network, "last:1", input_shape=(3, 64, 64))
            with torch.inference_mode():
                if not torch.equal(parts.tail(parts.prefix(image)), network(image)):
                    return False
        return True

    def run_often() -> int:
        count = 0
        with torch.inference_mode():
            while not done.is_set():
                assert torch.equal(running(image), expected)
                count += 1
        return count

    with ThreadPoolExecutor(5) as pool:
        runs = pool.submit(run_often)
        cuts = [pool.submit(cut_often, name) for name in 2 * MODELS]
        found = [each.exception() or each.result() for each in cuts]
        done.set()
        assert runs.result() > 0
    assert found == [True] * 4
    assert torch.nn.Module.__call__ is called


def test_two_fits_and_predictions_at_the_same_time(photos: Photos, fitted: Fit, classifier: Classifier) -> None:
    folder, done = photos("more", red=6, green=6, blue=6), threading.Event()
    images = sorted(folder.glob("*/*.png"))
    expected = classifier.predict_proba(images)
    alone = [fitted(folder, model=name, engine="openvino", train="head") for name in MODELS]

    def predict_often() -> int:
        count = 0
        while not done.is_set():
            assert np.array_equal(classifier.predict_proba(images), expected)
            count += 1
            done.wait(0.05)
        return count

    with ThreadPoolExecutor(3) as pool:
        predictions = pool.submit(predict_often)
        fits = [
            pool.submit(
                fitted, folder, model=name, engine="openvino", train="head", cache_dir=str(folder.parent / f"of {name}")
            )
            for name in MODELS
        ]
        together = [each.result() for each in fits]
        done.set()
        assert predictions.result() > 0
    for one, other in zip(alone, together, strict=True):
        # Not bit for bit: how a product of matrices is computed depends on where in memory they lie.
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
