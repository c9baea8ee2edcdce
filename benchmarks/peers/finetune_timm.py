"""A plain fine-tuning loop in torch: AdamW, cosine, ten epochs, RandomResizedCrop and flip, float32.

--train all trains the whole network; --train tail its last stages and the head, the others frozen and in evaluation
mode, run without gradients. The epoch with the lowest validation log-loss is taken.
"""

from __future__ import annotations

import copy
import os
import time

import lite0
import torch
from common import Part, arguments, finish, task
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch.nn import functional as F
from torchvision import transforms

LR = {"tail": 1e-3, "all": 3e-4}  # at its highest
WEIGHT_DECAY, BATCH = 0.01, 32
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WORKERS = min(8, len(os.sched_getaffinity(0)))
TAIL = ("blocks.5", "blocks.6", "conv_head", "bn2", "classifier")


class Pictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """(picture, target)."""

    def __init__(self, part: Part, transform: object) -> None:
        self.part, self.transform = part, transform

    def __len__(self) -> int:
        return len(self.part.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        picture = Image.open(self.part.paths[row]).convert("RGB")
        return self.transform(picture), int(self.part.targets[row])  # type: ignore[operator]


def freeze_all_but_the_tail(model: torch.nn.Module) -> None:
    """The first five stages take no gradient and keep their statistics."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(TAIL))


def training(model: torch.nn.Module, tail: bool) -> None:
    """Training mode, but for what is frozen."""
    model.train()
    if tail:
        for name, module in model.named_modules():
            if name and not name.startswith(TAIL) and isinstance(module, torch.nn.BatchNorm2d):
                module.eval()


@torch.inference_mode()
def logits(model: torch.nn.Module, loader: torch.utils.data.DataLoader) -> torch.Tensor:  # type: ignore[type-arg]
    """(N, C)."""
    model.eval()
    return torch.cat([model(x.to(DEVICE, memory_format=torch.channels_last)).cpu() for x, _ in loader])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--train", choices=("all", "tail"), default="all")
    parser.add_argument("--lr", type=float)
    given = parser.parse_args()
    work = task(given)
    torch.manual_seed(given.seed)
    # Channels last: a quarter faster here than torch's own order, so that the peer is not the slower for that.
    model = lite0.network(len(work.classes)).to(DEVICE).to(memory_format=torch.channels_last)
    if given.train == "tail":
        freeze_all_but_the_tail(model)
    facts = resolve_data_config({}, model=model)
    views = {part: create_transform(**facts, is_training=False) for part in ("validation", "test")}
    views["train"] = transforms.Compose(
        [
            transforms.RandomResizedCrop(facts["input_size"][-1], interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(facts["mean"], facts["std"]),
        ]
    )
    loaders = {
        part: torch.utils.data.DataLoader(
            Pictures(work.parts[part], view),
            batch_size=BATCH if part == "train" else 64,
            shuffle=part == "train",
            drop_last=part == "train" and len(work.parts[part].paths) > BATCH,  # BatchNorm learns nothing from one
            num_workers=WORKERS,
        )
        for part, view in views.items()
    }
    epochs = given.epochs or 10
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=given.lr or LR[given.train], weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loaders["train"]))
    truth = torch.from_numpy(work.parts["validation"].targets)
    lowest, best, ends = float("inf"), None, []
    start = time.monotonic()
    for _ in range(epochs):
        training(model, given.train == "tail")
        for x, y in loaders["train"]:
            loss = F.cross_entropy(model(x.to(DEVICE, memory_format=torch.channels_last)), y.to(DEVICE))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        found = float(F.cross_entropy(logits(model, loaders["validation"]), truth))
        ends.append(round(time.monotonic() - start, 2))
        if found < lowest:
            lowest, best = found, copy.deepcopy(model.state_dict())
    if best is not None:
        model.load_state_dict(best)
    shares = logits(model, loaders["test"]).softmax(1).numpy()
    finish(work, shares, training_s=ends[-1], epoch_ends_s=ends, trainable=sum(each.numel() for each in trained))


if __name__ == "__main__":
    main()
