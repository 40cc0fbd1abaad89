"""S7: a purge costs a herd one call more, and not one for each."""

import asyncio

from tests.fakes.admin import TOKEN, Operator
from tests.fakes.asking import completion_answer, herd, status_of
from tests.fakes.frames import CHAT
from tests.fakes.gateway import StartGateway
from tests.fakes.polling import until
from tests.fakes.upstream import ScriptedUpstream

HERD = 50


async def test_s7_a_purge_meanwhile_is_one_call_more(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """The leader's answer is older than the purge and his alone; of those who wait for it one asks anew."""
    gate = asyncio.Event()
    upstream.script(completion_answer("old", before=gate), completion_answer("new"))
    gateway = await start(cache__enabled=True, admin__token=TOKEN)
    waiting = asyncio.Task(herd(gateway, HERD, CHAT))
    await until(lambda: len(gateway.app.clients.crew.serving) == HERD, 5.0, "all are waiting")
    await Operator(gateway).purge(all=True)
    gate.set()
    responses = await waiting
    assert len(upstream.requests) == 2
    statuses = sorted(map(status_of, responses))
    assert (statuses.count("MISS"), statuses.count("COALESCED")) == (2, HERD - 2)
    assert sorted(b"new" in response.body for response in responses) == [False] + [True] * (HERD - 1)
