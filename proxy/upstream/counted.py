"""Streams whose clients did not ask what they used: the upstream is asked, and the client is not told."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, final

from proxy.errors import Failure
from proxy.exchange import Exchange, Reply, Sink
from proxy.openai.splitting import part_usage
from proxy.upstream.call import Call
from proxy.upstream.whole_events import WholeEvents, is_event_stream

__all__ = ["Counting", "Stripped"]

REFUSED: Final = (400, 422)
"""What an upstream says to a member that it does not know; it has done nothing then."""
REMEMBERED: Final = 3_600.0
"""Seconds for which nobody asks again whether an upstream has learnt it."""
MOST_REFUSING: Final = 256
LONGEST_MODEL: Final = 256


@final
class Counting:
    """Knows the upstreams and models that take no `stream_options`. `clock` is steady."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refusing: OrderedDict[tuple[bytes, str], float] = OrderedDict()
        """Each with the time until which it is remembered."""

    def __repr__(self) -> str:
        return f"<Counting {len(self._refusing)} refusing>"

    async def send(self, call: Call, exchange: Exchange, body: bytes, counted: bytes) -> Reply:
        """Asks for usage, and of an upstream that refuses that, as the client did. Raises Failure.

        `body` is as the client asked; `counted` the same, asking for usage (`proxy.openai.stream_options`).
        """
        asked = call.identity, exchange.model
        if self._refusing and self._refusing.get(asked, 0.0) > self._clock():
            return await call.send(exchange, body)
        reply = await call.send(exchange, counted)
        if reply.status not in REFUSED:
            return reply
        reply.abort()
        reply = await call.send(exchange, body)
        if reply.status < 300 and len(exchange.model) <= LONGEST_MODEL:
            self._remember(asked)
        return reply

    def _remember(self, asked: tuple[bytes, str]) -> None:
        self._refusing.pop(asked, None)
        self._refusing[asked] = self._clock() + REMEMBERED
        if len(self._refusing) > MOST_REFUSING:
            self._refusing.popitem(last=False)


@final
class Stripped:
    """A reply without the frames that tell its usage and nothing else. Implements `exchange.Reply` and `exchange.Sink`.

    `told` is given the JSON of each of them. A reply that is no stream of events is passed on as it is.
    """

    __slots__ = ("_events", "_reply", "_sink", "_told", "framed", "headers", "length", "status")

    def __init__(self, reply: Reply, told: Callable[[bytes], object]) -> None:
        self._events = WholeEvents() if is_event_stream(reply) else None
        self._reply = reply
        self._sink: Sink | None = None
        self._told = told
        self.status, self.headers, self.framed = reply.status, reply.headers, reply.framed
        self.length = reply.length if self._events is None else None

    def __repr__(self) -> str:
        return f"<Stripped {self._reply!r}>"

    # the pipeline's side

    def whole(self) -> bytes | None:
        body = self._reply.whole()
        return body if self._events is None or body is None else self._less(body)

    def attach(self, sink: Sink) -> None:
        if self._events is None:
            self._reply.attach(sink)
        else:
            self._sink = sink
            self._reply.attach(self)

    def pause(self) -> None:
        self._reply.pause()

    def resume(self) -> None:
        self._reply.resume()

    def abort(self) -> None:
        self._reply.abort()

    def blame(self, failure: Failure | None) -> None:
        self._reply.blame(failure)

    # the upstream's side

    def data(self, chunk: bytes) -> None:
        if self._sink is not None and self._events is not None:
            block = self._less(self._events.feed(chunk))
            if block:
                self._sink.data(block)

    def end(self) -> None:
        sink = self._let_go()
        if sink is not None:
            sink.end()

    def fail(self, failure: Failure) -> None:
        sink = self._let_go()
        if sink is not None:
            sink.fail(failure)

    def _let_go(self) -> Sink | None:
        """Of what has no end; it is passed on, as it would have been."""
        sink, self._sink = self._sink, None
        if sink is not None and self._events is not None and (rest := self._events.rest()):
            sink.data(rest)
        return sink

    def _less(self, block: bytes) -> bytes:
        kept, usage = part_usage(block)
        if usage:
            self._told(usage)
        return kept
