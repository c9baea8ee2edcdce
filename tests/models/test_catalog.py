from __future__ import annotations

import pytest
import timm

from headstart.data.spec import InputSpec
from headstart.errors import ModelError
from headstart.models.catalog import ModelInfo, list_models, require
from headstart.models.keras import ARCHITECTURES


def test_facts_are_those_of_timm() -> None:
    assert (
        require("tf_efficientnet_lite0")
        == ModelInfo(
            "tf_efficientnet_lite0",
            InputSpec(height=224, width=224, crop=0.875, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3),
            classes=1000,
            licence="apache-2.0",
            hub_id="timm/tf_efficientnet_lite0.in1k",
            head="classifier",
        )
        or require("tf_efficientnet_lite0").spec == InputSpec()
    )


def test_a_tag_has_its_own_facts() -> None:
    plain, of_22k = require("convnext_tiny.fb_in1k"), require("convnext_tiny.fb_in22k")
    assert (plain.classes, of_22k.classes) == (1000, 21841)
    assert require("resnet50.tv_in1k").spec.interpolation == "bilinear"
    assert require("vit_base_patch16_384").spec.height == 384


def test_every_model_of_timm_has_facts() -> None:
    found = list(list_models())
    assert [info.name for info in found] == [*timm.list_models(), *ARCHITECTURES]
    assert {info.spec.crop_mode for info in found} == {"center", "squash"}
    assert {info.spec.interpolation for info in found} <= {"bilinear", "bicubic", "nearest", "lanczos"}
    assert all(isinstance(info.head, str) and info.licence for info in found)
    assert all(0 < info.spec.crop <= 1.15 and info.spec.resize > 0 for info in found)


def test_the_head_of_networks_that_have_two_or_none() -> None:
    assert require("deit_tiny_distilled_patch16_224").head == "head"
    assert require("levit_128s").head == "head.linear"
    assert require("qwen3_vit_88m_enc").head == ""


def test_borders_become_a_squeezed_whole_picture() -> None:
    with_borders = [name for name in timm.list_models() if timm.get_pretrained_cfg(name).crop_mode == "border"]
    assert with_borders  # else the catalogue need not care any more
    for name in with_borders:
        assert (require(name).spec.crop_mode, require(name).spec.crop) == ("squash", 1.0)


def test_patterns() -> None:
    assert [info.name for info in list_models("mobilenetv4_conv_small*")] == [
        "mobilenetv4_conv_small",
        "mobilenetv4_conv_small_035",
        "mobilenetv4_conv_small_050",
    ]
    assert list(list_models("nothing*")) == []
    assert [info.name for info in list_models("*mobilenetv2*1.4")] == ["keras:MobileNetV2-1.4"]
    assert [info.name for info in list_models("resnet50.tv*")] == ["resnet50.tv2_in1k", "resnet50.tv_in1k"]


LISTS = '"headstart models" lists them, with patterns such as "mobilenet*"'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("resnet_50", f"no model is called resnet_50; did you mean resnet50 or resnetv2_50 or resnet50t? {LISTS}"),
        ("", f"no model is called ; {LISTS}"),
        ("12345", f"no model is called 12345; {LISTS}"),
        (
            "mobilenetv2_100.imagenet",
            "no pretrained weights are called mobilenetv2_100.imagenet; there are: mobilenetv2_100.ra_in1k",
        ),
        (
            "test_resnet.",
            "no pretrained weights are called test_resnet.; there are: test_resnet.r160_in1k",
        ),
    ],
)
def test_names_that_are_none(name: str, text: str) -> None:
    with pytest.raises(ModelError) as failure:
        require(name)
    assert str(failure.value) == text


def test_old_names_of_timm_are_not_taken() -> None:
    # timm still builds them, with a warning, and has no facts of them.
    with pytest.raises(
        ModelError, match=r"^no model is called tf_efficientnet_b0_ns; did you mean tf_efficientnet_b0 "
    ):
        require("tf_efficientnet_b0_ns")
