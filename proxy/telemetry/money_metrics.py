"""The metrics of money, limits, keys and the ledger. Every label is from a closed set, or a model that is known."""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from limits.policy import Kind, OnFailure
from proxy.telemetry.due import Due

__all__ = ["LimiterStats", "MoneyMetrics"]

_DURATIONS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_NANO: Final = 1_000_000_000
_NONE: Final = "none"


class LimiterStats(NamedTuple):
    """`waiting` is as of now, the numbers behind it since the start; 0 where a limiter can't have any."""

    up: bool
    """Limits are counted where they are meant to be: False while a shared store is away."""
    waiting: int = 0
    lost: int = 0
    given_up: int = 0
    forgotten: int = 0
    given_back: int = 0


class _Labelled(Protocol):
    """A member of an enum whose values are those of a label."""

    @property
    def value(self) -> str: ...


@final
class MoneyMetrics:
    """`model_label` bounds the names of models. The three callables are asked whenever the metrics are published."""

    def __init__(self, registry: CollectorRegistry, due: Due, model_label: Callable[[str], str]) -> None:
        self._due = due
        self._model_label = model_label
        self._limiter = LimiterStats(up=True)
        self.limiter_stats: Callable[[], LimiterStats] | None = None
        self.keys_stats: Callable[[], tuple[int, bool]] | None = None
        """How many are known, and whether what changes in their store is seen here."""
        self.backlog: Callable[[], tuple[int, int]] | None = None
        """Rows and bytes of the ledger that are still to be stored."""
        self._define_money(registry)
        self._define_limits(registry)
        self._define_limiter(registry)
        self._define_keys(registry)
        self._define_ledger(registry)
        self._granted = due.tally(self._decisions, _NONE, _NONE, "granted")
        self._note_stored = due.noting(self._ledger_seconds, _DURATIONS)

    def __repr__(self) -> str:
        return "<MoneyMetrics>"

    def _define_money(self, registry: CollectorRegistry) -> None:
        self._cost = Counter("askonce_cost_usd", "What upstream calls have cost.", ["model"], registry=registry)
        self._saved = Counter(
            "askonce_saved_usd",
            "What answers that were not asked for again would have cost.",
            ["model"],
            registry=registry,
        )
        self._unpriced = Counter(
            "askonce_unpriced_requests", "Upstream calls whose price is not known.", ["model"], registry=registry
        )
        self._estimated = Counter(
            "askonce_estimated_requests",
            "Upstream calls whose tokens were estimated, as the upstream did not report them.",
            ["model"],
            registry=registry,
        )

    def _define_limits(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter(
            "askonce_limit_decisions",
            "Requests by what the limits said, and the limit that said so.",
            ["subject", "limit", "result"],
            registry=registry,
        )
        self._warnings = Counter(
            "askonce_budget_warnings",
            "Answers that told a client that it has passed the soft threshold of a budget.",
            ["subject", "limit"],
            registry=registry,
        )
        self._fail_mode = Gauge(
            "askonce_limits_fail_mode",
            "1 for how limits act while the store that counts for all is away.",
            ["subject", "mode"],
            registry=registry,
            multiprocess_mode="livemax",
        )

    def _define_limiter(self, registry: CollectorRegistry) -> None:
        self._shared_up = Gauge(
            "askonce_limits_shared_up",
            "0 while the store that counts for all is away.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._shared_up.set(1)
        self._waiting = Gauge(
            "askonce_limits_settlements_waiting",
            "Settlements, and counters with charges, that the shared store is still to be told.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._settlements_lost = Counter(
            "askonce_limits_settlements_lost",
            "Settlements, and counters with charges, that the shared store was never told.",
            registry=registry,
        )
        self._given_up = Counter(
            "askonce_limits_holds_given_up",
            "Holds that the shared store gave up although their owner lived.",
            registry=registry,
        )
        self._forgotten = Counter(
            "askonce_limits_forgotten",
            "Subjects whose use was forgotten for want of room in memory.",
            registry=registry,
        )

        self._given_back = Counter(
            "askonce_limits_given_back",
            "Counters that an emptied shared store was given back, as they were known here.",
            registry=registry,
        )

    def _define_keys(self, registry: CollectorRegistry) -> None:
        self._key_refusals = Counter(
            "askonce_key_refusals", "Requests that their key did not open, by reason.", ["reason"], registry=registry
        )
        self._keys = Gauge(
            "askonce_keys", "Virtual keys that are known.", registry=registry, multiprocess_mode="livemax"
        )
        self._keys_up = Gauge(
            "askonce_keys_store_up",
            "0 while changes to the keys can't be read from their store.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._keys_up.set(1)

    def _define_ledger(self, registry: CollectorRegistry) -> None:
        self._ledger_rows = Counter(
            "askonce_ledger_rows",
            "Rows that were to be stored, by what became of the attempt.",
            ["result"],
            registry=registry,
        )
        self._ledger_lost = Counter(
            "askonce_ledger_lost", "Rows that are not in the ledger, by reason.", ["reason"], registry=registry
        )
        self._ledger_seconds = Histogram(
            "askonce_ledger_store_duration_seconds",
            "How long an attempt at storing a batch of rows took.",
            registry=registry,
            buckets=_DURATIONS,
        )
        self._backlog_rows = Gauge(
            "askonce_ledger_backlog_rows", "Rows still to be stored.", registry=registry, multiprocess_mode="livesum"
        )
        self._backlog_bytes = Gauge(
            "askonce_ledger_backlog_bytes", "Bytes of these rows.", registry=registry, multiprocess_mode="livesum"
        )

    def cost(self, model: str, nano: int) -> None:
        """Nano-dollars that an upstream call has cost."""
        self._due.tally(self._cost, self._model_label(model), per=_NANO).due += nano

    def saved(self, model: str, nano: int) -> None:
        """Nano-dollars that a call would have cost which was not made."""
        self._due.tally(self._saved, self._model_label(model), per=_NANO).due += nano

    def unpriced(self, model: str) -> None:
        self._due.tally(self._unpriced, self._model_label(model)).due += 1

    def estimated(self, model: str) -> None:
        self._due.tally(self._estimated, self._model_label(model)).due += 1

    def granted(self) -> None:
        self._granted.due += 1

    def refused(self, subject: str, kind: Kind) -> None:
        """`subject` is that of the limit which had no room, here and below."""
        self._due.tally(self._decisions, _sort(subject), kind._value_, "refused").due += 1

    def shadowed(self, subject: str, kind: Kind) -> None:
        """It would have been refused if the limit were enforced."""
        self._due.tally(self._decisions, _sort(subject), kind._value_, "shadowed").due += 1

    def warned(self, subject: str, kind: Kind) -> None:
        self._due.tally(self._warnings, _sort(subject), kind._value_).due += 1

    def fail_mode(self, subject: str, mode: OnFailure) -> None:
        """As it is configured; said again when that changes."""
        for each in OnFailure:
            self._fail_mode.labels(_sort(subject), each.value).set(1 if each is mode else 0)

    def key_refused(self, reason: str) -> None:
        """`reason` is the value of a key's refusal, or of a permission that it lacks."""
        self._due.tally(self._key_refusals, reason).due += 1

    def stored(self, outcome: _Labelled, rows: int, seconds: float) -> None:
        """An attempt at a batch of the ledger."""
        self._due.tally(self._ledger_rows, outcome.value).due += rows
        self._note_stored(seconds)

    def lost(self, loss: _Labelled, rows: int) -> None:
        """Rows of the ledger."""
        self._due.tally(self._ledger_lost, loss.value).due += rows

    def before_publish(self) -> None:
        if self.limiter_stats is not None:
            self._publish_limiter(self.limiter_stats())
        if self.keys_stats is not None:
            keys, up = self.keys_stats()
            self._keys.set(keys)
            self._keys_up.set(1 if up else 0)
        if self.backlog is not None:
            rows, size = self.backlog()
            self._backlog_rows.set(rows)
            self._backlog_bytes.set(size)

    def _publish_limiter(self, now: LimiterStats) -> None:
        before, self._limiter = self._limiter, now
        self._shared_up.set(1 if now.up else 0)
        self._waiting.set(now.waiting)
        self._settlements_lost.inc(now.lost - before.lost)
        self._given_up.inc(now.given_up - before.given_up)
        self._forgotten.inc(now.forgotten - before.forgotten)
        self._given_back.inc(now.given_back - before.given_back)


def _sort(subject: str) -> str:
    """Whether it is a key, a team, an upstream or all: which one it is would be a label without bound."""
    return subject.partition(":")[0]
