"""The last stage of every exchange: what it was goes into the metrics and the log, exactly once."""

from collections.abc import Callable
from typing import Final, final

from proxy.errors import Kind, Source
from proxy.exchange import Exchange, Outcome
from proxy.openai.usage import tokens_of
from proxy.telemetry.log import Level, Log, RequestLine
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.redact import redacted

__all__ = ["Accounting"]

UNROUTED: Final = "unknown"
MAX_LABEL: Final = 128


@final
class Accounting:
    """`clock` is the one that an exchange's times were taken from."""

    def __init__(self, metrics: Metrics, log: Log, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._log = log
        self._clock = clock
        self._open: set[Exchange] = set()

    def __repr__(self) -> str:
        return f"<Accounting in_flight={len(self._open)}>"

    @property
    def in_flight(self) -> int:
        return len(self._open)

    def open(self, exchange: Exchange) -> None:
        if exchange not in self._open:
            self._open.add(exchange)
            self._metrics.request_opened()

    def close(self, exchange: Exchange) -> None:
        """Never raises; closing what is not open does nothing."""
        if exchange not in self._open:
            return
        self._open.discard(exchange)
        try:
            self._metrics.request_closed()
            self._record(exchange)
        except Exception as error:  # noqa: BLE001  (the last stage: nobody is left to tell but the log)
            self._log.failure("accounting_failed", error, call_id=exchange.call_id)

    def _record(self, exchange: Exchange) -> None:
        now = self._clock()
        status = _status(exchange)
        route = exchange.route.name if exchange.route else UNROUTED
        received, sent = exchange.body.received, exchange.client.sent
        kind = _error_kind(exchange)
        self._count(exchange, route, status, now)
        self._metrics.transferred(received, sent)
        started = exchange.upstream_started_at
        self._log.request(
            RequestLine(
                level=_level(exchange.outcome, kind),
                call_id=exchange.call_id,
                request_id=_label(exchange.upstream_id.decode("latin-1")),
                route=route,
                method=exchange.method,
                model=_label(exchange.model),
                status=status,
                outcome=exchange.outcome.value,
                error=kind.value if kind else None,
                bytes_in=received,
                bytes_out=sent,
                duration_ms=_ms(now - exchange.started_at),
                ttfb_ms=_ms(exchange.first_byte_at - exchange.started_at) if exchange.first_byte_at else None,
                upstream_ms=_ms((exchange.upstream_ended_at or now) - started) if started else None,
                upstream=exchange.upstream,
                attempts=exchange.attempts,
                stream=exchange.stream,
                peer=exchange.peer,
            )
        )

    def _count(self, exchange: Exchange, route: str, status: int, now: float) -> None:
        metrics = self._metrics
        duration = now - exchange.started_at
        streamed = exchange.event_stream
        metrics.request_finished(
            route, exchange.method, status, exchange.outcome.value, stream=streamed, seconds=duration
        )
        started = exchange.upstream_started_at
        if exchange.attempts:
            metrics.upstream_attempted(exchange.upstream, exchange.attempts)
            failure = _upstream_failure(exchange)
            if failure:
                metrics.upstream_failed(exchange.upstream, failure)
        if started and exchange.upstream_ended_at:
            metrics.overhead(duration - (exchange.upstream_ended_at - started))
        if exchange.model and exchange.attempts and 200 <= exchange.status < 300:
            metrics.model_answered(exchange.model)
        if streamed and exchange.first_byte_at:
            metrics.first_token(route, exchange.model, exchange.first_byte_at - exchange.started_at)
        if exchange.usage is not None:
            for kind, amount in tokens_of(exchange.usage).items():
                metrics.tokens(exchange.model, kind, amount)


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
    return Kind.CLIENT_CLOSED if exchange.outcome is Outcome.ABANDONED else None


def _upstream_failure(exchange: Exchange) -> str:
    """How the last attempt failed, "" if it did not: a failure's kind, a refusing status, an error in a stream."""
    failure = exchange.failure
    if failure is not None and failure.kind.source is Source.UPSTREAM:
        return failure.kind.value
    if exchange.outcome is Outcome.RELAYED and exchange.status == 429:
        return "status_429"
    if exchange.outcome is Outcome.RELAYED and exchange.status >= 500:
        return "status_5xx"
    if failure is None and exchange.outcome is Outcome.FAILED and exchange.event_stream:
        return "error_frame"
    return ""


def _level(outcome: Outcome, kind: Kind | None) -> Level:
    if kind is Kind.INTERNAL:
        return "error"
    return "warning" if outcome is Outcome.FAILED or outcome is Outcome.BROKEN else "info"


def _label(text: str) -> str:
    """A name that somebody else chose, fit for a log."""
    if len(text) <= MAX_LABEL and text.isascii() and text.isprintable() and "sk-" not in text:
        return text
    return redacted(text, MAX_LABEL)


def _ms(seconds: float) -> float:
    return int(seconds * 1e6) / 1e3
