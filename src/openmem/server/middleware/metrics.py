"""Numbers for `/metrics`. Labels are methods, templates, statuses, verbs and codes: never a user, a scope or an id."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from openmem.server.middleware.asgi import verb_of

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The numbers of a server. Workers of one server add theirs up through files in a folder they share."""

    def __init__(self) -> None:
        # The times at which each number began double the text and tell little.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "omp_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "omp_request_duration_seconds", "How long a verb took.", ("verb",), buckets=BUCKETS, registry=self._registry
        )
        self._errors = Counter("omp_errors", "Errors answered, by code.", ("code",), registry=self._registry)
        self._running = self._gauge("omp_requests_in_flight", "Requests being answered.")
        self._up = self._gauge("omp_provider_up", "Processes whose memory backend answers.")
        self._pool = self._gauge("omp_pool", "The connection pool of the memory backend.", ("number",))

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry, multiprocess_mode="livesum")

    def begin(self) -> None:
        """Count a request that came in."""
        self._running.inc()

    def end(self, method: str, route: str, status: int, seconds: float, code: str | None) -> None:
        """Count a request that was answered, and with which error."""
        self._running.dec()
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(verb_of(method, route) or "other").observe(seconds)
        if status >= 400:
            self._errors.labels(code or "other").inc()

    def show_health(self, ok: bool, detail: Mapping[str, Any]) -> None:
        """Take over what the backend says of itself."""
        self._up.set(1 if ok else 0)
        pool = detail.get("pool")
        for name, value in pool.items() if isinstance(pool, Mapping) else ():
            if isinstance(value, (int, float)):
                self._pool.labels(name).set(value)

    def text(self) -> bytes:
        """Return all numbers, of all workers, in the text format of Prometheus."""
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        _Workers(registry, path=folder)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class _Workers(MultiProcessCollector):
    """The numbers of all workers, but for those that only just made their files and have none yet."""

    def collect(self) -> Iterable[Metric]:
        files = Path(self._path).glob("*.db")
        merged: Iterable[Metric] = self.merge([str(file) for file in files if _is_written(file)])  # type: ignore[no-untyped-call]
        return merged


def _is_written(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # of a worker that is gone
        return False
