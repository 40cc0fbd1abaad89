"""The last stage of every exchange: what it was goes into the metrics and the log, exactly once."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, final

from proxy.billing import Bills
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Outcome
from proxy.telemetry.log import Level, Log, RequestLine
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.redact import redacted

__all__ = ["Accounting"]

UNROUTED: Final = "unknown"
REQUEST: Final = "request"
MAX_LABEL: Final = 128
# A member of an enum takes ten times as long to find, and so does its `value`, which is its `_value_`.
RELAYED: Final = Outcome.RELAYED
BATCH: Final = 32
"""Exchanges that are written down in one go: the same work costs half as much as when it is done between others."""


@final
class Accounting:
    """`clock` is the one that an exchange's times were taken from."""

    def __init__(self, bills: Bills, metrics: Metrics, log: Log, clock: Callable[[], float]) -> None:
        self.bills = bills
        self._metrics = metrics
        self._log = log
        self._clock = clock
        self._open: set[Exchange] = set()
        self._closed: list[Exchange] = []
        self._lines: list[bytes] = []
        metrics.before_publish = self.settle

    def __repr__(self) -> str:
        return f"<Accounting in_flight={len(self._open)}>"

    @property
    def in_flight(self) -> int:
        return len(self._open)

    def open(self, exchange: Exchange) -> None:
        self._open.add(exchange)

    def close(self, exchange: Exchange) -> None:
        """Never raises; closing what is not open does nothing."""
        if exchange not in self._open:
            return
        self._open.remove(exchange)
        clock = self._clock
        exchange.ended_at = clock()
        self._closed.append(exchange)
        if exchange.bill is not None or self.bills.write is not None:
            self._finish(exchange)
        if len(self._closed) >= BATCH:
            self.settle()

    def used(self, exchange: Exchange, report: bytes) -> None:
        """What an answer says it used, and who served it, JSON; its client may have left before it was complete."""
        exchange.usage_text = report

    def over(self, exchange: Exchange) -> None:
        """A call that was made for it has ended, which its client may have left before. Never raises."""
        if exchange.calls or exchange in self._open:
            return
        try:
            self.bills.settle(exchange)
            self.bills.expect(exchange)
            if exchange not in self._closed:
                route, status, kind = _ended(exchange)
                self.bills.account(exchange, route, status, kind.value if kind else "")
                self.bills.count(exchange, route)
        except Exception as error:  # noqa: BLE001  (as in `settle`)
            self._log.failure("accounting_failed", error, call_id=exchange.call_id)

    def _finish(self, exchange: Exchange) -> None:
        """Gives back at once what others may wait for. The ledger has a mark of it, until it has its row."""
        try:
            self.bills.leave(exchange)
            if not exchange.calls:
                self.bills.settle(exchange)
                self.bills.expect(exchange)
        except Exception as error:  # noqa: BLE001  (as in `settle`)
            self._log.failure("accounting_failed", error, call_id=exchange.call_id)

    def refused(self, failure: Failure, call_id: str, peer: str, sent: int, seconds: float) -> None:
        """An answer of so many bytes to what never became an exchange: bytes that are no request, a connection too
        many. `seconds` since they began.
        """
        self.settle()
        self._metrics.bytes_sent += sent
        status, outcome, detail = failure.status, Outcome.REFUSED.value, redacted(str(failure))
        self._metrics.request_finished(UNROUTED, "", status, outcome, stream=False, seconds=seconds)
        self._log.request(
            RequestLine(
                time=self._log.stamp(self._log.wall()),
                level="info",
                event=REQUEST,
                call_id=call_id,
                request_id="",
                route=UNROUTED,
                method="",
                model="",
                status=status,
                outcome=outcome,
                error=failure.kind.value,
                detail=detail,
                bytes_in=0,
                bytes_out=sent,
                duration_ms=seconds * 1e6 // 1 / 1e3,
                ttfb_ms=None,
                upstream_ms=None,
                upstream="",
                attempts=0,
                stream=False,
                cache=None,
                key="",
                peer=peer,
            )
        )

    def settle(self) -> None:
        """Writes down what has been closed; also happens whenever the metrics are published. Never raises."""
        self._metrics.in_flight = len(self._open)
        closed, self._closed = self._closed, []
        since_epoch = self._log.wall() - self._clock()
        for exchange in closed:
            try:
                self._record(exchange, since_epoch)
            except Exception as error:  # noqa: BLE001  (the last stage: nobody is left to tell but the log)
                self._log.failure("accounting_failed", error, call_id=exchange.call_id)
        lines, self._lines = self._lines, []
        self._log.put(lines)

    def _record(self, exchange: Exchange, since_epoch: float) -> None:
        """`since_epoch`: seconds that make a time of the day of one by the clock."""
        now = exchange.ended_at
        route, status, kind = _ended(exchange)
        level: Level = "info" if exchange.outcome is RELAYED else _level(exchange.outcome, kind)
        self._count(exchange, route, status, now - exchange.started_at)
        self._write(exchange, self._log.stamp(now + since_epoch), route, status, kind, level)
        if not exchange.calls:
            self.bills.account(exchange, route, status, kind.value if kind else "")
            self.bills.count(exchange, route)

    def _count(self, exchange: Exchange, route: str, status: int, duration: float) -> None:
        metrics = self._metrics
        metrics.bytes_received += exchange.body.received
        metrics.bytes_sent += exchange.client.sent
        stream = exchange.event_stream
        metrics.request_finished(
            route, exchange.method, status, exchange.outcome._value_, stream=stream, seconds=duration
        )
        if exchange.attempts:
            self._count_upstream(exchange, duration)
            if stream and exchange.first_byte_at:
                metrics.first_token(route, exchange.model, exchange.first_byte_at - exchange.started_at)
        if exchange.note is not None:
            metrics.cache.answered(route, exchange.note.status._value_)

    def _count_upstream(self, exchange: Exchange, duration: float) -> None:
        metrics = self._metrics
        if exchange.upstream_ended_at:
            elsewhere = exchange.upstream_ended_at - exchange.asked_at
            metrics.overhead(duration - elsewhere - (exchange.received_at - exchange.identified_at))
        if exchange.outcome is RELAYED and exchange.status < 300:
            metrics.model_answered(exchange.model)

    def _write(self, exchange: Exchange, time: str, route: str, status: int, kind: Kind | None, level: Level) -> None:
        started, first_byte, asked = exchange.started_at, exchange.first_byte_at, exchange.asked_at
        ended = exchange.ended_at
        # By place: names would be looked for, which costs five times as much. (`// 1` leaves out what is below 1 µs.)
        line = RequestLine(
            time,
            level,
            REQUEST,
            exchange.call_id,
            _label(exchange.upstream_id.decode("latin-1")),
            route,
            exchange.method,
            _known_label(exchange.model),
            status,
            exchange.outcome._value_,
            kind.value if kind else None,
            _detail(exchange) if kind else None,
            exchange.body.received,
            exchange.client.sent,
            (ended - started) * 1e6 // 1 / 1e3,
            (first_byte - started) * 1e6 // 1 / 1e3 if first_byte else None,
            ((exchange.upstream_ended_at or ended) - asked) * 1e6 // 1 / 1e3 if asked else None,
            exchange.upstream,
            exchange.attempts,
            exchange.stream,
            exchange.note.status._value_ if exchange.note else None,
            exchange.account,
            exchange.peer,
        )
        self._lines.append(self._log.rendered(line))


