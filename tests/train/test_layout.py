from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import relu6

from headstart.train.layout import laid_out, same_for_gradients, suits

pytestmark = pytest.mark.usefixtures("one_thread")


class Pooled(nn.Module):
    """As the end of most networks: convolution, normalisation, activation, the mean over the map, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.normalisation, self.head = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Linear(8, 2)
        self.seen: list[torch.Tensor] = []

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        normal = self.normalisation(self.convolution(maps))
        normal.register_hook(self.seen.append)  # behind the hooks that the module has itself
        return self.head(relu6(normal).mean((2, 3)))


@pytest.fixture
def network() -> Pooled:
    torch.manual_seed(0)
    return Pooled()


def test_values_stay_what_they_are() -> None:
    maps = torch.rand(2, 3, 8, 8)
    small = laid_out(maps, last=True)
    assert small.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(small, maps)


@pytest.mark.parametrize(
    "inputs",
    [torch.rand(2, 3, 8, 9), torch.rand(2, 5), torch.rand(2, 5, 7), torch.zeros(2, 7, 7, 3, dtype=torch.uint8)],
    ids=["large maps", "vectors", "tokens", "images"],
)
def test_what_is_no_small_map_is_left_alone(inputs: torch.Tensor) -> None:
    assert laid_out(inputs, last=True) is inputs


def test_a_tail_it_does_not_suit_gets_maps_as_they_come() -> None:
    maps = torch.rand(2, 3, 7, 7)
    assert laid_out(maps, last=False) is maps


@pytest.mark.parametrize(
    ("layer", "half", "single"),
    [
        (nn.Conv2d(4, 4, 3, groups=4), True, True),
        (nn.Conv2d(4, 4, (3, 5), groups=4), False, True),
        (nn.Conv2d(4, 4, 3, groups=2), False, False),
        (nn.Conv2d(1, 4, 3), False, False),
        (nn.Linear(4, 4), False, False),
    ],
    ids=["3 by 3", "a larger kernel", "groups", "one channel", "no convolution"],
)
def test_it_suits_depthwise_convolutions(layer: nn.Module, half: bool, single: bool) -> None:
    assert (suits(layer, "bfloat16"), suits(layer, "float32")) == (half, single)


@pytest.mark.parametrize("watched", [True, False])
def test_a_gradient_has_the_layout_of_its_output(network: Pooled, watched: bool) -> None:
    maps = laid_out(torch.rand(4, 3, 7, 7), last=True)
    if watched:
        with same_for_gradients(network):
            network(maps).sum().backward()
    else:
        network(maps).sum().backward()
    assert network.seen[0].is_contiguous(memory_format=torch.channels_last) is watched


def test_it_changes_no_gradient_and_leaves_nothing_behind(network: Pooled) -> None:
    maps = torch.rand(4, 3, 7, 7)
    network(maps).pow(2).sum().backward()
    plain = {
        name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None
    }
    network.zero_grad()
    with same_for_gradients(network):
        network(laid_out(maps, last=True)).pow(2).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, plain[name])
    assert not network.normalisation._forward_hooks
    assert network(maps).shape == (4, 2)
