"""Every knob once: its name, type, default, range and help.

The command line, :class:`headstart.ImageClassifier` and the docs are made from these classes.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from headstart.errors import SettingsError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["EngineSettings", "FitSettings", "Knob", "ReadSettings", "Settings", "knobs", "seconds"]

_TRAIN = re.compile(r"head|all|last:[1-9][0-9]*|from:\S+")
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

    @property
    def option(self) -> str:
        """As it is written on the command line."""
        return "--" + self.name.replace("_", "-")

    def mistake(self, value: Any) -> str | None:
        """What is wrong with ``value``, or None."""
        if value is None:
            return None if self.optional else f"{self.name} must be {self._wanted()}, got None"
        if self.name == "train":
            return _mistake_in_train(value)
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
    near = difflib.get_close_matches(str(value).partition(":")[0], ["head", "last", "from", "all"], n=1)
    rest = {"last": "last:1", "from": "from:MODULE"}
    hint = f"; did you mean {rest.get(near[0], near[0])}?" if near else ""
    return f"train must be head, last:N (N blocks, at least 1), from:MODULE or all, got {value!r}{hint}"


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
class EngineSettings(Settings):
    """How images are read and the network is run."""

    device: str = _knob(
        "auto", "Where to compute; auto takes a GPU where there is one.", choices=("auto", "cpu", "cuda", "mps")
    )
    precision: str = _knob(
        "auto",
        "Of the frozen part; auto takes bfloat16 where the processor computes with it (twice as fast or more).",
        choices=("auto", "float32", "bfloat16"),
    )
    engine: str = _knob(
        "auto", "What runs the frozen part; auto takes OpenVINO on a processor.", choices=("auto", "torch", "openvino")
    )
    extract_batch: int = _knob(32, "Images that go through the frozen part at a time.", low=1, high=4096)
    workers: int | None = _knob(None, "Threads that decode images; by itself one a core.", low=1, high=1024)
    max_pixels: int = _knob(178_956_970, "An image with more pixels is set aside, as a decompression bomb.", low=1)
    max_problems: float = _knob(
        0.1, "Share of images that may be unreadable; with more, nothing is begun.", low=0, high=1
    )


@dataclass(kw_only=True)
class FitSettings(EngineSettings):
    """How a classifier is made from labelled images."""

    model: str = _knob(
        "tf_efficientnet_lite0",
        "Pretrained network: timm's name, keras:MobileNetV2, a file of Keras, or a handle of TF Hub.",
        kw_only=False,
    )
    train: str = _knob(
        "head",
        "What is trained: head, last:N blocks, from:MODULE on, or all. What comes before is computed once.",
        metavar="WHAT",
    )
    weights: str | None = _knob(
        None, "File of weights (.safetensors, .pth), or random; else the model's own.", metavar="FILE"
    )
    framing: str = _knob(
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
    validation: float = _knob(0.2, "Share of the images that settings are chosen on.", low=0, high=0.9)
    test: float = _knob(0.0, "Share of the images that no choice sees.", low=0, high=0.9)
    seed: int = _knob(0, "Of the split, the shuffling and the new head.", low=0)
    store: str | None = _knob(
        None, "Folder of the feature store; else HEADSTART_CACHE, else the platform's.", metavar="FOLDER"
    )
    store_as: str = _knob("float16", "How features are kept.", choices=("float16", "float32"))
    l2: float | None = _knob(None, "L2 strength of the head; without it a path is tried on validation.", low=0)
    epochs: int = _knob(10, "Passes over the images, for more than the head.", low=1)
    batch: int = _knob(32, "Images a training step, for more than the head.", low=1)
    optimizer: str = _knob("adamw", "For more than the head.", choices=("adamw", "sgd"))
    lr: float | None = _knob(None, "Learning rate at its highest; by itself 0.001 for adamw, 0.01 for sgd.", low=0)
    weight_decay: float = _knob(0.01, "Pull of the trained weights to zero.", low=0)
    momentum: float = _knob(0.9, "Of sgd.", low=0, high=1)
    schedule: str = _knob("cosine", "Learning rate over the epochs.", choices=("cosine", "constant"))
    batchnorm: str = _knob(
        "frozen",
        "Statistics of trained BatchNorm layers: frozen as pretrained, or train, as Keras does.",
        choices=("frozen", "train"),
    )

    def _mistakes_together(self, wrong: Collection[str]) -> list[str]:
        if "validation" in wrong or "test" in wrong or 0 < self.validation + self.test < 1:
            return []
        return [
            "validation and test must together lie between 0 and 1 (0.2 is a fifth), "
            f"got validation={self.validation} and test={self.test}"
        ]
