"""A pretrained network with its metadata: input, class names, and source of the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from headstart.data.spec import InputSpec
from headstart.description import Guess
from headstart.errors import ModelError
from headstart.events import Events
from headstart.models import catalog
from headstart.models.class_names import own_class_names
from headstart.models.downloads import fetch_published, is_hub_handle
from headstart.models.imagenet import imagenet_subset_names
from headstart.models.importers.graphs import import_isolated, is_onnx_file
from headstart.models.importers.isolation import read_isolated
from headstart.models.importers.keras import (
    ARCHITECTURES,
    UnsupportedNetwork,
    build_keras,
    is_keras_file,
    load_keras,
)
from headstart.models.importers.keras.files import is_saved_model
from headstart.models.seeding import seeded
from headstart.models.stage_head import add_stage_head, remove_stage_head
from headstart.models.stages import find_stages
from headstart.models.trainable import head_parameter_names, init_head_glorot
from headstart.models.weights import load_weights

__all__ = ["Backbone", "build", "digest", "is_network_file", "load_backbone"]


@dataclass(frozen=True)
class Backbone:
    """A network in evaluation mode with its metadata: the only owner of weights.

    During a fit the module is shared by all trials. A trial is a set of values for some of its parameters and buffers;
    :meth:`applied` puts them in for the length of a ``with`` and restores what was there before.
    """

    name: str
    module: nn.Module
    spec: InputSpec
    classes: tuple[str, ...] | None  # of the pretrained head; None if that head is random or its classes are unknown
    source: str  # where the weights came from, in words
    licence: str
    pretrained_head: nn.Module | None = None  # the head that :meth:`with_new_head` replaced
    has_head: bool = True  # False: the weights have none, and the head is random
    facts: tuple[str, ...] = ()  # how a file was read, for people
    guesses: tuple[Guess, ...] = ()  # readings that the file does not settle

    @property
    def head(self) -> Any:
        """The last layer, or a tuple of two for a distilled network."""
        return self.module.get_classifier()  # type: ignore[operator]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of one image: (3, height, width)."""
        return 3, self.spec.height, self.spec.width

    def with_input(self, **changes: Any) -> Backbone:
        """The same network with another :class:`InputSpec`; ``changes`` are those of :meth:`InputSpec.changed`.

        The guesses that they settle are no longer guesses.
        """
        given = {f"--{name.replace('_', '-')}" for name in changes}
        open_guesses = tuple(each for each in self.guesses if not given & set(each.option.split()))
        return replace(self, spec=self.spec.changed(**changes), guesses=open_guesses)

    def reading(self) -> list[str]:
        """How the file was read, and what was guessed, one line each."""
        return [f"{self.name}: {each}" for each in (*self.facts, *self.guesses)]

    def with_new_head(
        self, classes: int, *, seed: int, initialization: str = "network", stages: bool = False
    ) -> Backbone:
        """Replace the head of the module by one for ``classes`` classes; the old one is kept as ``pretrained_head``.

        :param initialization: "network", as the code of the network does it, or "glorot", as Keras does.
        :param stages: whether the head is also given the pooled outputs of the stages, where the network has any.
        """
        old = self.head
        remove_stage_head(self.module)
        with seeded(seed):
            self.module.reset_classifier(classes)  # type: ignore[operator]
            if initialization == "glorot":
                init_head_glorot(self.module)
        if stages and (found := find_stages(self.module, self.input_shape)):
            add_stage_head(self.module, found, classes)
        return replace(self, pretrained_head=old)

    @contextmanager
    def applied(self, state: Mapping[str, Tensor]) -> Iterator[nn.Module]:
        """Within the block the module has these parameters and buffers, by name; afterwards its own ones again.

        Training inside the block is undone too, for the names in ``state``.

        >>> backbone = load_backbone("test_resnet", weights_file="random").with_new_head(2, seed=0)
        >>> with backbone.applied({"fc.bias": torch.ones(2)}) as network:
        ...     network.get_classifier().bias.tolist()
        [1.0, 1.0]
        >>> backbone.head.bias.tolist() == [1.0, 1.0]
        False
        """
        own = self.module.state_dict()
        before = {name: own[name].detach().clone() for name in state}
        self.module.load_state_dict(state, strict=False)
        self.module.eval()
        try:
            yield self.module
        finally:
            self.module.load_state_dict(before, strict=False)

    def keep(self, state: Mapping[str, Tensor]) -> nn.Module:
        """Put parameters and buffers in for good and return the module, on the CPU and in evaluation mode."""
        self.module.load_state_dict(state, strict=False)
        return self.module.to("cpu").eval()


