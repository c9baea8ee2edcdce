"""Where the network looked: what each position of its last map contributes to the score of a class.

The contribution of a position is gradient × activation, summed over the channels. Where the head is one linear layer on
the mean of the map, that is the class activation map (Zhou, Khosla, Lapedriza, Oliva and Torralba, Learning deep
features for discriminative localization, CVPR 2016, arXiv:1512.04150): the contributions and the bias add up to the
score, which is checked for each image. Otherwise, for example where pooled stages go into the head as well, it is the
part of the score that depends on the last map in first order. In a transformer whose head is given the class token, it
is taken at the input of the last attention, where the patches still reach the class token.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, fx, nn

from headstart.data.spec import InputSpec
from headstart.inference.engine import Normalized
from headstart.models.importers.graphs import ImportedNetwork
from headstart.models.trace import Trace, TracingError, trace

__all__ = ["Saliency", "SaliencyMapper", "highlight"]

_TOLERANCE = 1e-3  # of the sum of the contributions, relative to the largest logit
_TOGETHER = 4  # images in one pass; more are no faster, and take more memory
_DIMMEST = 0.2  # brightness of what contributes nothing


@dataclass(frozen=True)
class Saliency:
    """What each position of an image's view contributes to the score (logit) of a class."""

    contributions: NDArray[np.float32]  # (h, w), a coarse grid over the view; negative ones speak against the class
    method: Literal["class activation map", "gradient times activation"]  # the former is exact


@dataclass
class SaliencyMapper:
    """Finds where a network looked. Threads must not share one.

    >>> from headstart.models.backbone import build
    >>> spec = InputSpec(height=64, width=64)
    >>> mapper = SaliencyMapper(build("test_resnet", classes=10).eval(), spec)
    >>> mapper.explain(np.full((64, 64, 3), 99, np.uint8), 0).method
    'class activation map'
    """

    network: nn.Module  # in evaluation mode, on the CPU
    spec: InputSpec
    _trace: Trace | None = field(init=False, repr=False)
    _at: fx.Node | None = field(init=False, default=None, repr=False)  # where the map was found for an earlier image

    def __post_init__(self) -> None:
        try:
            shape = (3, self.spec.height, self.spec.width)
            self._trace = None if isinstance(self.network, ImportedNetwork) else trace(self.network, shape)
        except TracingError:
            self._trace = None

    def explain(self, view: NDArray[np.uint8], target: int) -> Saliency | None:
        """The contributions to the score of a class, by its index.

        :param view: the evaluation view of an image, (H, W, 3).
        :returns: None if the operations of the network are not known, or none of its maps is two-dimensional.
        """
        return self.explain_all(view[None], [target])[0]

    def explain_all(self, views: NDArray[np.uint8], targets: Sequence[int]) -> list[Saliency | None]:
        """As :meth:`explain`, for several images.

        :param views: (N, H, W, 3).
        :param targets: N indices of classes, one per image.
        """
        if self._trace is None or not len(views):
            return [None] * len(views)
        images = Normalized(nn.Identity(), self.spec)(torch.from_numpy(views.copy()))
        if self._at is None:  # image by image, since the results of all operations are kept for that
            singles = zip(images.split(1), targets, strict=True)
            found = (self._find(self._trace, image, target) for image, target in singles)
            self._at = next((node for node in found if node is not None), None)
        if self._at is None:
            return [None] * len(views)
        parts = zip(images.split(_TOGETHER), range(0, len(images), _TOGETHER), strict=True)
        return [
            saliency
            for part, start in parts
            for saliency in self._explained(self._trace, self._at, part, targets[start : start + _TOGETHER])
        ]

    def _explained(
        self, traced: Trace, node: fx.Node, images: Tensor, targets: Sequence[int]
    ) -> Iterator[Saliency | None]:
        """The contributions of the positions of an operation's result."""
        following = _following(traced, node)
        values = _run(traced, images, keep={node, *_inputs(following)})
        logits, activation, gradient = _gradient(traced, values, node, following, targets)
        products = activation * gradient
        contributions, sums = self._on_grid(products), products.flatten(1).sum(1)
        assert contributions is not None
        for row, target in enumerate(targets):
            yield _saliency(contributions[row], exact=self._is_sum(float(sums[row]), logits[row], target))

    def _find(self, traced: Trace, image: Tensor, target: int) -> fx.Node | None:
        """The operation whose result is the last map that contributes to the score of one image, (1, 3, H, W)."""
        values = _run(traced, image)
        for node in self._candidates(values):
            _, activation, gradient = _gradient(traced, values, node, _following(traced, node), [target])
            contributions = self._on_grid(activation * gradient)
            if contributions is not None and contributions.any():
                return node
        return None

    def _candidates(self, values: dict[fx.Node, Any]) -> Iterator[fx.Node]:
        """The operations whose results are maps of the network's features, from the last on."""
        for node in reversed(values):
            value = values[node]
            if isinstance(value, Tensor) and value.is_floating_point() and self._on_grid(value) is not None:
                yield node

    def _on_grid(self, values: Tensor) -> NDArray[np.float32] | None:
        """The sum over the channels, (N, h, w), of maps (N, C, h, w) or (N, h, w, C), or of tokens (N, T, C)."""
        width, shape = int(self.network.num_features), tuple(values.shape)  # type: ignore[arg-type]
        if len(shape) == 4 and width in (shape[1], shape[3]):
            summed = values.sum(1 if shape[1] == width else 3)
        elif len(shape) == 3 and shape[2] == width:
            rows, columns = getattr(getattr(self.network, "patch_embed", None), "grid_size", (0, 0))
            if rows * columns == 0 or shape[1] < rows * columns:
                return None
            summed = values.sum(2)[:, shape[1] - rows * columns :].reshape(-1, rows, columns)  # without prefix tokens
        else:
            return None
        return np.asarray(summed, np.float32) if min(summed.shape[1:]) > 1 else None

    def _is_sum(self, contributions: float, logits: Tensor, target: int) -> bool:
        """Whether the contributions of all positions and the bias of the head add up to the score."""
        head = self.network.get_classifier()  # type: ignore[operator]
        if not isinstance(head, nn.Linear):
            return False
        bias = 0.0 if head.bias is None else float(head.bias[target].detach())
        return abs(contributions + bias - float(logits[target])) <= _TOLERANCE * float(logits.abs().max())


