"""Every knob once: its name, type, default, range and help.

The command line, :class:`headstart.ImageClassifier` and the docs are made from these classes.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from headstart.errors import SettingsError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "RECIPES",
    "EngineSettings",
    "FitSettings",
    "ImageNetV2Settings",
    "InputSettings",
    "Knob",
    "ReadSettings",
    "Settings",
    "knobs",
    "seconds",
    "three_numbers",
]

_TRAIN = re.compile(r"auto|head|all|(last|layers):[1-9][0-9]*|from:\S+")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII)
_SECONDS_IN = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Knob:
    """What is known of one setting."""

    name: str
    type: str  # "int", "float" or "str"
    default: Any
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    optional: bool = False  # None is a value
    check: Callable[[Any], str | None] | None = None  # for what no range says: what is wrong with a value

    @property
    def option(self) -> str:
        """As it is written on the command line."""
        return "--" + self.name.replace("_", "-")

    def mistake(self, value: Any) -> str | None:
        """What is wrong with ``value``, or None."""
        if value is None:
            return None if self.optional else f"{self.name} must be {self._wanted()}, got None"
        if self.check is not None:
            return self.check(value)
        if not self._has_type(value) or not self._in_range(value):
            return f"{self.name} must be {self._wanted()}, got {value!r}{self._nearest(value)}"
        return None

    def parsed(self, text: str) -> Any:
        """A value of the knob's type where the text is one, else the text, which :meth:`mistake` will name."""
        try:
            return {"int": int, "float": float, "str": str}[self.type](text)
        except ValueError:
            return text

    def _has_type(self, value: Any) -> bool:
        kind: type = {"int": Integral, "float": Real, "str": str}[self.type]  # NumPy's numbers are such too
        return isinstance(value, kind) and not isinstance(value, bool)

    def _in_range(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.type == "float" and not math.isfinite(value):
            return False
        return not (self.low is not None and value < self.low) and not (self.high is not None and value > self.high)

    def _wanted(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = {"int": "a whole number", "float": "a number", "str": "text"}[self.type]
        if self.low is not None and self.high is not None:
            return f"{kind} from {self.low:g} to {self.high:g}"
        return f"{kind} of at least {self.low:g}" if self.low is not None else kind

    def _nearest(self, value: Any) -> str:
        near = difflib.get_close_matches(str(value), self.choices, n=1)
        if near:
            return f"; did you mean {near[0]}?"
        if self.type != "str" and self._has_type(value) and math.isfinite(value) and self.low is not None:
            nearest = self.low if value < self.low else self.high
            return f"; the nearest is {nearest:g}"
        return ""


def _mistake_in_train(value: Any) -> str | None:
    if isinstance(value, str) and _TRAIN.fullmatch(value):
        return None
    near = difflib.get_close_matches(
        str(value).partition(":")[0], ["auto", "head", "last", "layers", "from", "all"], n=1
    )
    rest = {"last": "last:1", "layers": "layers:20", "from": "from:MODULE"}
    hint = f"; did you mean {rest.get(near[0], near[0])}?" if near else ""
    return f"train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got {value!r}{hint}"


def _mistake_in_budget(value: Any) -> str | None:
    try:
        seconds(str(value))
    except SettingsError:
        return f"budget must be a length of time such as 60s or 10min, got {value!r}"
    return None


def three_numbers(text: str) -> tuple[float, float, float]:
    """Red, green and blue.

    :raises ValueError: the text is not three finite numbers with commas between them.

    >>> three_numbers("0.485, 0.456, 0.406")
    (0.485, 0.456, 0.406)
    """
    red, green, blue = (float(part) for part in text.split(","))
    if not all(map(math.isfinite, (red, green, blue))):
        raise ValueError(text)
    return red, green, blue


def _mistake_in_mean(value: Any) -> str | None:
    try:
        three_numbers(value)
    except (ValueError, AttributeError):
        return f"mean must be three numbers of red, green and blue, such as 0.485,0.456,0.406, got {value!r}"
    return None


def _mistake_in_std(value: Any) -> str | None:
    try:
        right = min(three_numbers(value)) > 0
    except (ValueError, AttributeError):
        right = False
    wanted = "three numbers above 0 of red, green and blue, such as 0.229,0.224,0.225"
    return None if right else f"std must be {wanted}, got {value!r}"


def seconds(text: str) -> float:
    """A length of time as a person writes it, in seconds: "60s", "10min", "1.5h"; a bare number is of seconds.

    :raises SettingsError: it is none, or nothing at all.

    >>> seconds("90"), seconds("1.5 min"), seconds("2h")
    (90.0, 90.0, 7200.0)
    >>> seconds("soon")
    Traceback (most recent call last):
    headstart.errors.SettingsError: a time must be a number with s, min or h, such as 60s or 10min, got 'soon'
    """
    found = _DURATION.fullmatch(text.strip().lower())
    length = float(found[1]) * _SECONDS_IN.get(found[2], 0) if found else 0
    if not 0 < length < math.inf:
        raise SettingsError(f"a time must be a number with s, min or h, such as 60s or 10min, got {text!r}")
    return length


def _knob(default: Any, text: str, *, kw_only: bool = True, **facts: Any) -> Any:
    return field(default=default, kw_only=kw_only, metadata={"help": text, **facts})


def knobs(settings: type[Settings]) -> Iterator[Knob]:
    """The knobs of a class of settings, in order."""
    for each in fields(settings):
        kind = str(each.type).removesuffix(" | None")
        yield Knob(each.name, kind, each.default, optional=str(each.type).endswith("None"), **each.metadata)


@dataclass(kw_only=True)
class Settings:
    """Settings that say what is wrong with them. Making one checks nothing: :meth:`check` does."""

    def check(self) -> None:
        """Raise a SettingsError that names every wrong value at once."""
        mistakes = {knob.name: knob.mistake(getattr(self, knob.name)) for knob in knobs(type(self))}
        found = {name: mistake for name, mistake in mistakes.items() if mistake}
        told = [*found.values(), *self._mistakes_together(found.keys())]
        if told:
            raise SettingsError(told)

    def _mistakes_together(self, wrong: Collection[str]) -> list[str]:  # noqa: ARG002
        """What is wrong with values of which each by itself is right; ``wrong`` are the names of those that are not."""
        return []

    def values(self) -> dict[str, Any]:
        """Names and values, as plain JSON values: a number of NumPy becomes one of Python."""
        plain = {"int": int, "float": float, "str": str}
        given = {knob: getattr(self, knob.name) for knob in knobs(type(self))}
        return {knob.name: None if value is None else plain[knob.type](value) for knob, value in given.items()}

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Settings from names and values.

        :raises SettingsError: a name is unknown (with the nearest known one), or a value is wrong.

        >>> FitSettings.of(epoch=3)
        Traceback (most recent call last):
        headstart.errors.SettingsError: no setting is called epoch; did you mean epochs?
        """
        known = [knob.name for knob in knobs(cls)]
        mistakes = [_unknown(name, known) for name in values if name not in known]
        made = cls(**{name: value for name, value in values.items() if name in known})
        try:
            made.check()
        except SettingsError as wrong:
            mistakes.extend(wrong.mistakes)
        if mistakes:
            raise SettingsError(mistakes)
        return made

    @classmethod
    def parse(cls, given: Mapping[str, str | None], *others: type[Settings]) -> Self:
        """Settings from what stands on a command line; None is what was not given.

        :param others: classes whose names may be among the given too.
        """
        elsewhere = {knob.name for other in others for knob in knobs(other)} - {knob.name for knob in knobs(cls)}
        mine = {name: text for name, text in given.items() if text is not None and name not in elsewhere}
        known = {knob.name: knob for knob in knobs(cls)}
        return cls.of(**{name: known[name].parsed(text) if name in known else text for name, text in mine.items()})


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"no setting is called {name}" + (f"; did you mean {near[0]}?" if near else "")


@dataclass(kw_only=True)
class ReadSettings(Settings):
    """Where the labels are."""

    labels: str | None = _knob(
        None,
        "Table of labels, CSV or Parquet; without it a folder a class, or the one table in PHOTOS.",
        metavar="TABLE",
    )
    id_column: str | None = _knob(None, "Column of the table with ids or paths; found by itself if plain.")
    label_column: str | None = _knob(None, "Column of the table with labels; found by itself if plain.")
    split_column: str | None = _knob(None, "Column of the table with train, validation or test.")


@dataclass(kw_only=True)
class ImageNetV2Settings(Settings):
    """Which of the three test sets."""

    variant: str = _knob(
        "top-images",
        "The ten pictures of each class that people were surest of, those as sure as ImageNet's, or those above 0.7.",
        choices=("top-images", "matched-frequency", "threshold-0.7"),
    )


@dataclass(kw_only=True)
class EngineSettings(Settings):
    """How images are read and the network is run."""

    device: str = _knob(
        "auto", "Where to compute; auto takes a GPU where there is one.", choices=("auto", "cpu", "cuda", "mps")
    )
    precision: str = _knob(
        "auto",
        "Of the frozen part. auto: to fit, bfloat16 where the processor computes with it (twice as fast or more); to "
        "predict with what was fitted, as it was fitted; with a network as published, float32, which its published "
        "accuracy is of. int8: whole numbers, by the images given; quicker without bfloat16, and told what it costs.",
        choices=("auto", "float32", "bfloat16", "int8"),
    )
    engine: str = _knob(
        "auto", "What runs the frozen part; auto takes OpenVINO on a processor.", choices=("auto", "torch", "openvino")
    )
    extract_batch: int | None = _knob(
        None,
        "Images that go through the frozen part at a time; by itself 32, or 256 on a GPU.",
        low=1,
        high=4096,
    )
    workers: int | None = _knob(None, "Threads that decode images; by itself one a core.", low=1, high=1024)
    max_pixels: int = _knob(178_956_970, "An image with more pixels is set aside, as a decompression bomb.", low=1)
    max_problems: float = _knob(
        0.1, "Share of images that may be unreadable; with more, nothing is begun.", low=0, high=1
    )


@dataclass(kw_only=True)
class InputSettings(Settings):
    """What the network is shown, where it shall not be what its own configuration says."""

    framing: str | None = _knob(
        None,
        "Part of a picture that the network sees: whole (resized without keeping its shape), or the model's own crop.",
        choices=("whole", "model"),
    )
    size: int | None = _knob(None, "Height and width of the network's input in pixels.", low=16, high=4096)
    crop: float | None = _knob(None, "Share of the shorter side that the centre crop keeps.", low=0.05, high=1)
    interpolation: str | None = _knob(
        None, "How pictures are resized.", choices=("nearest", "bilinear", "bicubic", "lanczos")
    )
    channels: str | None = _knob(None, "Order of the colours; BGR is what OpenCV reads.", choices=("RGB", "BGR"))
    range: str | None = _knob(
        None,
        "Values of the pixels: from 0 to 1, -1 to 1 or 0 to 255, or by ImageNet's mean and deviation.",
        choices=("0:1", "-1:1", "0:255", "imagenet"),
    )
    mean: str | None = _knob(
        None, "Of red, green and blue in [0, 1], subtracted first.", metavar="R,G,B", check=_mistake_in_mean
    )
    std: str | None = _knob(
        None, "Of red, green and blue in [0, 1], divided by then.", metavar="R,G,B", check=_mistake_in_std
    )

    def input_changes(self) -> dict[str, Any]:
        """Those that are given, by the names that :meth:`headstart.InputSpec.changed` has for them."""
        mine = {knob.name for knob in knobs(InputSettings)}
        return {name: value for name, value in self.values().items() if name in mine and value is not None}

    def _mistakes_together(self, wrong: Collection[str]) -> list[str]:
        told = super()._mistakes_together(wrong)
        if self.range is not None and (self.mean is not None or self.std is not None):
            told.append("range stands for a mean and a std: give either range, or mean and std")
        return told


@dataclass(kw_only=True)
class FitSettings(InputSettings, EngineSettings):
    """How a classifier is made from labelled images."""

    model: str = _knob(
        "tf_efficientnet_lite0",
        "Pretrained network: timm's name, keras:MobileNetV2, a handle of TF Hub, or a file (ONNX, Keras, SavedModel).",
        kw_only=False,
    )
    train: str = _knob(
        "auto",
        "What is trained: auto climbs from the head to the last blocks while validation says that it pays; or head, "
        "the last:N blocks or layers:N, from:MODULE on, or all. What comes before is computed once.",
        metavar="WHAT",
        check=_mistake_in_train,
    )
    budget: str = _knob(
        "10min",
        "Time that auto may take, such as 60s or 10min: what would take longer is not begun.",
        metavar="TIME",
        check=_mistake_in_budget,
    )
    weights: str | None = _knob(
        None, "File of weights (.safetensors, .pth), or random; else the model's own.", metavar="FILE"
    )
    framing: str | None = _knob(
        "whole",
        "Part of a picture that the network sees: the whole, resized without keeping its shape (about a point more "
        "accurate on two data sets), or the model's own crop.",
        choices=("whole", "model"),
    )
    pretrained_head: str = _knob(
        "auto",
        "Whether the new head may start from the pretrained one where class names match.",
        choices=("auto", "off"),
    )
    head_init: str = _knob(
        "network",
        "How a new head begins that is trained step by step: as the network's own code has it; or glorot, as Keras's "
        "Dense does, whose larger weights move the layers before it faster in the first epochs.",
        choices=("network", "glorot"),
    )
    validation: float | None = _knob(
        None,
        "Share of the images that settings are chosen on; by itself a fifth, or with fewer than 30 images a class each "
        "of five parts in turn (of the head alone).",
        low=0,
        high=0.9,
    )
    test: float | None = _knob(
        None,
        "Share of the images that no choice sees; by itself a tenth where that is 1,000 images or more, else none.",
        low=0,
        high=0.9,
    )
    split: str = _knob(
        "drawn",
        "Who validates: drawn by chance, each class with its share and no picture on both sides; or the last rows of "
        "the table, which is right only where the table has been shuffled.",
        choices=("drawn", "last"),
    )
    class_order: str = _knob(
        "sorted", "How classes are numbered: by name, or as they appear in the table.", choices=("sorted", "appearance")
    )
    seed: int = _knob(0, "Of the split, the shuffling and the new head.", low=0)
    store: str | None = _knob(
        None, "Folder of the feature store; else HEADSTART_CACHE, else the platform's.", metavar="FOLDER"
    )
    store_as: str = _knob("float16", "How features are kept.", choices=("float16", "float32"))
    l2: float | None = _knob(None, "L2 strength of the head; without it a path is tried on validation.", low=0)
    refit: str = _knob(
        "on",
        "Whether a solved head is solved once more at the end, on the images that it was chosen on too, as "
        "scikit-learn's searches do; figures of the validation part stay those of the head before.",
        choices=("on", "off"),
    )
    mirror: str = _knob(
        "off",
        "Whether each picture is averaged with its mirror image, in the head's training and in every prediction: "
        "more accurate in most cases, and twice the time.",
        choices=("off", "on"),
    )
    balance: str = _knob(
        "none",
        "For classes of unlike size, so that rare ones count alike: loss weighs each class by its rarity; logits adds "
        "the logarithm of its share in training (Menon et al. 2021).",
        choices=("none", "loss", "logits"),
    )
    coverage: float = _knob(
        0.9, "How often the sets of classes that go with a prediction hold the true one.", low=0.5, high=0.999
    )
    seeds: int = _knob(
        1, "Fits by as many seeds, from this one on, tell the spread; the first is kept.", low=1, high=100
    )
    views: int = _knob(
        4,
        "Other views of each training image (cropped, mirrored, coloured by chance), for more than the head; computed "
        "once and kept.",
        low=0,
        high=1000,
    )
    mixup: float = _knob(
        0.2,
        "For more than the head: images are mixed in pairs, by shares from Beta(N, N); 0 is off (Zhang et al. 2018).",
        low=0,
        high=10,
    )
    label_smoothing: float = _knob(
        0.0, "For more than the head: share of the truth given to all classes.", low=0, high=0.9
    )
    noise: float = _knob(
        0.0, "For more than the head: noise on the features, in their standard deviations.", low=0, high=10
    )
    layer_decay: float = _knob(
        1.0, "For more than the head: how much slower each block learns than the one after it.", low=0.01, high=1
    )
    epochs: int = _knob(12, "Passes over the images, for more than the head.", low=1)
    batch: int = _knob(32, "Images a training step, for more than the head.", low=1)
    optimizer: str = _knob("adamw", "For more than the head.", choices=("adamw", "sgd"))
    lr: float | None = _knob(None, "Learning rate at its highest; by itself 0.001 for adamw, 0.01 for sgd.", low=0)
    weight_decay: float = _knob(0.01, "Pull of the trained weights to zero.", low=0)
    momentum: float = _knob(0.9, "Of sgd.", low=0, high=1)
    schedule: str = _knob("cosine", "Learning rate over the epochs.", choices=("cosine", "constant"))
    batchnorm: str = _knob(
        "train",
        "Trained BatchNorm layers: train learns their statistics anew from the pictures, which gains a point where "
        "these are unlike those of pretraining (benchmarks/ladder.py); frozen keeps them as pretrained.",
        choices=("frozen", "train"),
    )
    keep: str = _knob(
        "best",
        "Which epoch's weights are kept, for more than the head: those that validated best, or the last.",
        choices=("best", "last"),
    )

    @classmethod
    def by_recipe(cls, recipe: str, **values: Any) -> Self:
        """The settings of a recipe; those given beside it win.

        :raises SettingsError: as :meth:`of`, or there is no such recipe.

        >>> settings = FitSettings.by_recipe("classic", epochs=3)
        >>> settings.optimizer, settings.epochs
        ('sgd', 3)
        """
        if recipe not in RECIPES:
            raise SettingsError(f"recipe must be one of {', '.join(RECIPES)}, got {recipe!r}")
        return cls.of(**{**RECIPES[recipe], **values})

    def _mistakes_together(self, wrong: Collection[str]) -> list[str]:
        told = super()._mistakes_together(wrong)
        if {"validation", "test"}.isdisjoint(wrong):
            validation, test = self.validation, self.test or 0
            if (validation or 0) + test >= 1 or (validation == 0 and not test):
                told.append(
                    "validation and test must together lie between 0 and 1 (0.2 is a fifth), "
                    f"got validation={validation} and test={test}"
                )
        return told


RECIPES: Mapping[str, Mapping[str, Any]] = {
    "classic": {
        "train": "layers:20",
        "pretrained_head": "off",
        "head_init": "glorot",
        "split": "last",
        "validation": 0.25,
        "test": 0.0,
        "class_order": "appearance",
        "epochs": 10,
        "batch": 32,
        "optimizer": "sgd",
        "lr": 0.01,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "schedule": "constant",
        "batchnorm": "train",
        "keep": "last",
        "views": 0,
        "mixup": 0.0,
    },
}
"""Settings that belong together, by name.

"classic" is what a tutorial of 2020 does with Keras: the last quarter of the table validates, a new softmax head, begun
as Keras begins one, and the last 20 layers are trained with their BatchNorm in training mode, by plain SGD at 0.01; the
last epoch is kept.

>>> FitSettings.of(**RECIPES["classic"]).optimizer
'sgd'
"""
