"""Where a network looked: against the class activation map computed by hand, and on networks of several kinds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import headstart as hs
from headstart.data.spec import InputSpec
from headstart.data.transforms import evaluation_view
from headstart.inference.engine import Normalized
from headstart.inference.saliency import SaliencyMapper, highlight
from headstart.models.backbone import build
from headstart.models.cut import cut
from headstart.models.stage_head import add_stage_head, stage_head
from headstart.models.stages import find_stages


def view(side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(data.chelsea()).resize((side, side)))


def test_the_class_activation_map_is_that_of_the_paper() -> None:
    classifier = hs.Classifier.pretrained("tf_efficientnet_lite0")
    network, spec = classifier.network, classifier.spec
    image = evaluation_view(Image.fromarray(data.chelsea()), spec)
    target = classifier.classes.index("tiger cat")
    found = SaliencyMapper(network, spec).explain(image, target)
    assert found is not None
    assert found.method == "class activation map"
    with torch.no_grad():
        maps = network.forward_features(Normalized(torch.nn.Identity(), spec)(torch.from_numpy(image[None].copy())))
        weights = network.get_classifier().weight[target]
        expected = torch.einsum("c,bchw->bhw", weights, maps)[0] / maps[0, 0].numel()
    np.testing.assert_allclose(found.contributions, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "method", "grid"),
    [
        ("test_resnet", "class activation map", (5, 5)),
        ("test_efficientnet", "class activation map", (5, 5)),
        ("test_convnext", "gradient times activation", (5, 5)),  # its norm follows the pooling
        ("test_vit", "gradient times activation", (10, 10)),
        ("test_vit3", "gradient times activation", (10, 10)),  # attention pooling
    ],
)
def test_networks_of_several_kinds(model: str, method: str, grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = build(model, classes=10).eval()
    mapper = SaliencyMapper(network, InputSpec(height=160, width=160))
    for _ in range(2):  # the second time, the place is known
        found = mapper.explain(view(160), 3)
        assert found is not None
        assert (found.method, found.contributions.shape) == (method, grid)
        assert found.contributions.std() > 0


def test_pooled_stages_in_the_head_make_it_inexact() -> None:
    torch.manual_seed(0)
    network, spec = build("test_resnet", classes=3).eval(), InputSpec(height=64, width=64)
    plain = SaliencyMapper(network, spec).explain(view(64), 1)
    add_stage_head(network, find_stages(network, (3, 64, 64)), 3)
    head = stage_head(network)
    assert head is not None
    torch.nn.init.normal_(head.weight)
    found = SaliencyMapper(network, spec).explain(view(64), 1)
    assert plain is not None
    assert found is not None
    assert (plain.method, found.method) == ("class activation map", "gradient times activation")
    np.testing.assert_allclose(found.contributions, plain.contributions, atol=1e-5)  # the part of the last map


def test_it_does_not_change_the_network() -> None:
    network, spec = build("test_resnet", classes=3).eval(), InputSpec(height=64, width=64)
    parts, x = cut(network, "head", input_shape=(3, 64, 64)), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = parts.tail(parts.prefix(x))
    SaliencyMapper(network, spec).explain(view(64), 0)
    assert all(parameter.grad is None for parameter in network.parameters())
    with torch.no_grad():
        assert torch.equal(before, parts.tail(parts.prefix(x)))


def test_highlight_shows_where_the_evidence_is() -> None:
    contributions = np.full((7, 7), -1.0, np.float32)
    contributions[1, 5] = 2
    shown = np.asarray(highlight(np.full((70, 70, 3), 200, np.uint8), contributions))
    assert shown[15, 55].min() > 180
    assert shown[55, 15].max() == 40
    nothing = highlight(np.full((8, 8, 3), 200, np.uint8), np.full((2, 2), -1.0, np.float32))
    assert np.asarray(nothing).max() == 40


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_a_batch_is_explained_as_its_images_are(model: str) -> None:
    torch.manual_seed(0)
    network, spec = build(model, classes=4).eval(), InputSpec(height=160, width=160)
    views = np.stack([np.roll(view(160), 40 * shift, axis=1) for shift in range(5)])
    together = SaliencyMapper(network, spec).explain_all(views, [3, 0, 2, 1, 3])
    for image, target, found in zip(views, [3, 0, 2, 1, 3], together, strict=True):
        alone = SaliencyMapper(network, spec).explain(image, target)
        assert alone is not None
        assert found is not None
        assert found.method == alone.method
        np.testing.assert_allclose(found.contributions, alone.contributions, atol=1e-5)
    assert SaliencyMapper(network, spec).explain_all(views[:0], []) == []
