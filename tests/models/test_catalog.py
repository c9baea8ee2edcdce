from __future__ import annotations

import pytest
import timm

from headstart.data.spec import InputSpec
from headstart.errors import ModelError
from headstart.models.catalog import ModelInfo, list_models, model_info
from headstart.models.importers.keras import ARCHITECTURES


def test_metadata_matches_timm() -> None:
    assert (
        model_info("tf_efficientnet_lite0")
        == ModelInfo(
            "tf_efficientnet_lite0",
            InputSpec(height=224, width=224, crop=0.875, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3),
            classes=1000,
            licence="apache-2.0",
            hub_id="timm/tf_efficientnet_lite0.in1k",
            head="classifier",
        )
        or model_info("tf_efficientnet_lite0").spec == InputSpec()
    )


def test_tagged_names_have_their_own_metadata() -> None:
    in_1k, in_22k = model_info("convnext_tiny.fb_in1k"), model_info("convnext_tiny.fb_in22k")
    assert (in_1k.classes, in_22k.classes) == (1000, 21841)
    assert model_info("resnet50.tv_in1k").spec.interpolation == "bilinear"
    assert model_info("vit_base_patch16_384").spec.height == 384


def test_every_timm_model_has_metadata() -> None:
    found = list(list_models())
    assert [info.name for info in found] == [*timm.list_models(), *ARCHITECTURES]
    assert {info.spec.crop_mode for info in found} == {"center", "squash"}
    assert {info.spec.interpolation for info in found} <= {"bilinear", "bicubic", "nearest", "lanczos"}
    assert all(isinstance(info.head, str) and info.licence for info in found)
    assert all(0 < info.spec.crop <= 1.15 and info.spec.resize > 0 for info in found)


def test_head_of_networks_with_two_heads_or_none() -> None:
    assert model_info("deit_tiny_distilled_patch16_224").head == "head"
    assert model_info("levit_128s").head == "head.linear"
    assert model_info("qwen3_vit_88m_enc").head == ""


def test_border_crop_mode_becomes_squash() -> None:
    with_borders = [name for name in timm.list_models() if timm.get_pretrained_cfg(name).crop_mode == "border"]
    assert with_borders  # else the special case can be removed from the catalog
    for name in with_borders:
        assert (model_info(name).spec.crop_mode, model_info(name).spec.crop) == ("squash", 1.0)


def test_patterns() -> None:
    assert [info.name for info in list_models("mobilenetv4_conv_small*")] == [
        "mobilenetv4_conv_small",
        "mobilenetv4_conv_small_035",
        "mobilenetv4_conv_small_050",
    ]
    assert list(list_models("nothing*")) == []
    assert [info.name for info in list_models("*mobilenetv2*1.4")] == ["keras:MobileNetV2-1.4"]
    assert [info.name for info in list_models("resnet50.tv*")] == ["resnet50.tv2_in1k", "resnet50.tv_in1k"]


HINT = '"headstart models" lists all models and accepts patterns, for example "mobilenet*"'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("resnet_50", f"unknown model 'resnet_50'; did you mean resnet50 or resnetv2_50 or resnet50t? {HINT}"),
        ("", f"unknown model ''; {HINT}"),
        ("12345", f"unknown model '12345'; {HINT}"),
        (
            "mobilenetv2_100.imagenet",
            "unknown pretrained weights 'mobilenetv2_100.imagenet'; "
            "available for mobilenetv2_100: mobilenetv2_100.ra_in1k",
        ),
        (
            "test_resnet.",
            "unknown pretrained weights 'test_resnet.'; available for test_resnet: test_resnet.r160_in1k",
        ),
    ],
)
def test_unknown_names(name: str, text: str) -> None:
    with pytest.raises(ModelError) as failure:
        model_info(name)
    assert str(failure.value) == text


def test_deprecated_timm_names_are_rejected() -> None:
    # timm still builds them, with a warning, but has no metadata for them.
    with pytest.raises(ModelError, match=r"^unknown model 'tf_efficientnet_b0_ns'; did you mean tf_efficientnet_b0 "):
        model_info("tf_efficientnet_b0_ns")
