"""Where the time of fine-tuning a tail goes, by torch's profiler: the share of each operation.

    python -m benchmarks.speed.tail_profile [--steps 40] [--quick]

The tutorial's last 20 layers of MobileNetV2 and the default network's last block, on batches of 32 from features in
memory, in the precision that a fit takes here by default. A step consists of gathering a batch, the forward pass, the
backward pass and the optimizer; what is outside torch's operations (drawing rows, Python between operations) is counted
separately. Operations that take more than 5 % of the time are explained.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import torch
from benchmarks.harness import WEIGHTS, Figures, save
from benchmarks.speed.tails import random_features
from torch.profiler import ProfilerActivity, profile

from headstart.inference.engine import choose_precision
from headstart.train.finetune import TrainConfig, finetune

CUTS = {
    "MobileNetV2, layers:20": (str(WEIGHTS), "layers:20"),
    "EfficientNet-Lite0, last:1": ("tf_efficientnet_lite0", "last:1"),
}
MEANING = {  # prefix of an operation's name -> what it does
    "aten::mkldnn_convolution": "forward: the products themselves",
    "aten::convolution_backward": "backward: two products per forward product, for the gradients of inputs and weights",
    "aten::_slow_conv2d": "convolutions that oneDNN does not take",
    "aten::_conv_depthwise2d": "depthwise convolutions: few multiplications per byte",
    "aten::native_batch_norm_backward": "backward of BatchNorm: memory-bound",
    "aten::native_batch_norm": "BatchNorm, whose statistics may be learned: memory-bound",
    "aten::hardtanh": "ReLU6: memory-bound",
    "aten::clamp": "ReLU6: memory-bound",
    "aten::addmm": "the head's product",
    "aten::mm": "backward of the head's product",
    "aten::_foreach": "the optimizer, all parameters at once",
    "aten::copy_": "conversion of stored features to float32 and to the memory format of the convolutions",
    "aten::mean": "the mean over a feature map",
    "aten::sum": "gradients of biases and of the mean over a feature map",
}
MIN_SHARE = 0.05


def explain(operation: str) -> str:
    """The meaning of the longest prefix that matches."""
    found = [name for name in MEANING if operation.startswith(name)]
    return MEANING[max(found, key=len)] if found else ""


def profile_tail(model: str, train: str, steps: int) -> Figures:
    """One epoch of ``steps`` steps, after one that is not profiled."""
    tail, dataset, one = random_features(model, train, steps)
    config = TrainConfig(1, 32, optimizer="sgd", precision=choose_precision("auto", "cpu"))
    finetune(tail, dataset, one, config)
    start = time.perf_counter()
    finetune(tail, dataset, one, config)
    plain = time.perf_counter() - start
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        start = time.perf_counter()
        finetune(tail, dataset, one, config)
        seconds = time.perf_counter() - start
    own: Counter[str] = Counter()
    for event in profiled.key_averages():
        own[event.key] += event.self_cpu_time_total / 1e6  # microseconds
    shares = {name: each / seconds for name, each in own.most_common() if each / seconds >= MIN_SHARE}
    return {
        "maps": list(dataset.inputs.take([0]).shape[1:]),
        "precision": config.precision,
        "ms_per_step": round(1000 * plain / steps, 1),
        "ms_per_step_profiled": round(1000 * seconds / steps, 1),
        "operations": {name: {"share": round(each, 3), "why": explain(name)} for name, each in shares.items()},
        "other_operations": round(sum(own.values()) / seconds - sum(shares.values()), 3),
        "outside_torch_operations": round(1 - sum(own.values()) / seconds, 3),
    }


def main() -> None:
    """One tail after the other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="3 steps: shows only that the script runs")
    given = parser.parse_args()
    torch.manual_seed(0)
    steps = 3 if given.quick else given.steps
    tails = {name: profile_tail(model, train, steps) for name, (model, train) in CUTS.items()}
    save("speed/tail_profile", {"tails": tails}, quick=given.quick)


if __name__ == "__main__":
    main()
