"""Between an answer that failed and the stored one that goes before it nothing is lost."""

import asyncio
from collections.abc import Sequence
from typing import Any

from proxy.answering import Answering
from proxy.exchange import CacheNote, Exchange
from tests.fakes.attempts import BODY, exchange_of, scripted
from tests.fakes.clock import Clock
from tests.fakes.legs import route
from tests.fakes.seams import FakeReply


class SlowRecall:
    """Takes for ever to put together what is stored."""

    def __init__(self) -> None:
        self.looked = asyncio.Event()

    async def question(self, exchange: Exchange, *_: object, first: bool) -> object:
        exchange.note = CacheNote("")
        return object()

    async def ask(self, exchange: Exchange, question: object, call: Any) -> Any:
        return await call.send(exchange, BODY)

    async def instead(self, exchange: Exchange, notes: Sequence[CacheNote]) -> None:
        self.looked.set()
        await asyncio.Event().wait()


async def test_a_client_leaves_while_another_answer_is_put_together() -> None:
    """The one that failed is given up: whoever shares it waits for nobody who has left."""
    clock, failed, recall = Clock(), FakeReply(500), SlowRecall()
    exchange = exchange_of(clock)
    assert exchange.route is not None
    answering = Answering((recall, None), None)  # type: ignore[arg-type]
    to = route(scripted(failed), clock)
    answer = asyncio.ensure_future(answering.answer(exchange, exchange.route, BODY, to))  # noqa: TID251  (cancelled below)
    await recall.looked.wait()
    assert failed.aborted == 0
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)
    assert failed.aborted == 1
