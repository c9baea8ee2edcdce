from __future__ import annotations

import pytest

from headstart.data.spec import InputSpec
from headstart.models.backbone import build
from headstart.models.cut import cut
from headstart.models.importers.keras import build_keras
from headstart.models.summary import Summary, summarize


def summary_of(name: str, classes: int, train: str, size: int = 224) -> Summary:
    network = build_keras(name, classes=classes) if name.startswith("keras:") else build(name, classes=classes)
    spec = InputSpec(height=size, width=size)
    return summarize(network, cut(network, train, input_shape=(3, size, size)), spec)


@pytest.mark.parametrize("name", ["mobilenetv2_100", "keras:MobileNetV2"])
def test_totals_match_keras(name: str) -> None:
    assert summary_of(name, 1001, "head").total == 3_540_265
    dogs = summary_of(name, 120, "from:blocks.5.2.conv_dw")
    assert (dogs.total, dogs.trainable, dogs.total - dogs.trainable) == (2_411_704, 1_204_280, 1_207_424)


def test_layers_add_up_to_the_totals_and_the_cut_is_a_line() -> None:
    dogs = summary_of("mobilenetv2_100", 120, "from:blocks.5.2.conv_dw")
    assert sum(layer.values for layer in dogs.layers) == dogs.total
    assert sum(layer.trainable for layer in dogs.layers) == dogs.trainable
    lines = dogs.lines()
    (line,) = [row for row, text in enumerate(lines) if text.startswith("-- cut at ")]
    assert "15,680 bytes per image in the store" in lines[line]
    assert lines[line - 1].split()[0].startswith("blocks.5.1.")
    assert lines[line + 1].split()[:3] == ["blocks.5.2.conv_pw", "Conv2d", "960x7x7"]
    assert lines[-1] == "total 2,411,704, trainable 1,204,280, not trainable 1,207,424"


@pytest.mark.parametrize("train", ["head", "last:1", "all"])
def test_transformer_parameters_outside_layers_are_counted(train: str) -> None:
    summary = summary_of("test_vit", 10, train, 160)
    assert sum(layer.values for layer in summary.layers) == summary.total
    assert sum(layer.trainable for layer in summary.layers) == summary.trainable
    assert sum(text.startswith("-- cut at ") for text in summary.lines()) == 1
