from __future__ import annotations

import csv
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from headstart import places
from headstart.models.catalog import list_models, require
from headstart.models.published import PLACE, Published, published


def test_a_name_without_a_tag_has_the_figures_of_its_default_tag() -> None:
    plain = published(require("resnet50"))
    assert plain == published(require("resnet50.a1_in1k"))
    assert plain != published(require("resnet50.tv_in1k")) == Published(25.56, 76.156, 92.866, 63.19)


def test_figures_are_those_of_the_network_s_own_input() -> None:
    # timm has 81.24 of it too, of a second test at 288 pixels
    assert (require("resnet50.a1_in1k").spec.height, published(require("resnet50.a1_in1k")).top1) == (224, 80.382)


@pytest.mark.parametrize(
    "name", ["convnext_tiny.fb_in22k", "mixnet_xxl", "vit_base_patch14_dinov2", "keras:MobileNetV2-1.4"]
)
def test_what_nobody_has_told_is_not_made_up(name: str) -> None:
    assert published(require(name)).top1 is None


def test_what_comes_in_a_package_has_the_figures_of_what_the_package_was_made_from() -> None:
    assert published(require("tf_efficientnet_lite0")) == Published(4.65, 75.1, None, None)
    assert published(require("tf_efficientnet_lite0.in1k")) == published(require("tf_efficientnet_lite0"))
    assert published(require("tf_efficientnet_lite3")).top1 == 79.808  # the hub's, which is what is loaded


def test_a_file_of_somebody_s_own_has_no_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert published(require("test_resnet")).top1 is not None
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    places.weights().mkdir()
    save_file(timm.create_model("test_resnet").state_dict(), places.weights() / "test_resnet.safetensors")
    assert published(require("test_resnet")) == Published(parameters=published(require("test_resnet")).parameters)
    assert published(require("test_resnet.r160_in1k")).top1 is not None


def test_the_table_says_where_it_is_from_and_has_each_once() -> None:
    head = [line for line in PLACE.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert any("Apache-2.0" in line for line in head)
    rows = list(csv.DictReader(line for line in PLACE.read_text().splitlines() if not line.startswith("#")))
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names) > 1200
    assert all(0 < float(row["top1"] or 50) <= 100 and float(row["parameters"]) > 0 for row in rows)


def test_parameters_are_those_of_the_networks() -> None:
    for name in ("test_resnet", "mobilenetv2_100", "tf_efficientnet_lite1", "keras:MobileNetV2-0.35"):
        from headstart.models.backbone import build

        size = sum(each.numel() for each in build(name, classes=1000).parameters()) / 1e6
        assert published(require(name)).parameters == pytest.approx(size, abs=0.006)


@pytest.mark.shared
def test_every_figure_is_the_one_that_timm_published_of_those_weights(shared: Path) -> None:
    with (shared / "timm-results" / "results-imagenet.csv").open(newline="") as file:
        rows = {(row["model"], int(row["img_size"])): float(row["top1"]) for row in csv.DictReader(file)}
    compared = 0
    for info in list_models():
        facts = timm.get_pretrained_cfg(info.name) if ":" not in info.name else None
        found = published(info).top1
        if facts is not None and facts.tag and found is not None and info.name[:-1] != "tf_efficientnet_lite":
            assert found == rows[f"{facts.architecture}.{facts.tag}", info.spec.height], info.name
            compared += 1
    assert compared > 700
