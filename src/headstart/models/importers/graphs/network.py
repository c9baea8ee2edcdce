"""A network from another framework: a frozen OpenVINO prefix, and a linear torch head."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from headstart.models.importers.graphs.frozen import FrozenGraph, load_frozen_graph
from headstart.models.seeding import seeded

__all__ = ["ImportedNetwork", "build_imported"]


class ImportedNetwork(nn.Module):
    """Maps normalized images (B, 3, H, W) to logits (B, C); its head is replaced with the same methods as in timm."""

    def __init__(self, prefix: FrozenGraph, classes: int) -> None:
        super().__init__()
        self.prefix = prefix
        self.num_classes = 0
        self.head: nn.Module = nn.Identity()
        self.reset_classifier(classes)

    def get_classifier(self) -> nn.Module:
        """Return the head: a linear layer, or the identity if no classes are known."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new one; 0 removes it."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.prefix.features, num_classes) if num_classes else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits, or features (B, D) if there is no head."""
        logits: Tensor = self.head(self.prefix(images))
        return logits

    def save_graph(self, folder: Path) -> dict[str, str]:
        """Write the graph, which is not part of the state dict, into a folder; return file names and digests."""
        return self.prefix.save(folder)


def build_imported(folder: Path, files: dict[str, str], *, classes: int) -> ImportedNetwork:
    """Build a network from what :meth:`ImportedNetwork.save_graph` wrote, with a random head.

    ``load_state_dict`` restores the rest.

    :raises ModelError: a file is missing or damaged.
    """
    with seeded():
        return ImportedNetwork(load_frozen_graph(folder, files), classes).eval()
