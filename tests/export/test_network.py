"""The module that is exported computes what headstart computes, whatever the network and where it is cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings
from headstart.errors import ModelError
from headstart.export.network import ExportNetwork, export_program
from headstart.models.backbone import load_backbone
from headstart.models.importers.graphs import FrozenGraph, ImportedNetwork
from headstart.models.openvino_library import openvino

FLOAT32 = EngineSettings(precision="float32", engine="torch")


def pixels_of(photos: Path) -> list[np.ndarray]:
    return [np.array(Image.open(path)) for path in sorted(photos.glob("*/1*.jpg"))[:6]]


def largest_difference(classifier: Classifier, photos: Path, run: torch.nn.Module) -> float:
    images = pixels_of(photos)
    expected = classifier.predict_proba(images, settings=FLOAT32)
    with torch.no_grad():
        found = [run(torch.from_numpy(image)[None])[0].numpy() for image in images]
    return float(np.abs(np.concatenate(found) - expected).max())


@pytest.mark.parametrize("train", ["head", "last:1", "all"])
@pytest.mark.parametrize("model", ["test_efficientnet", "test_resnet", "test_vit", "test_convnext"])
def test_any_network_and_cut(model: str, train: str, photos: Path) -> None:
    backbone = load_backbone(model, weights_file="random").with_new_head(5, seed=0)
    names = tuple("abcde")
    classifier = Classifier(backbone.module.eval(), names, backbone.spec, model, train, temperature=0.3)
    network = ExportNetwork(classifier, branches=False)
    assert largest_difference(classifier, photos, network) < 1e-5


@pytest.mark.parametrize("model", ["test_vit", "test_convnext"])
def test_the_program_serves_all_sizes(model: str, photos: Path) -> None:
    backbone = load_backbone(model, weights_file="random").with_new_head(5, seed=0)
    classifier = Classifier(backbone.module.eval(), tuple("abcde"), backbone.spec, model, "head", temperature=0.3)
    program = export_program(ExportNetwork(classifier, branches=False)).module()
    assert largest_difference(classifier, photos, program) < 1e-5


def test_stages_flips_squashed_bgr_and_rounded_features(photos: Path) -> None:
    backbone = load_backbone("test_resnet", weights_file="random").with_new_head(3, seed=0, stages=True)
    torch.nn.init.normal_(backbone.module.stage_head.weight, generator=torch.Generator().manual_seed(0))
    plain = Classifier(backbone.module.eval(), ("a", "b", "c"), backbone.spec, "test_resnet", "head")
    spec = replace(backbone.spec.whole(), channels="BGR", interpolation="bilinear", height=96, width=64)
    metadata = replace(plain.metadata, feature_dtype="float16")
    classifier = replace(plain, spec=spec, tta_flip=True, metadata=metadata)
    network = ExportNetwork(classifier, branches=False)
    assert network.rounds
    assert largest_difference(classifier, photos, network) < 1e-5
    network.rounds = False
    assert largest_difference(classifier, photos, network) > 0


def test_a_network_of_another_framework_is_refused() -> None:
    opset = openvino().opset13
    images = opset.parameter([-1, 3, 8, 8], np.float32)
    graph = openvino().Model([opset.reduce_mean(images, np.array([2, 3]))], [images])
    network = ImportedNetwork(FrozenGraph(graph, source_digest=bytes(16), features=3), 2)
    classifier = Classifier(
        network, ("a", "b"), load_backbone("test_resnet", weights_file="random").spec, "x.onnx", "head"
    )
    with pytest.raises(ModelError, match=r"x\.onnx: a network that was read from an ONNX file, .* cannot be exported"):
        ExportNetwork(classifier)
