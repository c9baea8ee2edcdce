"""A network of another framework: a frozen prefix that is not torch's, and a linear head that is."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from headstart.models.foreign.frozen import FrozenGraph, read_graph

__all__ = ["ForeignNetwork", "build_foreign"]


class ForeignNetwork(nn.Module):
    """Images (B, 3, H, W), normalised, to logits (B, C); it offers what timm's networks do to change the head."""

    def __init__(self, prefix: FrozenGraph, classes: int) -> None:
        super().__init__()
        self.prefix = prefix
        self.num_classes = 0
        self.head: nn.Module = nn.Identity()
        self.reset_classifier(classes)

    def get_classifier(self) -> nn.Module:
        """The head: linear, or the identity where no class is known."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """A new head; 0 takes it away."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.prefix.features, num_classes) if num_classes else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Logits, or features where there is no head."""
        logits: Tensor = self.head(self.prefix(images))
        return logits

    def write(self, folder: Path) -> dict[str, str]:
        """Write what a state dict does not hold into a folder; the names of the files, with a digest of each."""
        return self.prefix.write(folder)


def build_foreign(folder: Path, files: dict[str, str], *, classes: int) -> ForeignNetwork:
    """What :meth:`ForeignNetwork.write` wrote, with a random head: the rest is for ``load_state_dict``.

    :raises ModelError: a file is missing or damaged.
    """
    with torch.random.fork_rng(devices=[]):
        return ForeignNetwork(read_graph(folder, files), classes).eval()