def build(name: str, *, classes: int) -> nn.Module:
    """Build a network by its timm name, with random weights and a head for ``classes``, in evaluation mode.

    :raises ModelError: unknown model; the message suggests the closest names.

    >>> build("test_resnet", classes=3).get_classifier()
    Linear(in_features=96, out_features=3, bias=True)
    """
    if name in ARCHITECTURES:
        return build_keras(name, classes=classes)
    catalog.model_info(name)
    with seeded():
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    return network.eval()


def load_backbone(
    name: str,
    *,
    weights_file: str | None = None,
    class_names: str | None = None,
    seed: int = 0,
    events: Events | None = None,
) -> Backbone:
    """Build a network and load its pretrained weights.

    :param name: a timm name, with or without a tag, for example "tf_efficientnet_lite0" or "resnet50.a1_in1k"; a Keras
        model, "keras:MobileNetV2"; a TF Hub handle; or the path of a whole network: ONNX, SavedModel or Keras.
    :param weights_file: a ``.safetensors`` or ``.pth`` file; "random" for random weights; by default, the published
        weights of the model.
    :param class_names: of its own classes: "imagenet", "none", or a file with one name per line; by default, those that
        the file or its publisher states.
    :param seed: of the values that stay random.
    :raises ModelError: unknown model, or the file does not fit it.
    :raises WeightsNotFound: not on this machine and cannot be downloaded; the message says where to place the file.
    """
    if is_hub_handle(name) or (name in ARCHITECTURES and weights_file is None):
        path, source = fetch_published(name, events=events)
        loaded = _from_keras(name if name in ARCHITECTURES else str(path), str(path), seed)
        backbone = replace(loaded, source=source, guesses=())
    else:
        file = name if is_network_file(name) else weights_file
        if file is not None and is_network_file(file):
            backbone = _from_file(name, file, seed)
        else:
            backbone = _from_timm(catalog.canonical_name(name), weights_file, seed)
    size = int(backbone.module.num_classes) if backbone.has_head else 0  # type: ignore[arg-type]
    if weights_file == "random" and class_names is None:
        return backbone
    by_number = backbone.name not in ARCHITECTURES  # such a file has another head where its classes are others
    names, guesses = own_class_names(size, class_names, backbone.classes, by_number=by_number)
    return replace(backbone, classes=names, guesses=(*backbone.guesses, *guesses))


def _from_timm(name: str, weights_file: str | None, seed: int) -> Backbone:
    info = catalog.model_info(name)

    def built(classes: int) -> nn.Module:
        with seeded(seed):
            return build(name, classes=classes)

    network = built(info.classes)
    loaded = load_weights(name, weights_file, network.state_dict().keys())
    if (classes := _head_size(loaded.state, info) or info.classes) != info.classes:
        network = built(classes)
    has_head, names = True, None
    if loaded.state is not None:
        has_head = _load_state(network, loaded.state, source=loaded.source)
        if weights_file is None and has_head:
            names = imagenet_subset_names(classes)  # the publisher's own
    facts = () if has_head else ("its weights have no head; a fit adds one",)
    return Backbone(name, network.eval(), info.spec, names, loaded.source, info.licence, has_head=has_head, facts=facts)


def digest(module: nn.Module) -> str:
    """Return 32 hexadecimal digits of BLAKE2b over the names and values of all parameters and buffers."""
    total = hashlib.blake2b(digest_size=16)
    for name, value in module.state_dict().items():
        total.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        total.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()


