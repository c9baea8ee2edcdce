"""What an option is, and dataclasses of options that validate themselves.

The command line, :class:`headstart.ImageClassifier` and the documentation are generated from these declarations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from headstart.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["GROUPS", "Option", "Settings", "option", "options_of", "parse_duration"]

GROUPS = ("Data", "Split", "Backbone", "Head", "Fine-tuning", "Evaluation", "Runtime")
"""The groups in which ``headstart fit --help`` lists options, in order."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII)
_SECONDS_PER_UNIT = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Option:
    """The declaration of one setting."""

    name: str
    type: str  # "int", "float", "str" or "bool"
    default: Any
    help: str
    group: str = "Runtime"
    common: bool = False  # among the options that most people use, listed first
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    optional: bool = False  # whether None is a valid value
    check: Callable[[Any], str | None] | None = None  # returns what is wrong with a value, for rules beyond a range

    @property
    def flag(self) -> str:
        """The option as written on the command line: ``--batch-size``, ``--refit/--no-refit``."""
        name = self.name.replace("_", "-")
        return f"--{name}/--no-{name}" if self.type == "bool" else f"--{name}"

    def mistake(self, value: Any) -> str | None:
        """What is wrong with ``value``; None if it is valid."""
        if value is None:
            return None if self.optional else f"{self.name} must be {self._expected()}, got None"
        if self.check is not None:
            return self.check(value)
        if not self._has_type(value) or not self._in_range(value):
            return f"{self.name} must be {self._expected()}, got {value!r}{self._suggestion(value)}"
        return None

    def parse(self, text: str) -> Any:
        """Convert text to the option's type; text that cannot be converted is returned as it is."""
        if self.type == "bool":
            lower = text.strip().lower()
            return True if lower in _TRUE else False if lower in _FALSE else text
        try:
            return {"int": int, "float": float, "str": str}[self.type](text)
        except ValueError:
            return text

    def plain(self, value: Any) -> Any:
        """A valid value as a plain Python value: NumPy numbers become ``int`` and ``float``."""
        return None if value is None else {"int": int, "float": float, "str": str, "bool": bool}[self.type](value)

    def _has_type(self, value: Any) -> bool:
        is_bool = isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
        if self.type == "bool":
            return is_bool
        kind: type = {"int": Integral, "float": Real, "str": str}[self.type]  # covers the number types of NumPy
        return isinstance(value, kind) and not is_bool

    def _in_range(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.type == "float" and not math.isfinite(value):
            return False
        return not (self.low is not None and value < self.low) and not (self.high is not None and value > self.high)

    def _expected(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = {"int": "a whole number", "float": "a number", "str": "text", "bool": "True or False"}[self.type]
        if self.low is not None and self.high is not None:
            return f"{kind} from {self.low:g} to {self.high:g}"
        return f"{kind} of at least {self.low:g}" if self.low is not None else kind

    def _suggestion(self, value: Any) -> str:
        if near := did_you_mean(str(value), self.choices):
            return near
        numeric = self.type in ("int", "float")
        if numeric and self._has_type(value) and math.isfinite(value) and self.low is not None:
            nearest = self.low if value < self.low else self.high
            return f"; the nearest valid value is {nearest:g}"
        return ""


def option(default: Any, text: str, *, kw_only: bool = True, **facts: Any) -> Any:
    """A dataclass field that declares an option; ``facts`` are fields of :class:`Option`."""
    return field(default=default, kw_only=kw_only, metadata={"help": text, **facts})


def options_of(settings: type[Settings]) -> Iterator[Option]:
    """The options that a settings class declares, in order."""
    for each in fields(settings):
        kind = str(each.type).removesuffix(" | None")
        yield Option(each.name, kind, each.default, optional=str(each.type).endswith("None"), **each.metadata)


@dataclass(kw_only=True)
class Settings:
    """Base class of settings. The constructor does not validate; :meth:`check` does."""

    def check(self) -> None:
        """Validate all values.

        :raises SettingsError: lists every invalid value, not only the first.
        """
        mistakes = {option.name: option.mistake(getattr(self, option.name)) for option in options_of(type(self))}
        found = {name: mistake for name, mistake in mistakes.items() if mistake}
        messages = [*found.values(), *self._conflicts(found.keys())]
        if messages:
            raise SettingsError(messages)

    def _conflicts(self, invalid: Collection[str]) -> list[str]:  # noqa: ARG002
        """Messages about values that are valid alone but not together; ``invalid`` names those that are not."""
        return []

    def values(self) -> dict[str, Any]:
        """Names and values as plain JSON values."""
        return {option.name: option.plain(getattr(self, option.name)) for option in options_of(type(self))}

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Validated settings from keyword arguments.

        :raises SettingsError: a name is unknown (the nearest known name is suggested), or a value is invalid.

        >>> from headstart.config import FitSettings
        >>> FitSettings.of(epoch=3)
        Traceback (most recent call last):
        headstart.errors.SettingsError: no setting is called epoch; did you mean epochs?
        """
        known = [option.name for option in options_of(cls)]
        mistakes = [_unknown(name, known) for name in values if name not in known]
        made = cls(**{name: value for name, value in values.items() if name in known})
        try:
            made.check()
        except SettingsError as error:
            mistakes.extend(error.mistakes)
        if mistakes:
            raise SettingsError(mistakes)
        return made

    @classmethod
    def parse(cls, given: Mapping[str, Any], *others: type[Settings]) -> Self:
        """Settings from command-line values: text, a bool for a flag, or None for an option that was not given.

        :param others: classes whose options may be among the given names too; they are ignored.
        """
        known = {option.name: option for option in options_of(cls)}
        elsewhere = {option.name for other in others for option in options_of(other)} - set(known)
        mine = {name: value for name, value in given.items() if value is not None and name not in elsewhere}
        return cls.of(
            **{
                name: known[name].parse(value) if name in known and isinstance(value, str) else value
                for name, value in mine.items()
            }
        )


def _unknown(name: str, known: list[str]) -> str:
    return f"no setting is called {name}{did_you_mean(name, known)}"


def parse_duration(text: str) -> float:
    """Convert a duration such as "60s", "10min" or "1.5h" to seconds; a bare number is in seconds.

    :raises SettingsError: the text is not a duration above zero.

    >>> parse_duration("90"), parse_duration("1.5 min"), parse_duration("2h")
    (90.0, 90.0, 7200.0)
    >>> parse_duration("soon")
    Traceback (most recent call last):
    headstart.errors.SettingsError: a duration must be a number with s, min or h, for example 60s or 10min, got 'soon'
    """
    found = _DURATION.fullmatch(text.strip().lower())
    seconds = float(found[1]) * _SECONDS_PER_UNIT.get(found[2], 0) if found else 0
    if not 0 < seconds < math.inf:
        raise SettingsError(f"a duration must be a number with s, min or h, for example 60s or 10min, got {text!r}")
    return seconds
