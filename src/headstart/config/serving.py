"""The settings of ``headstart serve``: where it listens, and what it accepts."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.config.options import Settings, option

__all__ = ["ServeSettings"]


@dataclass(kw_only=True)
class ServeSettings(Settings):
    """Address, processes and limits of the server. Each limit is answered with a status of its own."""

    host: str = option(
        "127.0.0.1",
        "Address to listen on. Any other than that of this machine alone (loopback) requires a token.",
        metavar="ADDRESS",
        common=True,
    )
    port: int = option(8000, "Port to listen on; 0 takes a free one.", low=0, high=65535, common=True)
    workers: int | None = option(
        None, "Processes that answer requests. Default: one per 8 cores, at least one.", low=1, high=256
    )
    max_megabytes: int = option(
        64, "Largest request in megabytes; a larger one is answered with status 413.", metavar="MB", low=1, high=4096
    )
    # A photograph of 50 megapixels takes 400 MB while it is decoded. The default of the other commands, three and a
    # half times as much, is for files of one's own.
    max_pixels: int = option(
        50_000_000, "Largest image in pixels; a larger one is answered with status 413.", metavar="PIXELS", low=1
    )
    max_files: int = option(64, "Most images per request; more are answered with status 413.", low=1, high=10_000)
    max_queue: int = option(
        128, "Most images that wait at a time; further requests are answered with status 503.", low=1, high=100_000
    )
    timeout: float = option(
        30.0,
        "Seconds within which a request must arrive (else status 408), and again be answered (else 503).",
        metavar="SECONDS",
        low=0.1,
        high=3600,
    )
    batch_wait: float = option(
        4.0,
        "Milliseconds that an image waits for others that are being decoded, to run with them in one batch.",
        metavar="MS",
        low=0,
        high=1000,
    )
    neighbors: bool | None = option(
        None,
        "Show the nearest training images. Default: only where the server listens on this machine alone, since they "
        "are files of this machine.",
    )
