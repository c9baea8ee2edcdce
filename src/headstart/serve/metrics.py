"""What Prometheus is told. With several worker processes, each writes its counts to files of a common folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["MULTIPROCESS_FOLDER", "Metrics"]

MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable by which prometheus_client knows the common folder; set before it is imported."""

_ROUTES = frozenset({"/", "/predict", "/report", "/metrics", "/openapi.json", "/healthz", "/readyz", "/login"})
_STATIC = frozenset({"/static/report.css", "/static/page.css", "/static/page.js"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Metrics:
    """The counts of one process."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)
    images: Counter = field(init=False)
    batches: Histogram = field(init=False)
    queue: Gauge = field(init=False)

    def __post_init__(self) -> None:
        made = {
            "requests": Counter(
                "headstart_requests", "Requests answered.", ["route", "status"], registry=self.registry
            ),
            "seconds": Histogram(
                "headstart_request_seconds",
                "Seconds from the head of a request to its answer.",
                ["route"],
                registry=self.registry,
                buckets=_SECONDS,
            ),
            "images": Counter("headstart_images", "Images by outcome.", ["outcome"], registry=self.registry),
            "batches": Histogram(
                "headstart_batch_images", "Images per batch.", registry=self.registry, buckets=_IMAGES
            ),
            "queue": Gauge(
                "headstart_queue_images",
                "Images that are decoded, wait or run.",
                registry=self.registry,
                multiprocess_mode="livesum",
            ),
        }
        for name, metric in made.items():
            object.__setattr__(self, name, metric)

    def observe_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request. Paths that are no routes are counted together: anybody may ask for any number of them."""
        route = path if path in _ROUTES or path in _STATIC else "other"
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All counts in Prometheus's text format, of all worker processes."""
        if not os.environ.get(MULTIPROCESS_FOLDER):
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
