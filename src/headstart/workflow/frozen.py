"""The frozen part of a network: its place in the feature store, and what runs it. A fit and a ranking share both."""

from __future__ import annotations

from headstart import places
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore, Space
from headstart.models.backbone import Backbone, digest
from headstart.models.cut import Cut
from headstart.models.engine import Engine, choose_batch, choose_precision, open_engine
from headstart.models.prepared import place
from headstart.models.quantized import Calibration
from headstart.settings import FitSettings

__all__ = ["open_prefix", "open_space"]


def open_space(
    backbone: Backbone, parts: Cut, settings: FitSettings, *, device: str, calibration: Calibration | None = None
) -> Space:
    """Where the store keeps what the frozen part gives; of a network that is cut at the image, the pixels.

    :param calibration: the one that :func:`open_prefix` is given.
    :raises StoreError: the store cannot be used.
    """
    spec, at_image = backbone.spec, parts.at_image
    precision = choose_precision(settings.precision, device) if calibration is None else calibration.name
    space = FeatureSpace(
        model=backbone.name,
        weights=digest(parts.prefix),
        cut=parts.name,
        spec=spec,
        precision="float32" if at_image else precision,
        dtype="uint8" if at_image else settings.store_as,
        shape=(spec.height, spec.width, 3) if at_image else parts.feature_shape,
    )
    return FeatureStore(places.features(settings.store)).space(space)


def open_prefix(
    backbone: Backbone, parts: Cut, settings: FitSettings, *, calibration: Calibration | None = None
) -> Engine:
    """The frozen part, ready to run.

    :param calibration: for ``--precision int8``.
    :raises SettingsError: the device or engine asked for is not on this machine.
    """
    spec, batch = backbone.spec, choose_batch(settings.extract_batch, settings.device)
    return open_engine(
        parts.prefix,
        spec,
        batch=batch,
        device=settings.device,
        precision=settings.precision,
        engine=settings.engine,
        prepared=lambda: place(
            places.prepared(settings.store), f"{backbone.name} to {parts.name}", parts.prefix, spec, batch
        ),
        calibration=calibration,
    )
