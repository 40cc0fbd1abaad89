"""The metrics of upstreams: calls, retries, breakers, slots. Labels are configured names and closed sets."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from proxy.telemetry.due import Due, Note

__all__ = ["UpstreamMetrics", "UpstreamStats"]

_WAITS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STATES: Final = {"closed": 0, "half_open": 1, "open": 2}


class UpstreamStats(NamedTuple):
    """One upstream, as of now. `limit` is None where it has no bound."""

    name: str
    busy: int
    waiting: int
    limit: int | None
    breaker: str
    """The state of its breaker; "" where it has none."""
    resting: int
    """Keys that are not used for the present."""


@final
class UpstreamMetrics:
    """`stats` is asked whenever the metrics are published."""

    def __init__(self, registry: CollectorRegistry, due: Due) -> None:
        self._due = due
        self._labelled: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self._waits: dict[str, Note] = {}
        self._attempted: dict[str, Counter] = {}
        self._shown: set[str] = set()
        """Upstreams whose gauges are set."""
        self.stats: Callable[[], Iterable[UpstreamStats]] | None = None
        self._define_calls(registry)
        self._define_breakers(registry)
        self._define_admission(registry)

    def __repr__(self) -> str:
        return f"<UpstreamMetrics {len(self._labelled)} series>"

    def _define_calls(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "askonce_upstream_attempts",
            "Calls to an upstream, those that found no connection included.",
            ["upstream"],
            registry=registry,
        )
        self._failures = Counter(
            "askonce_upstream_failures",
            "Upstream calls that failed, by kind of failure.",
            ["upstream", "kind"],
            registry=registry,
        )
        self._retries = Counter(
            "askonce_upstream_retries",
            "Requests that were sent to an upstream again, or to it after another.",
            ["upstream", "step"],
            registry=registry,
        )
        self._over_budget = Counter(
            "askonce_upstream_retries_refused",
            "Retries that were not made as too many were.",
            ["upstream"],
            registry=registry,
        )
        self._info = Gauge(
            "askonce_upstream_info",
            "Always 1; the labels say what is configured.",
            ["upstream", "region"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._resting = Gauge(
            "askonce_upstream_keys_resting",
            "Keys of an upstream that it refused, and that are not used for some time.",
            ["upstream"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._probes = Counter(
            "askonce_upstream_probes", "Probes of an upstream's health.", ["upstream", "result"], registry=registry
        )

    def _define_breakers(self, registry: CollectorRegistry) -> None:
        self._states = Gauge(
            "askonce_breaker_state",
            "0 while requests are sent to an upstream, 1 while it is probed, 2 while it is left alone.",
            ["upstream"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._transitions = Counter(
            "askonce_breaker_transitions",
            "Changes of the state of an upstream's breaker, by what it became, and why.",
            ["upstream", "to", "reason"],
            registry=registry,
        )
        self._unsent = Counter(
            "askonce_upstream_unsent",
            "Requests that were not sent to an upstream, as its breaker was open or its keys were resting.",
            ["upstream"],
            registry=registry,
        )

    def _define_admission(self, registry: CollectorRegistry) -> None:
        self._busy = Gauge(
            "askonce_upstream_busy",
            "Calls to an upstream that are under way.",
            ["upstream"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            "askonce_upstream_waiting",
            "Requests that wait for a slot of an upstream.",
            ["upstream"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._slots = Gauge(
            "askonce_upstream_slots",
            "Calls that an upstream is sent at once, at most; absent without a bound.",
            ["upstream"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._wait = Histogram(
            "askonce_upstream_wait_seconds",
            "Time that requests waited for a slot, of those that got one.",
            ["upstream"],
            registry=registry,
            buckets=_WAITS,
        )
        self._refused = Counter(
            "askonce_upstream_wait_refused",
            "Requests that got no slot of an upstream, by reason.",
            ["upstream", "reason"],
            registry=registry,
        )
        self._shedding = Gauge(
            "askonce_shedding",
            "1 while the process has too much to do.",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def _count(self, family: Counter, *labels: str) -> None:
        count = self._labelled.get((family, labels))
        if count is None:
            count = self._labelled[family, labels] = family.labels(*labels)
        self._due.add(count, 1)

    def configured(self, upstream: str, region: str) -> None:
        self._info.labels(upstream, region).set(1)

    def attempted(self, upstream: str) -> None:
        count = self._attempted.get(upstream)
        if count is None:
            count = self._attempted[upstream] = self._attempts.labels(upstream)
        self._due.add(count, 1)

    def failed(self, upstream: str, how: str) -> None:
        self._count(self._failures, upstream, how)

    def refused(self, upstream: str) -> None:
        self._count(self._unsent, upstream)

    def retried(self, upstream: str, step: str) -> None:
        self._count(self._retries, upstream, step)

    def retry_refused(self, upstream: str) -> None:
        self._count(self._over_budget, upstream)

    def probed(self, upstream: str, *, answered: bool) -> None:
        self._count(self._probes, upstream, "answered" if answered else "failed")

    def turned(self, upstream: str, state: str, reason: str) -> None:
        """A breaker's transition, by its values."""
        self._count(self._transitions, upstream, state, reason)

    def waited(self, upstream: str, seconds: float) -> None:
        note = self._waits.get(upstream)
        if note is None:
            note = self._waits[upstream] = self._due.noting(self._wait.labels(upstream), _WAITS)
        note(seconds)

    def no_slot(self, upstream: str, reason: str) -> None:
        self._count(self._refused, upstream, reason)

    def shedding(self, *, on: bool) -> None:
        self._shedding.set(int(on))

    def before_publish(self) -> None:
        gone, self._shown = self._shown, set()
        for each in self.stats() if self.stats is not None else ():
            self._shown.add(each.name)
            self._busy.labels(each.name).set(each.busy)
            self._waiting.labels(each.name).set(each.waiting)
            self._resting.labels(each.name).set(each.resting)
            if each.limit is not None:
                self._slots.labels(each.name).set(each.limit)
            if each.breaker:
                self._states.labels(each.name).set(STATES[each.breaker])
        for name in gone - self._shown:
            # No longer configured: a gauge keeps what it was last told.
            for gauge in (self._busy, self._waiting, self._resting, self._slots, self._states):
                gauge.labels(name).set(0)
