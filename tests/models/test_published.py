from __future__ import annotations

import csv
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from headstart import paths
from headstart.models.catalog import list_models, model_info
from headstart.models.published import TABLE_PATH, PublishedResults, published_results


def test_name_without_tag_has_the_results_of_its_default_tag() -> None:
    plain = published_results(model_info("resnet50"))
    assert plain == published_results(model_info("resnet50.a1_in1k"))
    assert plain != published_results(model_info("resnet50.tv_in1k")) == PublishedResults(25.56, 76.156, 92.866, 63.19)


def test_results_are_for_the_default_input_size() -> None:
    # timm also has 81.24, for 288 pixels
    assert (model_info("resnet50.a1_in1k").spec.height, published_results(model_info("resnet50.a1_in1k")).top1) == (
        224,
        80.382,
    )


@pytest.mark.parametrize(
    "name", ["convnext_tiny.fb_in22k", "mixnet_xxl", "vit_base_patch14_dinov2", "keras:MobileNetV2-1.4"]
)
def test_unpublished_results_are_none(name: str) -> None:
    assert published_results(model_info(name)).top1 is None


def test_package_weights_have_their_own_results() -> None:
    assert published_results(model_info("tf_efficientnet_lite0")) == PublishedResults(4.65, 75.1, None, None)
    assert published_results(model_info("tf_efficientnet_lite0.in1k")) == published_results(
        model_info("tf_efficientnet_lite0")
    )
    assert (
        published_results(model_info("tf_efficientnet_lite3")).top1 == 79.808
    )  # the weights of the hub, which are loaded


def test_file_placed_by_hand_has_no_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert published_results(model_info("test_resnet")).top1 is not None
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    paths.weights().mkdir()
    save_file(timm.create_model("test_resnet").state_dict(), paths.weights() / "test_resnet.safetensors")
    assert published_results(model_info("test_resnet")) == PublishedResults(
        parameters=published_results(model_info("test_resnet")).parameters
    )
    assert published_results(model_info("test_resnet.r160_in1k")).top1 is not None


def test_table_names_its_sources_and_has_unique_rows() -> None:
    head = [line for line in TABLE_PATH.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert any("Apache-2.0" in line for line in head)
    rows = list(csv.DictReader(line for line in TABLE_PATH.read_text().splitlines() if not line.startswith("#")))
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names) > 1200
    assert all(0 < float(row["top1"] or 50) <= 100 and float(row["parameters"]) > 0 for row in rows)


def test_parameter_counts() -> None:
    for name in ("test_resnet", "mobilenetv2_100", "tf_efficientnet_lite1", "keras:MobileNetV2-0.35"):
        from headstart.models.backbone import build

        size = sum(each.numel() for each in build(name, classes=1000).parameters()) / 1e6
        assert published_results(model_info(name)).parameters == pytest.approx(size, abs=0.006)


@pytest.mark.shared
def test_results_match_timm(shared: Path) -> None:
    with (shared / "timm-results" / "results-imagenet.csv").open(newline="") as file:
        rows = {(row["model"], int(row["img_size"])): float(row["top1"]) for row in csv.DictReader(file)}
    compared = 0
    for info in list_models():
        facts = timm.get_pretrained_cfg(info.name) if ":" not in info.name else None
        found = published_results(info).top1
        if facts is not None and facts.tag and found is not None and info.name[:-1] != "tf_efficientnet_lite":
            assert found == rows[f"{facts.architecture}.{facts.tag}", info.spec.height], info.name
            compared += 1
    assert compared > 700
