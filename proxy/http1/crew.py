"""Tasks that serve one exchange after another.

One task for each exchange would cost as much as to read its head: to name it, to have it known to all, to forget it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final, TypeAlias, final

from proxy.errors import Failure
from proxy.exchange import Exchange

__all__ = ["Crew", "Serve"]

SPARE: Final = 256
"""Tasks that wait for more to do, at most; others end."""

Serve: TypeAlias = Callable[[Exchange], Coroutine[None, None, None]]
"""Raises nothing, also when it is cancelled; if it does, the task that serves ends with it."""


async def _nothing(_: Exchange) -> None:
    pass


@final
class _Hand:
    __slots__ = ("called", "exchange", "serve", "task")

    task: "asyncio.Task[None]"
    called: "asyncio.Future[None]"
    """While it has nothing to do."""

    def __init__(self, exchange: Exchange, serve: Serve) -> None:
        self.exchange: Exchange | None = exchange
        self.serve = serve

    def __repr__(self) -> str:
        return f"<_Hand {self.exchange!r}>"


@final
class Crew:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.serving: dict[Exchange, asyncio.Task[None]] = {}
        self._loop = loop
        self._idle: list[_Hand] = []
        self._over: asyncio.Future[None] | None = None
        self._spare = SPARE

    def __repr__(self) -> str:
        return f"<Crew {len(self.serving)} serving, {len(self._idle)} idle>"

    def start(self, exchange: Exchange, serve: Serve) -> None:
        if self._idle:
            hand = self._idle.pop()
            hand.exchange, hand.serve = exchange, serve
            hand.called.set_result(None)
        else:
            hand = _Hand(exchange, serve)
            hand.task = self._loop.create_task(self._work(hand))
            hand.task.add_done_callback(partial(self._gone, hand))
        self.serving[exchange] = hand.task

    def cut(self, exchange: Exchange, failure: Failure) -> None:
        """Ends it with `failure`, if it is served still."""
        task = self.serving.get(exchange)
        if task is not None:
            exchange.cut_by = failure
            task.cancel()

    def over(self) -> "asyncio.Future[None]":
        """Done once nothing is served."""
        over = self._over
        if over is None or over.done():
            over = self._over = self._loop.create_future()
            if not self.serving:
                over.set_result(None)
        return over

    def dismiss(self) -> None:
        """Those who have nothing to do, and others once they have done what they do."""
        self._spare = 0
        idle, self._idle = self._idle, []
        for hand in idle:
            hand.task.cancel()

    async def _work(self, hand: _Hand) -> None:
        while hand.exchange is not None:
            await hand.serve(hand.exchange)
            self._done(hand)
            # Who was told to stop might be told so again, or take it for a time-out.
            if hand.task.cancelling() or len(self._idle) >= self._spare:
                return
            hand.called = self._loop.create_future()
            self._idle.append(hand)
            await hand.called

    def _done(self, hand: _Hand) -> None:
        # Who waits holds on to nothing: settings may change before it is called again.
        exchange, hand.exchange, hand.serve = hand.exchange, None, _nothing
        if exchange is not None:
            del self.serving[exchange]
            if self._over is not None and not self.serving and not self._over.done():
                self._over.set_result(None)

    def _gone(self, hand: _Hand, _: "asyncio.Task[None]") -> None:
        # It may have been cancelled before it had begun with the last one.
        self._done(hand)
