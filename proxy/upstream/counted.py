"""Streams whose clients did not ask what they used: the upstream is asked, and the client is not told."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, final

from proxy.errors import Failure
from proxy.exchange import Exchange, Express, Reply, Sink
from proxy.openai.splitting import part_usage
from proxy.upstream.call import Call
from proxy.upstream.whole_events import WholeEvents, is_event_stream

__all__ = ["Counting", "Stripped"]

REFUSED: Final = (400, 422)
"""What an upstream says to a member that it does not know; it has done nothing then."""
REMEMBERED: Final = 3_600.0
"""Seconds after which it is asked anew whether an upstream takes it: servers are replaced."""
MOST_REMEMBERED: Final = 256
LONGEST_MODEL: Final = 256


@final
class Remembered:
    """Models of upstreams, each for an hour; of too many, those that were named last."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: OrderedDict[tuple[bytes, str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def holds(self, asked: tuple[bytes, str, str], now: float) -> bool:
        return self._until.get(asked, 0.0) > now

    def add(self, asked: tuple[bytes, str, str], now: float) -> None:
        if len(asked[2]) > LONGEST_MODEL:
            return
        self._until[asked] = now + REMEMBERED
        self._until.move_to_end(asked)
        if len(self._until) > MOST_REMEMBERED:
            self._until.popitem(last=False)


@final
class Counting:
    """Knows which upstreams take `stream_options` for which models. `clock` is steady.

    What one that takes it refuses is its client's own mistake. Of a way that leads to several upstreams nobody knows
    beforehand who answers: the whole of it is asked plainly once one refuses, and who takes it is known by name.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refusing = Remembered()
        self._taking = Remembered()

    def __repr__(self) -> str:
        return f"<Counting {len(self._refusing)} refusing, {len(self._taking)} taking>"

    async def send(self, call: Call, exchange: Exchange, body: bytes, counted: bytes) -> Reply:
        """Asks for usage, and of an upstream that may not know that, as the client did. Raises Failure.

        `body` is as the client asked; `counted` the same, asking for usage (`proxy.openai.stream_options`).
        """
        way = call.identity, "", exchange.model
        if self._refusing.holds(way, self._clock()):
            return await call.send(exchange, body)
        reply = await call.send(exchange, counted)
        answering = call.identity, exchange.upstream, exchange.model
        if reply.status < 300:
            self._taking.add(answering, self._clock())
        if reply.status not in REFUSED or self._taking.holds(answering, self._clock()):
            return reply
        reply.abort()
        reply = await call.send(exchange, body)
        if reply.status < 300:
            self._refusing.add(way, self._clock())
        return reply


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

    def attach(self, sink: Sink, express: Express | None = None) -> None:
        if self._events is None:
            self._reply.attach(sink, express)
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
