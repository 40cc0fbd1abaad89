"""A client's part in an upstream call that it shares with others."""

import asyncio
import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from cache.entry import Entry
from cache.status import CacheStatus
from proxy.caching.question import Alike
from proxy.errors import Failure
from proxy.exchange import CacheNote, Exchange, Express, Headers, Reply, Sink, header
from proxy.openai.splitting import part_usage

if TYPE_CHECKING:
    from proxy.caching.flight import Flight

__all__ = ["SHARED", "Landing", "News", "Share", "followed", "made_by"]

SHARED: Final = frozenset(
    [
        *(b"content-type", b"content-encoding", b"cache-control", b"vary"),
        *(b"x-request-id", b"retry-after", b"retry-after-ms", b"x-should-retry"),
    ]
)
"""Fields of an answer that are told to others than the client it was asked for: no cookie, no rate limit."""


@final
class Landing(enum.Enum):
    """What a flight is to those who waited, where it has no answer for them."""

    ALONE = "alone"
    """The answer is good for one only: each asks for itself."""
    AGAIN = "again"
    """The upstream failed, or what it said was purged: one of those who waited asks anew."""


@final
class Share:
    """One client's part in a flight. Implements `exchange.Reply`.

    `stream`: it asked for one. `strip`: it did not ask for the frame of usage.
    `leads`: the call is made for it. `tried`: it has followed before, and in vain.
    `as_it_came`: it wants what the upstream sends and no entry.
    """

    __slots__ = (
        "_cut",
        "_done",
        "_flight",
        "_sink",
        "as_it_came",
        "framed",
        "headers",
        "leads",
        "length",
        "news",
        "paused",
        "position",
        "status",
        "stream",
        "strip",
        "told",
        "tried",
    )

    def __init__(
        self,
        flight: "Flight",
        loop: asyncio.AbstractEventLoop,
        *,
        stream: bool,
        strip: bool,
        leads: bool = False,
        tried: bool = False,
        as_it_came: bool = False,
    ) -> None:
        self.stream, self.strip, self.leads, self.tried = stream, strip, leads, tried
        self.as_it_came = as_it_came
        self.news: asyncio.Future[News] = loop.create_future()
        self.status = 0
        self.headers: Headers = []
        self.length: int | None = None
        self.framed = True
        self.paused = False
        self.told: Callable[[bytes], object] = bool
        """Given the JSON of what is stripped."""
        self.position = 0
        """Blocks taken."""
        self._flight = flight
        self._sink: Sink | None = None
        self._done = False
        self._cut: Failure | None = None

    def __repr__(self) -> str:
        return f"<Share at {self.position} of {self._flight.length}{' paused' if self.paused else ''}>"

    @property
    def upstream(self) -> str:
        """Whose answer it is."""
        return self._flight.upstream

    @property
    def sent_model(self) -> str:
        """The model that it was asked for."""
        return self._flight.sent_model

    def tell(self, news: "News") -> None:
        if not self.news.done():
            self.news.set_result(news)

    def whole(self) -> bytes | None:
        failure = self._cut or self._flight.failure
        if failure is not None:
            raise failure.copy()
        return self._flight.body()

    def attach(self, sink: Sink, express: Express | None = None) -> None:
        self._sink = sink
        self.advance()

    def pause(self) -> None:
        self.paused = True
        self._flight.balance()

    def resume(self) -> None:
        self.paused = False
        self.advance()
        self._flight.balance()

    def abort(self) -> None:
        self._flight.leave(self)

    def blame(self, failure: Failure | None) -> None:
        self._flight.blame(failure)

    def advance(self) -> None:
        """Gives the client what it has not had, as far as it takes it."""
        sink, flight = self._sink, self._flight
        if sink is None or self._done:
            return
        if self._cut is not None:
            self._finish(sink, self._cut)
            return
        length = flight.length
        while not self.paused and self.position < length:
            block = flight.block(self.position)
            self.position += 1
            if self.strip:
                block, usage = part_usage(block)
                if usage:
                    self.told(usage)
            if block:
                sink.data(block)
            length = flight.length
        if flight.over and self.position >= flight.length:
            self._finish(sink, flight.failure)

    def cut(self, failure: Failure) -> None:
        """No further; also where its client has taken nothing yet."""
        self._cut = failure
        self.advance()

    def _finish(self, sink: Sink, failure: Failure | None) -> None:
        if self._done:
            return
        self._done = True
        if failure is None:
            sink.end()
        else:
            sink.fail(failure.copy())


def followed(exchange: Exchange, note: CacheNote, answer: Reply) -> None:
    """It has the answer to another's request: says so, and who made that."""
    note.status, note.collapsed = CacheStatus.COALESCED, True
    exchange.upstream_id = header(answer.headers, b"x-request-id")
    if isinstance(answer, Share):
        note.upstream, note.sent_model = answer.upstream, answer.sent_model


def made_by(note: CacheNote, entry: Entry) -> None:
    """Who made what it is given, and what that has used."""
    note.usage, note.upstream, note.sent_model = entry.usage, entry.upstream, entry.sent_model or entry.model
    note.served_model, note.tier = entry.served_model, entry.tier


News = Share | Entry | Alike | Landing | Failure
"""What a client hears of a flight: its part in it, what it ended in, or why it has neither."""
