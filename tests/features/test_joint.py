"""Features of two cuts of a network from one pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.config import FitSettings
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.events import Events
from headstart.features.joint import JointTables
from headstart.features.key import FeatureSpace
from headstart.features.missing import keys_from_hex
from headstart.features.store import FeatureStore
from headstart.models.backbone import build
from headstart.models.cut import cut
from headstart.models.joint_prefix import joint_prefix
from headstart.workflow.candidates import open_candidate
from headstart.workflow.extraction import open_extractor


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext", "test_mambaout"])
def test_it_computes_what_both_compute(name: str) -> None:
    network = build(name, classes=3)
    shape = (3, 96, 96)
    first, second = (cut(network, train, input_shape=shape) for train in ("head", "last:1"))
    joint = joint_prefix(first, second)
    assert joint is not None
    images = torch.rand(2, *shape)
    with torch.no_grad():
        expected = [part.prefix(images).flatten(1) for part in (first, second)]
        assert torch.equal(joint(images), torch.cat(expected, 1))
    operations = [len(part.graph.nodes) for part in (first.prefix, second.prefix, joint)]
    assert operations[2] <= operations[0] + 3  # nothing is computed twice


def test_there_is_none_for_pixels() -> None:
    network = build("test_resnet", classes=3)
    head, whole = (cut(network, train, input_shape=(3, 64, 64)) for train in ("head", "all"))
    assert joint_prefix(head, whole) is None


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "tf_efficientnet_lite0"])
@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_the_tables_have_the_bits_of_two_passes(name: str, precision: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(10):
        Image.fromarray(rng.integers(0, 256, (50, 40, 3), np.uint8)).save(tmp_path / f"{number}.png")
    images = inspect_all(Manifest.from_rows(sorted(tmp_path.glob("*.png"))))
    hashes = [str(each) for each in images.hashes]
    found = []
    for joined in (False, True):
        weights = {} if name.startswith("tf_") else {"weights": "random"}
        settings = FitSettings.of(**weights, precision=precision, cache_dir=str(tmp_path / f"store-{joined}"))
        head = open_candidate(name, settings, classes=2, events=Events()).extractor
        deeper = open_extractor(head.backbone, "last:1", settings, device="cpu")
        if joined:
            joint = joint_prefix(head.cut, deeper.cut)
            assert joint is not None
            assert head.compute_with(deeper, joint, images, events=Events()) == []
            assert (head.missing(images), deeper.missing(images)) == (0, 0)
        else:
            head.compute(images, events=Events())
            deeper.compute(images, events=Events())
        found.append([each.table.rows(hashes).take(np.arange(10)) for each in (head, deeper)])
    for alone, together in zip(*found, strict=True):
        assert np.array_equal(alone, together)


def test_only_what_both_lack_is_computed(tmp_path: Path) -> None:
    spaces = [
        FeatureSpace("net", "0" * 32, at, InputSpec(), "float32", "float32", shape)
        for at, shape in (("a", (2,)), ("b", (2, 2)))
    ]
    first, second = (FeatureStore(tmp_path).table(space) for space in spaces)
    keys = [f"{number:032x}" for number in range(6)]
    first.append(keys[:2], np.zeros((2, 2), np.float32))
    second.append(keys[1:3], np.zeros((2, 2, 2), np.float32))
    both = JointTables(first, second)
    assert both.lacks(keys_from_hex(keys), (0,)).ravel().tolist() == [False] * 3 + [True] * 3
    rows = np.arange(18, dtype=np.float32).reshape(3, 6)
    both.append(keys[3:], rows)
    both.compact()
    assert np.array_equal(first.rows(keys[3:]).take(range(3)), rows[:, :2])
    assert np.array_equal(second.rows(keys[3:]).take(range(3)), rows[:, 2:].reshape(3, 2, 2))
    assert not both.lacks(keys_from_hex(keys), (0,)).any()
    assert both.lacks(keys_from_hex(keys[3:]), (0, 1)).tolist() == [[False, True]] * 3
