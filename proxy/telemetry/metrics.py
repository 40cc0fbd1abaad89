"""Every metric of the gateway.

Names carry the prefix `askonce_` and base units. Every label is bounded: routes, methods, outcomes
and failure kinds are closed sets, upstreams come from the configuration, and a model's name counts
only once an upstream has answered for it.

Alone, a process keeps its values in memory. With several workers, PROMETHEUS_MULTIPROC_DIR names a
directory in which each keeps them in mapped files named after its slot (ASKONCE_WORKER), not its
pid: a worker that takes over a slot, even after a kill -9, carries the counters on, and whichever
worker is scraped adds everybody's up.
"""

import functools
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Final, final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, multiprocess, values
from prometheus_client.registry import Collector

from proxy.telemetry.cache_metrics import CacheMetrics
from proxy.telemetry.due import Due, Note, Tally
from proxy.telemetry.money_metrics import MoneyMetrics
from proxy.telemetry.redact import redacted
from proxy.telemetry.semantic_metrics import SemanticMetrics
from proxy.telemetry.upstream_metrics import UpstreamMetrics

__all__ = ["Metrics", "forget_worker"]

KNOWN_METHODS: Final = frozenset(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
OTHER: Final = "other"
MAX_MODEL_LENGTH: Final = 128

_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_OVERHEADS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


def forget_worker(slot: str, directory: str) -> None:
    """Drops the gauges of a worker that died: what it had in flight is gone, what it counted stays."""
    multiprocess.mark_process_dead(slot, directory)  # type: ignore[no-untyped-call]


@final
class Connects:
    """Implements `http1.pool.PoolEvents` for one upstream."""

    __slots__ = ("_opened", "_reused")

    def __init__(self, opened: Tally, reused: Tally) -> None:
        self._opened = opened
        self._reused = reused

    def opened(self) -> None:
        self._opened.due += 1

    def reused(self) -> None:
        self._reused.due += 1


@final
class Metrics:
    """The metrics of one process; a process that shares a directory makes one of these and no more.

    What changes most often is a plain number here, written by the event loop alone, and a series
    only when `publish` is called: many times a second, and before every scrape.
    """

    def __init__(self, *, max_models: int = 100) -> None:
        self._directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
        if self._directory:
            _share(os.environ.get("ASKONCE_WORKER", "") or str(os.getpid()), self._directory)
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self.in_flight = 0
        self.connections = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self._published = (0, 0)
        self._max_models = max_models
        self._models: set[str] = self._models_on_file()
        self._define_requests()
        self._define_upstreams()
        self._define_process()
        self._finished: dict[tuple[str, str, int, str, bool], tuple[Tally, Note]] = {}
        self._durations_by: dict[tuple[str, str], Note] = {}
        self._first_tokens: dict[tuple[str, str], Note] = {}
        self._tokens: dict[str, dict[str, Tally]] = {}
        self._due = Due()
        self.cache = CacheMetrics(self._registry, self._due)
        self.money = MoneyMetrics(self._registry, self._due, self.model_label)
        self.upstreams = UpstreamMetrics(self._registry, self._due)
        self.semantic = SemanticMetrics(self._registry, self._due)
        self.overhead: Note = self._due.noting(self._overhead, _OVERHEADS)
        """Of one request, in seconds."""
        self.before_publish: Callable[[], object] = bool
        """Whoever counts in batches is asked for the rest."""

    def __repr__(self) -> str:
        return f"<Metrics {self._directory or 'alone'} models={len(self._models)}>"

    def _define_requests(self) -> None:
        registry = self._registry
        self._requests = Counter(
            "askonce_requests",
            "Requests that have ended.",
            ["route", "method", "status", "outcome"],
            registry=registry,
        )
        self._durations = Histogram(
            "askonce_request_duration_seconds",
            "From the head of the request to the end of its answer.",
            ["route", "stream"],
            registry=registry,
            buckets=_DURATIONS,
        )
        self._first_token = Histogram(
            "askonce_time_to_first_token_seconds",
            "From the head of the request to the first byte of a streamed answer.",
            ["route", "model"],
            registry=registry,
            buckets=_DURATIONS,
        )
        self._overhead = Histogram(
            "askonce_gateway_overhead_seconds",
            "Duration of a request less the time spent on its upstream call.",
            registry=registry,
            buckets=_OVERHEADS,
        )
        self._in_flight_gauge = Gauge(
            "askonce_in_flight",
            "Requests being served.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._connections_gauge = Gauge(
            "askonce_connections",
            "Client connections that are open.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._request_bytes = Counter("askonce_request_bytes", "Request body bytes received.", registry=registry)
        self._response_bytes = Counter("askonce_response_bytes", "Answer body bytes written.", registry=registry)
        self._model_tokens = Counter(
            "askonce_tokens",
            "Tokens by model and kind, as reported in the answers that passed.",
            ["model", "kind"],
            registry=registry,
        )

    def _define_upstreams(self) -> None:
        registry = self._registry
        self._opened = Counter(
            "askonce_upstream_connections_opened",
            "Connections made to an upstream.",
            ["upstream"],
            registry=registry,
        )
        self._reused = Counter(
            "askonce_upstream_connections_reused",
            "Requests sent on a connection that had served another before.",
            ["upstream"],
            registry=registry,
        )

    def _define_process(self) -> None:
        registry = self._registry
        self._lag = Histogram(
            "askonce_event_loop_lag_seconds",
            "How late the event loop ran a timer.",
            registry=registry,
            buckets=_LAGS,
        )
        self._lines_lost = Counter("askonce_log_lines_lost", "Log lines dropped.", registry=registry)
        build = Gauge(
            "askonce_build_info",
            "Always 1; the labels say what is running.",
            ["version", "python"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        build.labels(_version(), platform.python_version()).set(1)

    def request_finished(
        self, route: str, method: str, status: int, outcome: str, *, stream: bool, seconds: float
    ) -> None:
        key = (route, method, status, outcome, stream)
        pair = self._finished.get(key)
        if pair is None:
            pair = self._finish(key)
        tally, note = pair
        tally.due += 1
        note(seconds)

    def _finish(self, key: tuple[str, str, int, str, bool]) -> tuple[Tally, Note]:
        route, method, status, outcome, stream = key
        if method not in KNOWN_METHODS:
            method = OTHER
        code = str(status) if 100 <= status <= 599 else OTHER
        tally = self._due.tally(self._requests, route, method, code, outcome)
        series = (route, "true" if stream else "false")
        note = self._durations_by.get(series)
        if note is None:
            note = self._durations_by[series] = self._due.noting(self._durations.labels(*series), _DURATIONS)
        if method is not OTHER and code is not OTHER:
            self._finished[key] = tally, note
        return tally, note

    def model_answered(self, model: str) -> None:
        """An upstream gave a good answer in this model's name: from now on it is a label."""
        if (
            model not in self._models
            and len(self._models) < self._max_models
            and 0 < len(model) <= MAX_MODEL_LENGTH
            and model == redacted(model)  # somebody's key in the wrong place is not a name
        ):
            self._models.add(model)

    def model_label(self, model: str) -> str:
        return model if model in self._models else OTHER

    def first_token(self, route: str, model: str, seconds: float) -> None:
        key = (route, self.model_label(model))
        note = self._first_tokens.get(key)
        if note is None:
            note = self._first_tokens[key] = self._due.noting(self._first_token.labels(*key), _DURATIONS)
        note(seconds)

    def tokens(self, model: str, used: Mapping[str, int]) -> None:
        """By kind."""
        known = self._tokens.get(model)
        if known is None:
            # A name that is no label yet may become one.
            model = self.model_label(model)
            known = self._tokens.setdefault(model, {})
        for kind, amount in used.items():
            tally = known.get(kind)
            if tally is None:
                tally = known[kind] = self._due.tally(self._model_tokens, model, kind)
            tally.due += amount

    def connects(self, upstream: str) -> Connects:
        return Connects(self._due.tally(self._opened, upstream), self._due.tally(self._reused, upstream))

    def loop_lagged(self, seconds: float) -> None:
        self._lag.observe(seconds)

    def log_lines_lost(self, lines: int) -> None:
        """May be called from any thread."""
        self._lines_lost.inc(lines)

    def publish(self) -> None:
        """Brings the series up to date with what was counted. For the thread that counts."""
        self.before_publish()
        self.cache.before_publish()
        self.money.before_publish()
        self.upstreams.before_publish()
        self.semantic.before_publish()
        self._due.settle()
        self._in_flight_gauge.set(self.in_flight)
        self._connections_gauge.set(self.connections)
        received, sent = self.bytes_received, self.bytes_sent
        self._request_bytes.inc(received - self._published[0])
        self._response_bytes.inc(sent - self._published[1])
        self._published = received, sent

    def render(self) -> tuple[bytes, str]:
        """Prometheus text, as of the last `publish`, and its content type. Takes milliseconds: not for the loop."""
        registry = self._registry
        if self._directory:
            registry = CollectorRegistry()
            registry.register(_Shared(self._directory))
        return prometheus_client.generate_latest(registry), prometheus_client.CONTENT_TYPE_PLAIN_0_0_4

    def _models_on_file(self) -> set[str]:
        """Names that are labels in the shared files already: a worker that restarts is bound by them too."""
        if not self._directory:
            return set()
        samples = (sample for family in _Shared(self._directory).collect() for sample in family.samples)
        return {sample.labels["model"] for sample in samples if "model" in sample.labels} - {OTHER}


@final
class _Shared(Collector):
    """The values of all workers, added up."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        # A file is empty for a moment while a worker makes it, or for good if the worker was killed just then.
        with os.scandir(self._directory) as entries:
            files = [entry.path for entry in entries if entry.name.endswith(".db") and _size(entry)]
        merged: Iterable[Metric] = multiprocess.MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0


def _share(slot: str, directory: str) -> None:
    """Puts the values of all metrics made from here on into this slot's files."""
    if not slot.isalnum():
        raise ValueError(f"a worker's slot is part of a file name: {slot!r}")
    forget_worker(slot, directory)
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


@functools.cache
def _version() -> str:
    try:
        return metadata.version("askonce")
    except metadata.PackageNotFoundError:
        return "unknown"