def _saliency(contributions: NDArray[np.float32], *, exact: bool) -> Saliency | None:
    if not contributions.any():
        return None
    return Saliency(contributions, "class activation map" if exact else "gradient times activation")


def highlight(view: NDArray[np.uint8], contributions: NDArray[np.float32]) -> Image.Image:
    """The view, as bright as its positions contribute to the class, and dim elsewhere: no colors to be told apart.

    :param view: (H, W, 3).

    >>> highlight(np.full((4, 4, 3), 200, np.uint8), np.array([[1, 0], [0, 0]], np.float32)).getpixel((0, 0))
    (200, 200, 200)
    """
    positive = np.maximum(contributions, 0)
    scaled = np.asarray(positive / max(float(positive.max()), np.finfo(np.float32).tiny), np.float32)
    size = (view.shape[1], view.shape[0])
    smooth = np.clip(np.asarray(Image.fromarray(scaled).resize(size, Image.Resampling.BICUBIC)), 0, 1)
    return Image.fromarray((view * (_DIMMEST + (1 - _DIMMEST) * smooth[..., None])).round().astype(np.uint8))


def _following(traced: Trace, node: fx.Node) -> list[fx.Node]:
    """The operations that depend on the result of one, in their order, without it."""
    found = {node: None}
    for each in traced.graph.nodes:
        if not found.keys().isdisjoint(each.all_input_nodes):
            found[each] = None
    return [*found][1:]


def _inputs(operations: Sequence[fx.Node]) -> set[fx.Node]:
    """What operations are given by others."""
    return {node for each in operations for node in each.all_input_nodes}.difference(operations)


def _run(traced: Trace, images: Tensor, keep: Collection[fx.Node] | None = None) -> dict[fx.Node, Any]:
    """The results of these operations, or of all: of a few images they take hundreds of megabytes."""
    interpreter = fx.Interpreter(traced.network, garbage_collect_values=keep is not None, graph=traced.graph)
    if keep is not None:
        last_uses = interpreter.user_to_last_uses.items()
        interpreter.user_to_last_uses = {
            user: [node for node in nodes if node not in keep] for user, nodes in last_uses
        }
    with torch.no_grad():
        interpreter.run(images)
    return dict(interpreter.env)


def _gradient(
    traced: Trace, values: dict[fx.Node, Any], node: fx.Node, following: Sequence[fx.Node], targets: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The logits (N, C), what an operation results in, and the gradient of each image's logit with respect to it.

    :param following: the operations that depend on it; only these run again.
    """
    activation = values[node].detach().clone().requires_grad_()
    interpreter = fx.Interpreter(traced.network, garbage_collect_values=False, graph=traced.graph)
    interpreter.env = {**values, node: activation}
    with torch.enable_grad():
        for each in following:
            interpreter.env[each] = interpreter.run_node(each)
        (end,) = (each for each in traced.graph.nodes if each.op == "output")
        logits = interpreter.env[end.args[0]]
        total = logits[range(len(targets)), targets].sum()  # images do not depend on each other in evaluation mode
        (gradient,) = torch.autograd.grad(total, activation, allow_unused=True)
    activation = activation.detach()
    return logits.detach(), activation, torch.zeros_like(activation) if gradient is None else gradient
