"""An OpenVINO graph as a torch module that has nothing to train."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.errors import ModelError
from headstart.files import replacing
from headstart.models.foreign.graph import compiled
from headstart.models.openvino_library import openvino, read_model

__all__ = ["FrozenGraph", "file_digest", "read_graph"]

_NAMES = ("frozen.xml", "frozen.bin")  # OpenVINO's own format: operations, and their numbers


class FrozenGraph(nn.Module):
    """Images (B, 3, H, W), normalised, to features (B, D); computed by OpenVINO on the processor, wherever torch is.

    It keeps the digest of the file that it came from as a buffer, by which its features are known.
    """

    identity: Tensor  # (16,) uint8

    def __init__(self, graph: Any, *, identity: bytes, features: int) -> None:
        super().__init__()
        self.graph = graph
        self.features = features  # D
        self.register_buffer("identity", torch.tensor(list(identity), dtype=torch.uint8))
        self.values = _values(graph)  # numbers in the graph, as a summary counts parameters
        self._programs: dict[str, Callable[[NDArray[Any]], NDArray[np.float32]]] = {}

    @property
    def one_at_a_time(self) -> bool:
        """Whether the file's operations hold for a batch of one image alone."""
        return bool(self.graph.input(0).get_partial_shape()[0].is_static)

    def forward(self, images: Tensor) -> Tensor:
        """In bfloat16 within torch's autocast, else in float32."""
        run = self._program("bfloat16" if torch.is_autocast_enabled(images.device.type) else "float32")
        values = images.detach().float().cpu().numpy()
        parts = np.split(values, len(values)) if self.one_at_a_time else [values]
        return torch.from_numpy(np.concatenate([run(part) for part in parts])).to(images.device)

    def normalised(self, around: Any, batch: int) -> Any:
        """OpenVINO's model for uint8 (batch, H, W, 3), which does what ``around`` (an engine's Normalised) does.

        :raises ModelError: its operations hold for one image at a time.
        """
        if self.one_at_a_time:
            raise ModelError("its operations hold for one image at a time; leave --engine away")
        opset, model = openvino().opset13, self.graph.clone()
        old = model.get_parameters()[0]
        _, _, height, width = (side.get_length() if side.is_static else 0 for side in old.get_partial_shape())
        images = opset.parameter([batch, height, width, 3], np.uint8, "images")
        value = opset.transpose(opset.convert(images, "f32"), np.array([0, 3, 1, 2], np.int64))
        value = opset.multiply(opset.subtract(value, around.mean.cpu().numpy()), around.scale.cpu().numpy())
        if around.flip:
            value = opset.gather(value, np.array([2, 1, 0], np.int64), np.array(1, np.int64))
        old.output(0).replace(value.output(0))
        model.remove_parameter(old)
        model.add_parameters([images])
        model.validate_nodes_and_infer_types()
        return model

    def write(self, folder: Path) -> dict[str, str]:
        """Write the graph into a folder; the names of the files, with a digest of each."""
        with replacing(folder / _NAMES[0]) as operations, replacing(folder / _NAMES[1]) as numbers:
            openvino().serialize(self.graph, str(operations), str(numbers))
            digests = [file_digest(each) for each in (operations, numbers)]
        return dict(zip(_NAMES, digests, strict=True))

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenGraph:
        """The graph is not changed by anything, so that copies share it."""
        return FrozenGraph(self.graph, identity=bytes(self.identity.tolist()), features=self.features)

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, by which joblib sends a classifier to other processes."""
        with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
            names = self.write(Path(folder))
            contents = {name: Path(folder, name).read_bytes() for name in names}
        return _unpickled, (contents, bytes(self.identity.tolist()), self.features)

    def extra_repr(self) -> str:
        """What stands between the parentheses where it is printed."""
        return f"features={self.features}, values={self.values:,}"

    def _program(self, precision: str) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
        if precision not in self._programs:
            self._programs[precision] = compiled(self.graph, precision)
        return self._programs[precision]


def read_graph(folder: Path, files: dict[str, str]) -> FrozenGraph:
    """What :meth:`FrozenGraph.write` wrote.

    :param files: names and digests, as it gave them.
    :raises ModelError: a file is missing, or another one than was written.
    """
    if sorted(files) != sorted(_NAMES):
        raise ModelError(f"its files are {', '.join(files) or 'none'}, must be {' and '.join(_NAMES)}")
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise ModelError(f"{name} is missing")
        if file_digest(folder / name) != digest:
            raise ModelError(f"{name} is damaged, or of another classifier")
    graph = read_model(folder / _NAMES[0])
    features = int(graph.output(0).get_partial_shape()[1].get_length())
    return FrozenGraph(graph, identity=bytes(16), features=features)  # the identity comes with the weights


def _unpickled(contents: dict[str, bytes], identity: bytes, features: int) -> FrozenGraph:
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        for name, data in contents.items():
            Path(folder, name).write_bytes(data)
        return FrozenGraph(read_model(Path(folder, _NAMES[0])), identity=identity, features=features)


def file_digest(path: Path, *more: bytes) -> str:
    """32 hexadecimal digits of a file's bytes, and of what else counts."""
    total = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    for each in more:
        total.update(each)
    return total.hexdigest()


def _values(graph: Any) -> int:
    """Floating point numbers among the graph's constants."""
    constants = (each for each in graph.get_ops() if each.get_type_name() == "Constant")
    return sum(
        int(np.prod(list(each.get_output_shape(0)), dtype=np.int64))
        for each in constants
        if each.get_output_element_type(0).is_real()
    )