def is_network_file(name: str) -> bool:
    """Whether ``name`` is the path of a whole network: not a model name, and not a run folder, whatever its name."""
    path = Path(name)
    if path.is_dir():
        return (path / "saved_model.pb").is_file() or (path / "variables").is_dir()
    return is_keras_file(name) or is_onnx_file(name)


def _from_file(name: str, file: str, seed: int) -> Backbone:
    """Load a whole network: MobileNetV2 is converted and fully trainable; of other networks only the head is."""
    not_mobilenet = ""
    if is_keras_file(file):
        try:
            return _from_keras(name, file, seed)
        except UnsupportedNetwork as failure:
            if name != file:
                raise
            not_mobilenet = str(failure).removeprefix(f"{file}: ")
    if name != file:
        raise ModelError(f"{file}: contains a whole network, not weights for {name}; use --model {file}")
    try:
        model = import_isolated(file)
    except ModelError as failure:
        if not not_mobilenet:
            raise
        raise ModelError(
            f"{failure}. It is not MobileNetV2 either, which is read directly: {not_mobilenet}"
        ) from failure
    return Backbone(
        model.name,
        model.network,
        model.spec,
        None,  # the names of the classes are not in such files
        model.source,
        "not stated",
        facts=model.facts,
        guesses=model.guesses,
    )


def _from_keras(name: str, file: str, seed: int) -> Backbone:
    _check_readable(Path(file))
    model = load_keras(file)
    if name not in (file, model.name):
        raise ModelError(f"{file}: contains {model.name}, not {name}; use --model {model.name}")
    with seeded(seed):
        network = build_keras(model.name, classes=model.classes)
    network.load_state_dict(model.state)
    # An ImageNet head marks the published weights; the licence of any other file is unknown.
    licence = catalog.model_info(model.name).licence if model.class_names else "not stated"
    return Backbone(model.name, network, model.spec, model.class_names, model.source, licence, guesses=model.guesses)


def _check_readable(path: Path) -> None:
    """Check in a process of its own that HDF5 reads a file; the variables of a SavedModel are read by headstart."""
    if not path.is_file() or is_saved_model(path):
        return
    try:
        with read_isolated("layers", path):
            pass
    except ModelError as failure:
        raise type(failure)(f"{path}: {failure}") from failure


def _head_size(state: Mapping[str, Tensor] | None, info: catalog.ModelInfo) -> int | None:
    """The number of classes of the head in a file, which may differ from the published head."""
    weight = (state or {}).get(f"{info.head}.weight")
    return None if weight is None else weight.shape[0]


def _load_state(network: nn.Module, state: Mapping[str, Tensor], *, source: str) -> bool:
    """Load the weights; return whether the head is among them.

    :raises ModelError: a name is missing, a shape is another, or a value is not finite; the message names the tensor.
    """
    expected = network.state_dict()
    missing = {name for name in expected if name not in state}
    has_head = not (missing and missing <= set(head_parameter_names(network)))
    wrong = [
        f"{name} is {_shape(state.get(name))}, must be {tuple(value.shape)}"
        for name, value in expected.items()
        if (name in missing and has_head) or (name in state and state[name].shape != value.shape)
    ]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelError(f"{source}: the weights do not fit the model: {'; '.join(wrong[:3])}{more}")
    loaded = {name: state[name] for name in expected if name in state}
    if broken := [name for name, value in loaded.items() if not bool(value.isfinite().all())]:
        which = f"{broken[0]} and {len(broken) - 1} more tensors contain" if broken[1:] else f"{broken[0]} contains"
        raise ModelError(
            f"{source}: {which} values that are NaN or infinite, as after a training that diverged; "
            "use an earlier checkpoint"
        )
    network.load_state_dict(loaded, strict=has_head)
    return has_head


def _shape(value: Tensor | None) -> str:
    return "missing" if value is None else str(tuple(value.shape))