def _ended(exchange: Exchange) -> tuple[str, int, Kind | None]:
    """The name of its route, its status, and what went wrong."""
    route = exchange.route.name if exchange.route else UNROUTED
    if exchange.outcome is RELAYED:
        return route, exchange.status, None
    return route, _status(exchange), _error_kind(exchange)


def _status(exchange: Exchange) -> int:
    """What the client got; 499 where it left before it got anything."""
    if exchange.outcome is Outcome.ABANDONED and not exchange.client.started:
        return Kind.CLIENT_CLOSED.status
    if exchange.status:
        return exchange.status
    return exchange.failure.status if exchange.failure else 0


def _error_kind(exchange: Exchange) -> Kind | None:
    failure = exchange.failure or exchange.cut_by
    if failure is not None:
        return failure.kind
    if exchange.outcome is Outcome.FAILED:
        # What the upstream said itself, in its own words, in a stream that had begun well.
        return Kind.UPSTREAM_ERROR
    return Kind.CLIENT_CLOSED if exchange.outcome is Outcome.ABANDONED else None


def _detail(exchange: Exchange) -> str | None:
    failure = exchange.failure or exchange.cut_by
    return redacted(failure.detail) if failure is not None and failure.detail else None


def _level(outcome: Outcome, kind: Kind | None) -> Level:
    if kind is Kind.INTERNAL:
        return "error"
    return "warning" if outcome is Outcome.FAILED or outcome is Outcome.BROKEN else "info"


def _label(text: str) -> str:
    """A name that somebody else chose, fit for a log."""
    if len(text) <= MAX_LABEL and text.isascii() and text.isprintable() and "sk-" not in text:
        return text
    return redacted(text, MAX_LABEL)


_known_label = lru_cache(maxsize=1_024)(_label)
"""Of names that come again."""
