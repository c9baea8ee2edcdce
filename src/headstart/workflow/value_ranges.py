"""Black and white of the pixels of a data set: chosen once, told, and then part of the input of the network."""

from __future__ import annotations

from headstart.config import EngineSettings
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.value_range import RangeChoice, ValueRange, choose_ranges, range_of
from headstart.events import Events

__all__ = ["choose", "given_ranges", "tell", "warn_of_other_ranges"]


def given_ranges(settings: EngineSettings) -> tuple[ValueRange, ...]:
    """The range that ``value_range`` sets, if it is given."""
    return InputSpec().with_value_range(settings.value_range).value_ranges


def choose(inspected: Manifest, settings: EngineSettings) -> RangeChoice:
    """The given range, or one per type of values, from the usable images of an inspected manifest."""
    given = given_ranges(settings)
    return RangeChoice(given) if given else choose_ranges(inspected.usable.values)


def tell(inspected: Manifest, settings: EngineSettings, *, events: Events) -> tuple[ValueRange, ...]:
    """Choose the ranges and say them, with what is doubtful; nothing is said of images of 8 bits."""
    choice = choose(inspected, settings)
    if any(each is not None for each in inspected.values):
        for line in choice.lines():
            events.notice(line)
        for warning in choice.warnings:
            events.warn(warning)
    return choice.ranges


def warn_of_other_ranges(inspected: Manifest, spec: InputSpec, settings: EngineSettings, *, events: Events) -> None:
    """Say which ranges a classifier reads these images with, and warn where the images seem to have others."""
    used = spec.with_value_range(settings.value_range).value_ranges
    seen = choose_ranges(inspected.usable.values).ranges
    for own in seen:
        mine = range_of(own.dtype, used)
        events.notice(str(mine))
        if (mine.low, mine.high) != (own.low, own.high):
            text = (
                f"by their values, {own.low:.10g} to {own.high:.10g} would be black to white in the {own.dtype} images"
            )
            events.warn(f"{text}; the classifier reads them as {mine.low:.10g} to {mine.high:.10g} (--value-range)")
