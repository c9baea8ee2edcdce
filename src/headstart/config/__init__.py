"""Every setting once: its name, type, default, range, unit, help text and group."""

from headstart.config.fine_tuning import FineTuningSettings
from headstart.config.options import GROUPS, Option, Settings, options_of, parse_duration
from headstart.config.reading import ReadSettings
from headstart.config.recipes import QUALITIES, RECIPES
from headstart.config.serving import ServeSettings
from headstart.config.settings import ClusterSettings, EngineSettings, FitSettings, ImageNetV2Settings, InputSettings
from headstart.config.studio import StudioSettings

__all__ = [
    "GROUPS",
    "QUALITIES",
    "RECIPES",
    "ClusterSettings",
    "EngineSettings",
    "FineTuningSettings",
    "FitSettings",
    "ImageNetV2Settings",
    "InputSettings",
    "Option",
    "ReadSettings",
    "ServeSettings",
    "Settings",
    "StudioSettings",
    "options_of",
    "parse_duration",
]
