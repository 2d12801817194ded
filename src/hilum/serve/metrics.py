"""Metrics for Prometheus; no label value comes from a client."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The metrics of one service."""

    def __init__(self, *, waiting: Callable[[], float], deaths: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "hilum_requests", "Requests answered", ["method", "route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "hilum_request_seconds",
            "Time from the request headers to the end of the answer",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.films = Counter("hilum_films", "Films analysed, by status", ["status"], registry=self._registry)
        for status in ("ok", "rejected", "error"):
            self.films.labels(status)
        queue = Gauge(
            "hilum_queue_films",
            "Films waiting or being analysed, without those of jobs",
            registry=self._registry,
        )
        queue.set_function(waiting)
        restarts = Gauge(
            "hilum_decoder_deaths",
            "Decoder processes that crashed or hung and were restarted",
            registry=self._registry,
        )
        restarts.set_function(deaths)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
