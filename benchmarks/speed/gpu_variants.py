"""Ways to run the frozen part of a network on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from headstart.data.spec import InputSpec
from headstart.inference.engine import Normalized

Forward = Callable[[Tensor], Tensor]


def variants(prefix: nn.Module, spec: InputSpec) -> dict[str, Forward]:
    """By name: functions of images in device memory, uint8 (B, H, W, 3)."""
    module = Normalized(prefix, spec).eval()
    plain = copy.deepcopy(module).cuda()
    channels_last = copy.deepcopy(module).cuda().to(memory_format=torch.channels_last)
    half = copy.deepcopy(channels_last).to(torch.bfloat16)

    def autocast(images: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            return plain(images)  # type: ignore[no-any-return]

    return {
        "float32": plain,
        "float32 channels_last": channels_last,
        "bfloat16 by autocast": autocast,
        "bfloat16 channels_last": half,
        "bfloat16 channels_last, CUDA graph": with_cuda_graph(half),
        "bfloat16 channels_last, torch.compile": torch.compile(copy.deepcopy(half)),
    }


def with_cuda_graph(module: nn.Module) -> Forward:
    """The module, captured once for each batch size, then replayed."""
    graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def forward(images: Tensor) -> Tensor:
        if len(images) not in graphs:
            inputs = images.clone()
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    module(inputs)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                outputs = module(inputs)
            graphs[len(images)] = graph, inputs, outputs
        graph, inputs, outputs = graphs[len(images)]
        inputs.copy_(images)
        graph.replay()
        return outputs

    return forward
