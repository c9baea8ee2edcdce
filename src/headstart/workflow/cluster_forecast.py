"""What a fit takes on the workers of a cluster: hours, bytes and, by the million images, core hours.

No money: prices of a core hour differ tenfold and change, while core hours are measured.
"""

from __future__ import annotations

import pyarrow.compute as pc

from headstart.data.manifest import Manifest
from headstart.workflow.forecast import Forecast

__all__ = ["cluster_lines"]


def cluster_lines(forecast: Forecast, images: Manifest, workers: int) -> list[str]:
    """Workers, core hours and bytes of the features that are missing, and the same per million images.

    :param forecast: of the first trial on so many one-core workers.
    :param images: inspected; the mean size of their files is taken.

    >>> images = Manifest.from_rows(["/a.jpg", "/b.jpg"]).with_column("bytes", [90_000, 110_000])
    >>> found = Forecast("head", features=2000, extraction=1.8, training=1.0, disk=8_000_000, memory=0)
    >>> for line in cluster_lines(found, images, workers=10):
    ...     print(line)
    cluster: 10 workers of one core each
    features: 0.005 core hours, 0.0005 h; 0.2 GB of files to read, 0.008 GB to write
    for a million images: 2.5 core hours, 100 GB of files to read, 4 GB to write
    """
    lines = [f"cluster: {workers:,} workers of one core each"]
    if not forecast.features:
        return [*lines, "all features are in the store: the workers have none to compute"]
    hours = forecast.extraction / 3600
    read, million = forecast.features * float(pc.mean(images.table["bytes"]).as_py() or 0), 1e6 / forecast.features
    return [
        *lines,
        f"features: {hours * workers:.3g} core hours, {hours:.3g} h; {_bytes(read, forecast.disk)}",
        f"for a million images: {hours * workers * million:.3g} core hours, "
        f"{_bytes(read * million, forecast.disk * million)}",
    ]


def _bytes(read: float, written: float) -> str:
    return f"{read / 1e9:.3g} GB of files to read, {written / 1e9:.3g} GB to write"
