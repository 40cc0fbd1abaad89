"""One upstream as a route asks it: what may be sent now, and what came of it."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from typing import Final, Protocol, final

from proxy.admission.gate import Priority
from proxy.errors import Failure, Kind
from proxy.exchange import Body, Exchange, LiveReply
from proxy.upstream.breaker import Result, State
from proxy.upstream.call import UpstreamCall
from proxy.upstream.deadlines import CallTimeouts, asked_for
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.key_pool import KeyPool
from proxy.upstream.retry import FAULTS, Seen, failed, result_of
from proxy.upstream.whole_events import is_event_stream

__all__ = ["REFUSING", "Charge", "Member", "MemberEvents", "priority_of"]

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
TOO_MANY: Final = 429
TOO_BUSY: Final = (429, 503)
REFUSING: Final = (UNAUTHORIZED, FORBIDDEN, TOO_MANY)
"""Whoever is sent there next is likely to hear the same."""
REST: Final = 1.0
"""Seconds for which a key rests that was refused for a limit, where the upstream does not say for how long."""
SUSPENDED: Final = 60.0
BRIEFLY: Final = 0.5
"""Seconds in which a slot may come free that is worth waiting for."""
HURRY: Final = 0.1
"""Seconds by which a deadline may be noticed early or late."""
NO_PERMIT: Final = 0
"""Where there is no breaker to ask."""
NO_KEY: Final = -1
PENALTY: Final = 1.0
"""Seconds by which a failure counts as slower than it was: who fails fast is not fast."""
ERROR_FRAME: Final = "error_frame"
# To find a member of an enum takes ten times as long.
CLOSED: Final = State.CLOSED
SUCCEEDED: Final = Result.SUCCEEDED
FAILED: Final = Result.FAILED
UNKNOWN: Final = Result.UNKNOWN
INTERACTIVE: Final = Priority.INTERACTIVE


class Charge(Protocol):
    def charge(self, exchange: Exchange, body: bytes | Body, upstream: str) -> Awaitable[None] | None:
        """Reserves what a call may come to: what is to be waited for, if anything. Raises Failure, here or there."""


class MemberEvents(Protocol):
    """What is counted."""

    def attempted(self, upstream: str) -> None: ...
    def failed(self, upstream: str, how: str) -> None: ...
    def refused(self, upstream: str) -> None:
        """Nothing was sent: its breaker is open, or no key of it may be used."""


@final
class Member:
    """Implements `balance.Candidate`. `timed`: its route goes by latency."""

    __slots__ = (
        *("_call", "_charge", "_clock", "_events", "_timed", "_timeouts", "_within"),
        *("alternatives", "endpoint", "identity", "latency", "name", "weight"),
    )

    def __init__(
        self,
        endpoint: Endpoint,
        call: UpstreamCall,
        timeouts: CallTimeouts,
        charge: Charge | None,
        events: MemberEvents,
        clock: Callable[[], float],
        *,
        weight: int = 1,
        timed: bool = False,
    ) -> None:
        self.name = endpoint.name
        self.identity = call.identity
        self.endpoint = endpoint
        self.latency = endpoint.latency
        self.weight = weight
        self.alternatives: Sequence[Member] = ()
        """The others of its route."""
        self._call = call
        self._timeouts = timeouts
        self._charge = charge
        self._events = events
        self._clock = clock
        self._timed = timed
        self._within = timeouts.plain.connect + timeouts.plain.first_byte + HURRY
        """Seconds in which a call has a head, or has failed."""

    def __repr__(self) -> str:
        return f"<Member {self.name} weight={self.weight}>"

    @property
    def busy(self) -> int:
        return self.endpoint.gate.busy

    def may_be_asked(self, model: str) -> bool:
        """It is not left alone, and not all of its keys rest."""
        breaker, keys = self.endpoint.breaker, self.endpoint.keys
        return (breaker is None or breaker.left <= 0) and (keys is None or keys.left(model) <= 0)

    def _has_alternative(self, model: str) -> bool:
        return any(each.may_be_asked(model) for each in self.alternatives)

    def has_key(self, exchange: Exchange) -> bool:
        """Another of its keys may be used: one that was not refused for the same request."""
        keys = self.endpoint.keys
        return keys is not None and len(keys) > 1 and keys.has_key(exchange.model, exchange.refusals)

    async def send(self, exchange: Exchange, body: bytes | Body, *, others: bool = False) -> LiveReply:
        """Sends once, if it may. `others` come after it, so that it waits for no slot for long if one may be asked.

        Raises Failure.
        """
        endpoint = self.endpoint
        breaker, gate, keys = endpoint.breaker, endpoint.gate, endpoint.keys
        if breaker is not None and breaker.state is not CLOSED and not breaker.allows():
            raise self._unavailable(exchange)
        if keys is not None and (
            keys.left(exchange.model) > 0 or (others and self._has_alternative(exchange.model) and keys.gives_way())
        ):
            raise self._unavailable(exchange)
        exchange.sent_model = self._call.known_as(exchange.model)
        if self._charge is not None:
            waits = self._charge.charge(exchange, body, self.name)
            if waits is not None:
                await waits
        priority = INTERACTIVE if exchange.key is None else priority_of(exchange)
        if not gate.enter_now(priority):
            until = _deadline(exchange)
            if others and self._has_alternative(exchange.model):
                until = min(until, self._clock() + BRIEFLY)
            await gate.enter(priority, until)
        # Much may have come about while it waited.
        index = NO_KEY if keys is None else keys.pick(exchange.model, exchange.refusals)
        permit = None if index is None else NO_PERMIT if breaker is None else breaker.enter(self._within)
        if index is None or permit is None:
            gate.leave()
            raise self._unavailable(exchange)
        key = b"" if keys is None else keys.key(index)
        result, failure, ended = UNKNOWN, None, 0
        try:
            self._events.attempted(self.name)
            reply = await self._call.send(exchange, body, self._timeouts, key)
            result = FAILED if reply.status >= 400 and failed(reply.status) else SUCCEEDED
        except Failure as caught:
            failure, result = caught, self._result(exchange, caught)
            raise
        finally:
            if breaker is not None:
                # A refusal says that it lives, and not that it serves.
                good = result is not SUCCEEDED or (reply.status < 400 and reply.over)
                ended = breaker.leave(permit, result, exchange.upstream_started_at if good else inf)
            if result is not SUCCEEDED:
                self._failed(exchange, failure, result)
        if keys is None and reply.over and reply.status < 400 and not exchange.stream:
            # Here most answers come and go: of these nothing is left to be found out.
            clock = self._clock
            taken = clock() - exchange.upstream_started_at
            if not endpoint.proven:
                endpoint.succeeded()
            gate.leave(taken)
            if self._timed:
                endpoint.latency.observe(taken)
            if breaker is not None and breaker.openings:
                breaker.came_whole(permit)
            return reply
        return self._answered(exchange, reply, permit, ended, index)

    def _result(self, exchange: Exchange, failure: Failure) -> Result:
        result = result_of(Seen.of(failure))
        return UNKNOWN if result is FAILED and self._was_hurried(exchange, failure) else result

    def _was_hurried(self, exchange: Exchange, failure: Failure) -> bool:
        """Its client gave it less time than it is given otherwise, and that was over: no fault of the upstream's."""
        allowed = self._timeouts.plain
        longest = allowed.first_byte if failure.kind is Kind.UPSTREAM_TIMEOUT else allowed.connect
        asked = asked_for(exchange.headers, streams=exchange.stream)
        return self._ended_by_client(exchange, asked, exchange.upstream_started_at + longest)

    def _was_cut_short(self, exchange: Exchange, failure: Failure, started: float) -> bool:
        """The same of a body, of which a client can shorten the whole, and not the time between two bytes."""
        if failure.kind is not Kind.UPSTREAM_TIMEOUT or exchange.stream:
            return False
        asked = asked_for(exchange.headers, streams=True)
        return self._ended_by_client(exchange, asked, started + self._timeouts.plain.total)

    def _ended_by_client(self, exchange: Exchange, asked: float | None, end: float) -> bool:
        """`end`: when the call would have been over otherwise."""
        now = self._clock()
        return asked is not None and exchange.started_at + asked - HURRY <= now < end - HURRY

    def _failed(self, exchange: Exchange, failure: Failure | None, result: Result) -> None:
        """No head of an answer came, or one that speaks of a failure."""
        if failure is not None or result is UNKNOWN:
            late = result is FAILED and failure is not None and failure.kind is Kind.UPSTREAM_TIMEOUT
            self.endpoint.gate.leave(dropped=late)
        if result is FAILED:
            started = exchange.upstream_started_at
            how = failure.kind.value if failure is not None else "status_5xx"
            self._blamed(how, started, self._clock() - started)

    def _blamed(self, how: str, started: float, taken: float) -> None:
        """It has failed; `taken` are the seconds until that was known, or until there was a head."""
        self.endpoint.failed(self._clock(), started)
        self.endpoint.latency.observe(taken + PENALTY)
        self._events.failed(self.name, how)

    def _answered(self, exchange: Exchange, reply: LiveReply, permit: int, ended: int, index: int) -> LiveReply:
        status, started = reply.status, exchange.upstream_started_at
        endpoint = self.endpoint
        if status >= 400:
            self._cool(exchange, reply, index)
        elif endpoint.keys is not None:
            endpoint.keys.works(index)
            if exchange.refusals:
                endpoint.keys.blame(exchange.refusals)
        if status < 400 and self._timed:
            if is_event_stream(reply):
                reply.at_first(lambda: endpoint.latency.observe(self._clock() - started))
            else:
                endpoint.latency.observe(self._clock() - started)
        taken = self._clock() - started
        seconds = None
        if status < 400:
            seconds = taken
            if not endpoint.proven:
                endpoint.succeeded()
        course, over = _Course(exchange, permit, ended, taken), reply.over
        if over:
            self._over(course, reply, seconds)
        else:
            reply.at_end(partial(self._over, course, reply, seconds))
        if (exchange.stream or not over) and not failed(status):
            reply.at_fault(partial(self._broke, course))
        return reply

    def _over(self, course: "_Course", reply: LiveReply, seconds: float | None) -> None:
        """No more of it comes. `seconds` to its head, if that was a good one."""
        breaker = self.endpoint.breaker
        self.endpoint.gate.leave(seconds, dropped=reply.status in TOO_BUSY)
        if breaker is not None and reply.over and not course.blamed and not failed(reply.status):
            course.whole = breaker.came_whole(course.permit, inf if seconds is None else course.started)

    def _broke(self, course: "_Course", failure: Failure | None) -> None:
        """An answer that had begun well has broken off, or says that it failed."""
        course.blamed = True
        if failure is not None:
            of_others = failure.kind not in FAULTS
            if of_others or self._was_cut_short(course.exchange, failure, course.started):
                return
        if self.endpoint.breaker is not None:
            self.endpoint.breaker.broke(course.permit, course.ended, course.started, whole=course.whole)
        self._blamed(ERROR_FRAME if failure is None else failure.kind.value, course.started, course.taken)

    def _cool(self, exchange: Exchange, reply: LiveReply, index: int) -> None:
        """A key that met a limit rests, and one that was refused is in doubt; others of the same upstream go on."""
        keys: KeyPool | None = self.endpoint.keys
        if reply.status in REFUSING:
            self.endpoint.failed(self._clock(), exchange.upstream_started_at)
        if reply.status == TOO_MANY:
            self._events.failed(self.name, "status_429")
            if self._timed:
                self.endpoint.latency.observe(self._clock() - exchange.upstream_started_at + PENALTY)
        if keys is None:
            return
        if reply.status == TOO_MANY:
            after = Seen.told(reply.status, reply.headers).retry_after
            if after is not None or len(keys) > 1:
                keys.rest(index, exchange.model, REST if after is None else after)
        elif reply.status in (UNAUTHORIZED, FORBIDDEN):
            # 403 may be for this model alone.
            model = exchange.model if reply.status == FORBIDDEN else None
            exchange.refusals = keys.refused(index, model, SUSPENDED, exchange.refusals)

    def _unavailable(self, exchange: Exchange) -> Failure:
        self._events.refused(self.name)
        breaker, keys = self.endpoint.breaker, self.endpoint.keys
        seconds, why = 0.0, "breaker open"
        if breaker is not None and not breaker.allows():
            seconds = breaker.retry_after()
        elif keys is not None:
            seconds = keys.left(exchange.model)
            why = "every key rests" if seconds > 0 else "its keys are refused"
        return Failure(
            Kind.UPSTREAM_UNAVAILABLE, unprocessed=True, retry_after=max(1.0, seconds), detail=f"{self.name}: {why}"
        )


@final
class _Course:
    """What is known of an answer between its head and its end. `ended`: the row of failures that its head ended."""

    __slots__ = ("blamed", "ended", "exchange", "permit", "started", "taken", "whole")

    def __init__(self, exchange: Exchange, permit: int, ended: int, taken: float) -> None:
        self.exchange = exchange
        self.started = exchange.upstream_started_at
        self.taken = taken
        """Seconds to its head."""
        self.permit = permit
        self.ended = ended
        self.blamed = self.whole = False

    def __repr__(self) -> str:
        return f"<_Course whole={self.whole} blamed={self.blamed}>"


def _deadline(exchange: Exchange) -> float:
    """When its client no longer waits."""
    asked = asked_for(exchange.headers, streams=exchange.stream)
    return inf if asked is None else exchange.started_at + asked


def priority_of(exchange: Exchange) -> Priority:
    """As its key says."""
    return Priority.BATCH if exchange.key is not None and exchange.key.priority == "batch" else INTERACTIVE
