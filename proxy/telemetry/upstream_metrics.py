"""The metrics of upstreams: calls, retries, breakers, slots. Labels are configured names and closed sets."""

from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Final, NamedTuple, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from proxy.telemetry.due import Due, Note, Tally

__all__ = ["UpstreamMetrics", "UpstreamStats"]

_WAITS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STATES: Final = {"closed": 0, "half_open": 1, "open": 2}

_Series = tuple[Gauge, tuple[str, ...]]
"""By its labels."""


class UpstreamStats(NamedTuple):
    """One upstream, as of now. `limit` is None where it has no bound."""

    name: str
    region: str
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
        self._registry = registry
        self._due = due
        self._waits: dict[str, Note] = {}
        self._attempted: dict[str, Tally] = {}
        self._shown: set[_Series] = set()
        """Those that are set."""
        self.stats: Callable[[], Iterable[UpstreamStats]] | None = None
        self._define_calls()
        self._define_breakers()
        self._define_admission()

    def __repr__(self) -> str:
        return "<UpstreamMetrics>"

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(f"askonce_{name}", told, ["upstream", *labels], registry=self._registry)

    def _highest(self, name: str, told: str, *labels: str) -> Gauge:
        """Of all workers."""
        labels = ("upstream", *labels)
        return Gauge(f"askonce_{name}", told, labels, registry=self._registry, multiprocess_mode="livemax")

    def _total(self, name: str, told: str) -> Gauge:
        """Of all workers."""
        return Gauge(f"askonce_{name}", told, ["upstream"], registry=self._registry, multiprocess_mode="livesum")

    def _define_calls(self) -> None:
        self._attempts = self._counter(
            "upstream_attempts", "Calls to an upstream, those that found no connection included."
        )
        self._failures = self._counter("upstream_failures", "Upstream calls that failed, by kind of failure.", "kind")
        self._retries = self._counter(
            "upstream_retries",
            "Times that requests went to an upstream again, or to it in the place of one called or passed over.",
            "step",
        )
        self._over_budget = self._counter("upstream_retries_refused", "Retries that were not made as too many were.")
        self._info = self._highest(
            "upstream_info", "1 for what is configured, as the labels say; 0 for what was.", "region"
        )
        self._resting = self._highest(
            "upstream_keys_resting", "Keys of an upstream that it refused, and that are not used for some time."
        )
        self._probes = self._counter("upstream_probes", "Probes of an upstream's health.", "result")

    def _define_breakers(self) -> None:
        self._states = self._highest(
            "breaker_state", "0 while requests are sent to an upstream, 1 while it is probed, 2 while it is left alone."
        )
        self._transitions = self._counter(
            "breaker_transitions",
            "Changes of the state of an upstream's breaker, by what it became, and why.",
            "to",
            "reason",
        )
        self._unsent = self._counter(
            "upstream_unsent",
            "Requests that were not sent to an upstream, as its breaker was open or its keys were resting.",
        )

    def _define_admission(self) -> None:
        self._busy = self._total("upstream_busy", "Calls to an upstream that are under way.")
        self._waiting = self._total("upstream_waiting", "Requests that wait for a slot of an upstream.")
        self._slots = self._total(
            "upstream_slots",
            "Calls that an upstream is sent at once, at most; without a bound absent, or +Inf if there was one.",
        )
        self._wait = Histogram(
            "askonce_upstream_wait_seconds",
            "Time that requests waited for a slot, of those that got one.",
            ["upstream"],
            registry=self._registry,
            buckets=_WAITS,
        )
        self._refused = self._counter(
            "upstream_wait_refused", "Requests that got no slot of an upstream, by reason.", "reason"
        )
        self._shedding = Gauge(
            "askonce_shedding",
            "1 while the process has too much to do.",
            registry=self._registry,
            multiprocess_mode="livemax",
        )

    def attempted(self, upstream: str) -> None:
        tally = self._attempted.get(upstream)
        if tally is None:
            tally = self._attempted[upstream] = self._due.tally(self._attempts, upstream)
        tally.due += 1

    def failed(self, upstream: str, how: str) -> None:
        self._due.tally(self._failures, upstream, how).due += 1

    def refused(self, upstream: str) -> None:
        self._due.tally(self._unsent, upstream).due += 1

    def retried(self, upstream: str, step: str) -> None:
        self._due.tally(self._retries, upstream, step).due += 1

    def retry_refused(self, upstream: str) -> None:
        self._due.tally(self._over_budget, upstream).due += 1

    def probed(self, upstream: str, *, answered: bool) -> None:
        self._due.tally(self._probes, upstream, "answered" if answered else "failed").due += 1

    def turned(self, upstream: str, state: str, reason: str) -> None:
        """A breaker's transition, by its values."""
        self._due.tally(self._transitions, upstream, state, reason).due += 1

    def waited(self, upstream: str, seconds: float) -> None:
        note = self._waits.get(upstream)
        if note is None:
            note = self._waits[upstream] = self._due.noting(self._wait.labels(upstream), _WAITS)
        note(seconds)

    def no_slot(self, upstream: str, reason: str) -> None:
        self._due.tally(self._refused, upstream, reason).due += 1

    def shedding(self, *, on: bool) -> None:
        self._shedding.set(int(on))

    def before_publish(self) -> None:
        values = {series: value for each in self.stats() for series, value in self._values(each)} if self.stats else {}
        for (gauge, labels), value in values.items():
            gauge.labels(*labels).set(value)
        # No longer configured: a gauge keeps what it was last told, and is never taken out of a shared file.
        for gauge, labels in self._shown - values.keys():
            gauge.labels(*labels).set(0)
        self._shown = set(values)

    def _values(self, each: UpstreamStats) -> Iterator[tuple[_Series, float]]:
        labels = (each.name,)
        yield (self._info, (each.name, each.region)), 1
        yield (self._busy, labels), each.busy
        yield (self._waiting, labels), each.waiting
        yield (self._resting, labels), each.resting
        if each.limit is not None or (self._slots, labels) in self._shown:
            yield (self._slots, labels), inf if each.limit is None else each.limit
        if each.breaker:
            yield (self._states, labels), STATES[each.breaker]
