"""C19: calls that are under way when somebody purges."""

import asyncio

from tests.fakes.admin import TOKEN, Operator
from tests.fakes.answers import event_stream
from tests.fakes.asking import KEY, completion_answer, herd, status_of
from tests.fakes.frames import STREAM
from tests.fakes.gateway import StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.streams import STREAMS
from tests.fakes.upstream import ScriptedUpstream


async def test_c19_nobody_joins_what_was_asked_before_a_purge(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Who comes after it shares another call; who was there gets all of what he had begun to read."""
    gate = asyncio.Event()
    first, *others = STREAMS["parallel tools"].frames
    upstream.script(event_stream([first, gate, *others]), completion_answer("new", before=gate))
    gateway = await start(cache__enabled=True, admin__token=TOKEN)
    async with gateway.client() as client:
        await client.send(compose(body=STREAM, headers=[KEY]))
        await upstream.received()
        await Operator(gateway).purge(all=True)
        waiting = asyncio.Task(herd(gateway, 5, STREAM))
        await until(lambda: len(gateway.app.clients.crew.serving) == 6 and len(upstream.requests) == 2)
        gate.set()
        before = await client.response()
        after = await waiting
    assert before.whole
    assert [b"new" in response.body for response in [before, *after]] == [False] + [True] * 5
    assert sorted(map(status_of, after)) == ["COALESCED"] * 4 + ["MISS"]
    assert len(upstream.requests) == 2
