"""An OpenVINO graph wrapped as a torch module without trainable parameters."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.errors import ModelError
from headstart.models.importers.graphs.graph import compile_graph
from headstart.models.importers.graphs.graph_files import GRAPH_FILES, read_graph, save_graph
from headstart.models.openvino_library import openvino, read_model

__all__ = ["FrozenGraph", "load_frozen_graph"]


class FrozenGraph(nn.Module):
    """Computes features (B, D) of normalized images (B, 3, H, W) with OpenVINO, always on the CPU.

    The digest of the original file is a buffer of the module, so that its features are identified by it.
    """

    source_digest: Tensor  # (16,) uint8

    def __init__(self, graph: Any, *, source_digest: bytes, features: int) -> None:
        super().__init__()
        self.graph = graph
        self.features = features  # D
        self.register_buffer("source_digest", torch.tensor(list(source_digest), dtype=torch.uint8))
        self.num_values = _count_constants(graph)  # the counterpart of parameters in a summary
        self._programs: dict[tuple[int, str], Callable[[NDArray[Any]], NDArray[np.float32]]] = {}

    @property
    def single_image_only(self) -> bool:
        """Whether the graph accepts only batches of one image."""
        return bool(self.graph.input(0).get_partial_shape()[0].is_static)

    def forward(self, images: Tensor) -> Tensor:
        """Compute features, in bfloat16 inside torch's autocast, else in float32."""
        run = self._program("bfloat16" if torch.is_autocast_enabled(images.device.type) else "float32")
        values = images.detach().float().cpu().numpy()
        batches = np.split(values, len(values)) if self.single_image_only else [values]
        return torch.from_numpy(np.concatenate([run(batch) for batch in batches])).to(images.device)

    def with_normalization(self, normalization: Any, batch_size: int) -> Any:
        """Build an OpenVINO model for uint8 images (batch_size, H, W, 3) that includes the input normalization.

        :param normalization: has the tensors ``mean`` and ``scale`` and the flag ``flip`` (RGB to BGR), as the module
            ``Normalized`` of the inference engine.
        :raises ModelError: the graph accepts only batches of one image.
        """
        if self.single_image_only:
            raise ModelError("this network accepts only one image at a time; omit --engine")
        opset, model = openvino().opset13, self.graph.clone()
        old = model.get_parameters()[0]
        _, _, height, width = (side.get_length() if side.is_static else 0 for side in old.get_partial_shape())
        images = opset.parameter([batch_size, height, width, 3], np.uint8, "images")
        value = opset.transpose(opset.convert(images, "f32"), np.array([0, 3, 1, 2], np.int64))
        mean, scale = normalization.mean.cpu().numpy(), normalization.scale.cpu().numpy()
        value = opset.multiply(opset.subtract(value, mean), scale)
        if normalization.flip:
            value = opset.gather(value, np.array([2, 1, 0], np.int64), np.array(1, np.int64))
        old.output(0).replace(value.output(0))
        model.remove_parameter(old)
        model.add_parameters([images])
        model.validate_nodes_and_infer_types()
        return model

    def save(self, folder: Path) -> dict[str, str]:
        """Write the graph into a folder; return the file names, each with its digest."""
        return save_graph(self.graph, folder)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenGraph:
        """Share the graph with the copy: nothing changes it."""
        return FrozenGraph(self.graph, source_digest=bytes(self.source_digest.tolist()), features=self.features)

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickle, with which joblib sends a classifier to other processes."""
        with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
            names = self.save(Path(folder))
            contents = {name: Path(folder, name).read_bytes() for name in names}
        return _unpickle, (contents, bytes(self.source_digest.tolist()), self.features)

    def extra_repr(self) -> str:
        """The part of ``repr`` between the parentheses."""
        return f"features={self.features}, values={self.num_values:,}"

    def _program(self, precision: str) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
        key = os.getpid(), precision  # a program waits in a child for the threads of the process that forked it
        if key not in self._programs:
            self._programs[key] = compile_graph(self.graph, precision)
        return self._programs[key]


def load_frozen_graph(folder: Path, files: dict[str, str]) -> FrozenGraph:
    """Load what :meth:`FrozenGraph.save` wrote.

    :param files: file names and digests, as returned by ``save``.
    :raises ModelError: a file is missing, or its digest differs.
    """
    graph = read_graph(folder, files)
    features = int(graph.output(0).get_partial_shape()[1].get_length())
    return FrozenGraph(graph, source_digest=bytes(16), features=features)  # the real digest is in the state dict


def _unpickle(contents: dict[str, bytes], source_digest: bytes, features: int) -> FrozenGraph:
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        for name, data in contents.items():
            Path(folder, name).write_bytes(data)
        return FrozenGraph(read_model(Path(folder, GRAPH_FILES[0])), source_digest=source_digest, features=features)


def _count_constants(graph: Any) -> int:
    """The number of floating-point values in the constants of a graph."""
    constants = (each for each in graph.get_ops() if each.get_type_name() == "Constant")
    return sum(
        int(np.prod(list(each.get_output_shape(0)), dtype=np.int64))
        for each in constants
        if each.get_output_element_type(0).is_real()
    )
