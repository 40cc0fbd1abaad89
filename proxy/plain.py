"""An answer that is no event stream → the client, and what it says that it used.

That depends on the answer alone: not on its route, nor on how the network has cut it.
"""

import asyncio
from collections.abc import Callable
from typing import Final, final

from cache.encoding import IDENTITY, Undecodable, decode
from proxy.errors import Failure
from proxy.exchange import Exchange, Express, Headers, Outcome, Reply, header
from proxy.openai.ends import HEAD, TAIL, WHOLE, Ends
from proxy.openai.tokens import used_of
from proxy.openai.usage import at_ends, brief, report_of

__all__ = ["Plain", "end_answer", "look_through", "refuse"]

MAX_READ: Final = 1 << 22
"""Bytes of an answer in hand that is looked through as a whole; of a larger one its ends are."""
MAX_DECODED: Final = 1 << 20


@final
class Plain:
    """A body that comes in pieces. Of JSON its ends are kept."""

    def __init__(
        self, exchange: Exchange, reply: Reply, done: asyncio.Future[None], clock: Callable[[], float]
    ) -> None:
        self._exchange = exchange
        self._headers = reply.headers
        self._done = done
        self._clock = clock
        self._write = exchange.client.write
        self.express: Express | None = None
        self._ends = Ends() if _may_tell(exchange, reply) else None
        self._ended = False

    def data(self, chunk: bytes) -> None:
        if self._ends is not None:
            self._ends.add(chunk)
        self._write(chunk)

    def end(self) -> None:
        self._ended = True
        self._exchange.upstream_ended_at = self._clock()
        end_answer(self._exchange, self._done)

    def leave(self) -> None:
        """Its client has been given all that there is, or has gone."""
        ends = self._ends
        if ends is None:
            return
        rest = ends.rest
        if not self._ended:
            _tell(self._exchange, b"", ends.size, rest)
        elif ends.head:
            _tell(self._exchange, at_ends(ends.head, rest), ends.size, rest)
        else:
            look_through(self._exchange, rest, self._headers)

    def fail(self, failure: Failure) -> None:
        exchange = self._exchange
        exchange.upstream_ended_at = self._clock()
        if not exchange.client.started:
            refuse(failure, self._done)
            return
        exchange.outcome, exchange.failure = Outcome.BROKEN, failure
        exchange.client.abort()
        if not self._done.done():
            self._done.set_result(None)


def end_answer(exchange: Exchange, done: asyncio.Future[None]) -> None:
    """All of it has come; or, where it was held until then, it is seen only now that it is not to be told."""
    try:
        exchange.client.finish()
    except Failure as failure:
        refuse(failure, done)
    if not done.done():
        done.set_result(None)


def refuse(failure: Failure, done: asyncio.Future[None]) -> None:
    """The client has been told nothing: whoever waits for the answer makes one of the failure."""
    if not done.done():
        done.set_exception(failure)


def look_through(exchange: Exchange, body: bytes, headers: Headers) -> None:
    """A whole answer. What is short is looked through when it is needed."""
    if len(body) <= WHOLE:
        coding = header(headers, b"content-encoding")
        exchange.usage_text = body if not coding or coding == IDENTITY else _decoded(body, coding)
        return
    found = brief(body) if len(body) <= MAX_READ else at_ends(body[:HEAD], body[-TAIL:])
    _tell(exchange, found, len(body), body[-TAIL:])


def _tell(exchange: Exchange, usage: bytes, came: int, tail: bytes) -> None:
    """What it used; or, where that is not known, how much came, unless whoever made the call tells that."""
    report = report_of(usage)
    used, cost = used_of(report.usage) if report is not None else ({}, None)
    if used or cost is not None:
        exchange.usage_text = usage
    elif not exchange.usage_text and not exchange.calls:
        exchange.upstream_bytes, exchange.tail = came, tail


def _decoded(body: bytes, coding: bytes) -> bytes:
    """Some upstreams encode whatever they are asked for."""
    try:
        plain = decode(coding, body, MAX_DECODED)
    except Undecodable:
        return b""
    return plain if plain.startswith(b"{") else b""


def _may_tell(exchange: Exchange, reply: Reply) -> bool:
    return exchange.method == "POST" and b"json" in header(reply.headers, b"content-type").lower()
