from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import relu6

from headstart.inference.memory_format import channels_last_gradients, prefers_channels_last, to_channels_last

pytestmark = pytest.mark.usefixtures("one_thread")


class Pooled(nn.Module):
    """The end of most networks: convolution, normalization, activation, the mean over the map, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.normalization, self.head = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Linear(8, 2)
        self.seen: list[torch.Tensor] = []

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        normal = self.normalization(self.convolution(maps))
        normal.register_hook(self.seen.append)  # after the hooks of the module itself
        return self.head(relu6(normal).mean((2, 3)))


@pytest.fixture
def network() -> Pooled:
    torch.manual_seed(0)
    return Pooled()


def test_values_are_unchanged() -> None:
    maps = torch.rand(2, 3, 8, 8)
    small = to_channels_last(maps, last=True)
    assert small.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(small, maps)


@pytest.mark.parametrize(
    "inputs",
    [torch.rand(2, 3, 8, 9), torch.rand(2, 5), torch.rand(2, 5, 7), torch.zeros(2, 7, 7, 3, dtype=torch.uint8)],
    ids=["large maps", "vectors", "tokens", "images"],
)
def test_only_small_maps_are_converted(inputs: torch.Tensor) -> None:
    assert to_channels_last(inputs, last=True) is inputs


def test_no_conversion_without_last() -> None:
    maps = torch.rand(2, 3, 7, 7)
    assert to_channels_last(maps, last=False) is maps


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
def test_depthwise_convolutions_prefer_channels_last(layer: nn.Module, half: bool, single: bool) -> None:
    assert (prefers_channels_last(layer, "bfloat16"), prefers_channels_last(layer, "float32")) == (half, single)


@pytest.mark.parametrize("watched", [True, False])
def test_gradient_has_the_format_of_its_output(network: Pooled, watched: bool) -> None:
    maps = to_channels_last(torch.rand(4, 3, 7, 7), last=True)
    if watched:
        with channels_last_gradients(network):
            network(maps).sum().backward()
    else:
        network(maps).sum().backward()
    assert network.seen[0].is_contiguous(memory_format=torch.channels_last) is watched


def test_gradients_are_equal_and_hooks_are_removed(network: Pooled) -> None:
    maps = torch.rand(4, 3, 7, 7)
    network(maps).pow(2).sum().backward()
    plain = {
        name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None
    }
    network.zero_grad()
    with channels_last_gradients(network):
        network(to_channels_last(maps, last=True)).pow(2).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, plain[name])
    assert not network.normalization._forward_hooks
    assert network(maps).shape == (4, 2)
