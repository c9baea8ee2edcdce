"""Where the time of training a tail goes, by torch's own profiler: shares of each operation.

    python benchmarks/tail_profile.py [--steps 40] [--quick]

The tutorial's last 20 layers of MobileNetV2 and the default network's last block, on batches of 32 from features in
memory, in the precision that a fit takes here by itself. A step is gathering, the pass forward, back, and the
optimizer's; what is not torch's (drawing rows, Python between operations) is "outside torch's operations". What takes
more than a twentieth is explained beside it.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import Any

import torch
from harness import WEIGHTS, keep
from layout import tail_of
from torch.profiler import ProfilerActivity, profile

from headstart.models.engine import choose_precision
from headstart.train.tail import Loop, train_tail

CUTS = {
    "MobileNetV2, layers:20": (str(WEIGHTS), "layers:20"),
    "EfficientNet-Lite0, last:1": ("tf_efficientnet_lite0", "last:1"),
}
MEANT = {  # the beginning of an operation's name, and why it takes what it takes
    "aten::mkldnn_convolution": "forward: the products themselves",
    "aten::convolution_backward": "back: two products for each one forward, gradients of inputs and of weights",
    "aten::_slow_conv2d": "convolutions that oneDNN leaves to torch",
    "aten::_conv_depthwise2d": "depthwise convolutions: little to multiply for each byte",
    "aten::native_batch_norm_backward": "back through BatchNorm: bound by memory",
    "aten::native_batch_norm": "BatchNorm, whose statistics may be learned: bound by memory",
    "aten::hardtanh": "ReLU6: bound by memory",
    "aten::clamp": "ReLU6: bound by memory",
    "aten::addmm": "the head's product",
    "aten::mm": "the head's products back",
    "aten::_foreach": "the optimizer, all parameters at once",
    "aten::copy_": "to float32 from the type that features are kept in, and to the layout of the convolutions",
    "aten::mean": "the mean over a map",
    "aten::sum": "gradients of biases and of the mean over a map",
}
LEAST = 0.05


def explained(operation: str) -> str:
    """By the longest name that fits."""
    found = [name for name in MEANT if operation.startswith(name)]
    return MEANT[max(found, key=len)] if found else ""


def profiled(model: str, train: str, steps: int) -> dict[str, Any]:
    """An epoch of so many steps, after one that is not looked at."""
    tail, part, one = tail_of(model, train, steps)
    loop = Loop(1, 32, optimizer="sgd", precision=choose_precision("auto", "cpu"))
    train_tail(tail, part, one, loop)
    start = time.perf_counter()
    train_tail(tail, part, one, loop)
    alone = time.perf_counter() - start
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        start = time.perf_counter()
        train_tail(tail, part, one, loop)
        seconds = time.perf_counter() - start
    own: Counter[str] = Counter()
    for event in watched.key_averages():
        own[event.key] += event.self_cpu_time_total / 1e6  # microseconds
    shares = {name: taken / seconds for name, taken in own.most_common() if taken / seconds >= LEAST}
    named = {name: {"share": round(share, 3), "why": explained(name)} for name, share in shares.items()}
    rest = sum(own.values()) / seconds - sum(shares.values())
    return {
        "maps": list(part.inputs.take([0]).shape[1:]),
        "precision": loop.precision,
        "ms_a_step": round(1000 * alone / steps, 1),
        "ms_a_step_watched": round(1000 * seconds / steps, 1),
        "operations": named,
        "smaller_ones_together": round(rest, 3),
        "outside_torchs_operations": round(1 - sum(own.values()) / seconds, 3),
    }


def main() -> None:
    """One tail after the other."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--steps", type=int, default=40)
    arguments.add_argument("--quick", action="store_true", help="3 steps: only whether it runs")
    given = arguments.parse_args()
    torch.manual_seed(0)
    tails = {title: profiled(*each, 3 if given.quick else given.steps) for title, each in CUTS.items()}
    keep("tail_profile", {"tails": tails}, quick=given.quick)


if __name__ == "__main__":
    main()
