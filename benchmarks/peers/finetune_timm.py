"""A plain fine-tuning loop in torch: AdamW, cosine schedule, ten epochs, RandomResizedCrop and flip, float32.

--train all trains the whole network. --train tail trains its last stages and the head; the others are frozen, stay in
evaluation mode and run without gradients. The epoch with the lowest validation log-loss is kept.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from typing import Any

import lite0
import torch
from common import Split, Task, arguments, finish, read_task
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch.nn import functional as F
from torchvision import transforms

BASE_LR = {"tail": 1e-3, "all": 3e-4}
WEIGHT_DECAY, BATCH_SIZE = 0.01, 32
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WORKERS = min(8, len(os.sched_getaffinity(0)))
TAIL = ("blocks.5", "blocks.6", "conv_head", "bn2", "classifier")
Loader = torch.utils.data.DataLoader  # of (images, targets)


class LabeledImages(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """(image, target)."""

    def __init__(self, split: Split, transform: Any) -> None:
        self.split, self.transform = split, transform

    def __len__(self) -> int:
        return len(self.split.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        image = Image.open(self.split.paths[row]).convert("RGB")
        return self.transform(image), int(self.split.targets[row])


def freeze_all_but_tail(model: torch.nn.Module) -> None:
    """No gradients for the first five stages."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(TAIL))


def set_training_mode(model: torch.nn.Module, tail: bool) -> None:
    """Training mode, except for the BatchNorm layers of frozen stages, which keep their statistics."""
    model.train()
    if tail:
        for name, module in model.named_modules():
            if name and not name.startswith(TAIL) and isinstance(module, torch.nn.BatchNorm2d):
                module.eval()


@torch.inference_mode()
def predict_logits(model: torch.nn.Module, loader: Loader) -> torch.Tensor:  # type: ignore[type-arg]
    """(N, C)."""
    model.eval()
    return torch.cat([model(x.to(DEVICE, memory_format=torch.channels_last)).cpu() for x, _ in loader])


def open_loaders(task: Task, model: torch.nn.Module) -> dict[str, Loader]:  # type: ignore[type-arg]
    """Augmented images to train on, the model's evaluation view for the others."""
    config = resolve_data_config({}, model=model)
    views = {split: create_transform(**config, is_training=False) for split in ("validation", "test")}
    views["train"] = transforms.Compose(
        [
            transforms.RandomResizedCrop(config["input_size"][-1], interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(config["mean"], config["std"]),
        ]
    )
    return {
        split: torch.utils.data.DataLoader(
            LabeledImages(task.splits[split], view),
            batch_size=BATCH_SIZE if split == "train" else 64,
            shuffle=split == "train",
            # BatchNorm cannot learn from a batch of one image.
            drop_last=split == "train" and len(task.splits[split].paths) > BATCH_SIZE,
            num_workers=WORKERS,
        )
        for split, view in views.items()
    }


def train(
    model: torch.nn.Module,
    loaders: dict[str, Loader],  # type: ignore[type-arg]
    targets: torch.Tensor,
    given: argparse.Namespace,
) -> list[float]:
    """Train, restore the best epoch, and return the seconds at the end of each epoch.

    :param targets: of the validation split.
    """
    epochs = given.epochs or 10
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=given.lr or BASE_LR[given.train], weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loaders["train"]))
    lowest, best, ends = float("inf"), None, []
    start = time.monotonic()
    for _ in range(epochs):
        set_training_mode(model, given.train == "tail")
        for x, y in loaders["train"]:
            loss = F.cross_entropy(model(x.to(DEVICE, memory_format=torch.channels_last)), y.to(DEVICE))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        val_loss = float(F.cross_entropy(predict_logits(model, loaders["validation"]), targets))
        ends.append(round(time.monotonic() - start, 2))
        if val_loss < lowest:
            lowest, best = val_loss, copy.deepcopy(model.state_dict())
    if best is not None:
        model.load_state_dict(best)
    return ends


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--train", choices=("all", "tail"), default="all")
    parser.add_argument("--lr", type=float)
    given = parser.parse_args()
    task = read_task(given)
    torch.manual_seed(given.seed)
    # Channels last is a quarter faster here than torch's default, so that the peer is not slower for that.
    model = lite0.create_model(len(task.classes)).to(DEVICE).to(memory_format=torch.channels_last)
    if given.train == "tail":
        freeze_all_but_tail(model)
    loaders = open_loaders(task, model)
    ends = train(model, loaders, torch.from_numpy(task.splits["validation"].targets), given)
    probabilities = predict_logits(model, loaders["test"]).softmax(1).numpy()
    trainable = sum(each.numel() for each in model.parameters() if each.requires_grad)
    finish(task, probabilities, training_s=ends[-1], epoch_ends_s=ends, trainable=trainable)


if __name__ == "__main__":
    main()
