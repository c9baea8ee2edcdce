"""The settings of ``headstart studio``: where it listens, and what it accepts."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.config.options import Settings, option

__all__ = ["StudioSettings"]


@dataclass(kw_only=True)
class StudioSettings(Settings):
    """Address and limits of the page."""

    host: str = option(
        "127.0.0.1",
        "Address to listen on. Any other than that of this machine alone (loopback) requires a token.",
        metavar="ADDRESS",
        common=True,
    )
    port: int = option(8010, "Port to listen on; 0 takes a free one.", low=0, high=65535, common=True)
    max_megabytes: int = option(
        512,
        "Largest upload in megabytes, for example of a zip archive; a larger one is answered with status 413.",
        metavar="MB",
        low=1,
        high=8192,
    )
    max_pixels: int = option(
        178_956_970, "Largest image in pixels; a larger one is recorded as a problem.", metavar="PIXELS", low=1
    )
    max_files: int = option(200, "Most files per upload; more are answered with status 413.", low=1, high=10_000)
    timeout: float = option(
        120.0, "Seconds within which an upload must arrive (else status 408).", metavar="SECONDS", low=0.1, high=3600
    )
    learn: bool = option(True, "Learn while images are labeled: accuracy, suggestions, training.")
    browser: bool = option(True, "Open the page in the browser of this machine.")
