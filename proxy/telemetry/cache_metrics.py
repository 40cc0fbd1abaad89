"""The metrics of the cache and of its link to Redis. Every label is from a closed set, or a configured server."""

from collections.abc import Callable
from typing import Final, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cache.memory import Stats
from cache.policy import NoCacheReason
from proxy.telemetry.due import Due

__all__ = ["CacheMetrics"]

_DURATIONS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


@final
class CacheMetrics:
    """`memory_stats` is asked whenever the metrics are published."""

    def __init__(self, registry: CollectorRegistry, due: Due) -> None:
        self._due = due
        self._removed: dict[str, int] = {}
        self.memory_stats: Callable[[], Stats] | None = None
        self._define(registry)
        self._define_redis(registry)
        self._note_redis = due.noting(self._redis_seconds, _DURATIONS)

    def __repr__(self) -> str:
        return "<CacheMetrics>"

    def _define(self, registry: CollectorRegistry) -> None:
        self._cache_requests = Counter(
            "askonce_cache_requests",
            "Requests by what the cache did for them.",
            ["route", "status"],
            registry=registry,
        )
        self._not_cached = Counter(
            "askonce_cache_refusals",
            "Requests not read from the cache and answers not kept, by reason.",
            ["reason"],
            registry=registry,
        )
        self._lookups = Counter(
            "askonce_cache_lookups", "Look-ups by tier and result.", ["tier", "result"], registry=registry
        )
        self._writes = Counter(
            "askonce_cache_writes", "Entries to be kept, by tier and result.", ["tier", "result"], registry=registry
        )
        self._unreadable = Counter(
            "askonce_cache_unreadable",
            "Stored bytes that were no entry, by what was wrong with them.",
            ["reason"],
            registry=registry,
        )
        self._removals = Counter(
            "askonce_cache_removals", "Entries that left memory, by reason.", ["reason"], registry=registry
        )
        self._cache_entries = Gauge(
            "askonce_cache_entries", "Entries in memory.", registry=registry, multiprocess_mode="livesum"
        )
        self._cache_bytes = Gauge(
            "askonce_cache_bytes", "Bytes of entries in memory.", registry=registry, multiprocess_mode="livesum"
        )

    def _define_redis(self, registry: CollectorRegistry) -> None:
        self._redis_seconds = Histogram(
            "askonce_redis_duration_seconds",
            "From sending commands to Redis to their answers.",
            registry=registry,
            buckets=_DURATIONS,
        )
        self._redis_failures = Counter(
            "askonce_redis_failures", "Commands that Redis did not answer, by reason.", ["reason"], registry=registry
        )
        self._redis_states = Gauge(
            "askonce_redis_up",
            "1 while commands are sent to this server, 0 while they are refused here.",
            ["server"],
            registry=registry,
            multiprocess_mode="livemin",
        )

    def answered(self, route: str, status: str) -> None:
        """One request, by `x-cache-status`."""
        self._due.tally(self._cache_requests, route, status).due += 1

    def not_cached(self, reason: NoCacheReason) -> None:
        self._due.tally(self._not_cached, reason.value).due += 1

    def looked_up(self, tier: str, result: str) -> None:
        self._due.tally(self._lookups, tier, result).due += 1

    def written(self, tier: str, result: str) -> None:
        self._due.tally(self._writes, tier, result).due += 1

    def unreadable(self, reason: str) -> None:
        self._due.tally(self._unreadable, reason).due += 1

    def redis_answered(self, seconds: float) -> None:
        self._note_redis(seconds)

    def redis_failed(self, commands: int, reason: str) -> None:
        self._due.tally(self._redis_failures, reason).due += commands

    def redis_state(self, server: str, state: str) -> None:
        self._redis_states.labels(server).set(0 if state == "down" else 1)

    def before_publish(self) -> None:
        if self.memory_stats is None:
            return
        stats = self.memory_stats()
        self._cache_entries.set(stats.entries)
        self._cache_bytes.set(stats.bytes)
        for removal, times in stats.removed.items():
            if times != self._removed.get(removal.value, 0):
                self._removals.labels(removal.value).inc(times - self._removed.get(removal.value, 0))
                self._removed[removal.value] = times
