"""S7: a thundering herd is one call."""

import asyncio

import pytest

from tests.fakes.answers import Answer, event_stream
from tests.fakes.asking import completion_answer, herd, status_of
from tests.fakes.frames import CHAT, STREAM
from tests.fakes.gateway import StartGateway
from tests.fakes.polling import until
from tests.fakes.streams import STREAMS
from tests.fakes.upstream import ScriptedUpstream

THOUSAND = 1_000


async def _asked_at_once(
    start: StartGateway, upstream: ScriptedUpstream, answer: Answer, body: object, gate: asyncio.Event
) -> list[bytes]:
    gateway = await start(cache__enabled=True)
    upstream.script(answer, completion_answer("a second call"))
    waiting = asyncio.Task(herd(gateway, THOUSAND, body))
    await until(lambda: len(gateway.app.clients.crew.serving) == THOUSAND, 15.0, "all are waiting")
    gate.set()
    responses = await waiting
    assert {(response.status, response.whole) for response in responses} == {(200, True)}
    assert len(upstream.requests) == 1
    statuses = [status_of(response) for response in responses]
    assert (statuses.count("MISS"), statuses.count("COALESCED")) == (1, THOUSAND - 1)
    return [response.body for response in responses]


@pytest.mark.usefixtures("untraced")
async def test_s7_a_thousand_requests(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """One upstream call, and a thousand equal answers."""
    gate = asyncio.Event()
    bodies = await _asked_at_once(start, upstream, completion_answer(before=gate), CHAT, gate)
    assert len(set(bodies)) == 1


@pytest.mark.usefixtures("untraced")
async def test_s7_a_thousand_streams(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """The same as streams, which all begin before the upstream is done, and get every frame from the first."""
    gate = asyncio.Event()
    first, *others = STREAMS["parallel tools"].frames
    answer = event_stream([first, gate, *others])
    bodies = await _asked_at_once(start, upstream, answer, STREAM | {"stream_options": {"include_usage": True}}, gate)
    assert set(bodies) == {b"".join([first, *others])}


@pytest.mark.parametrize("count", [50])
async def test_s7_streams_and_whole_answers_together(
    start: StartGateway, upstream: ScriptedUpstream, count: int
) -> None:
    """Who wants a stream and who wants all at once are served by the same call."""
    gateway = await start(cache__enabled=True)
    gate = asyncio.Event()
    upstream.script(completion_answer(before=gate), completion_answer("a second call"))
    plain, streams = (asyncio.Task(herd(gateway, count, body)) for body in (CHAT, STREAM))
    await until(lambda: len(gateway.app.clients.crew.serving) == 2 * count, 5.0, "all are waiting")
    gate.set()
    assert len({response.body for response in await plain}) == 1
    (stream,) = {response.body for response in await streams}
    assert stream.endswith(b"data: [DONE]\n\n")
    assert len(upstream.requests) == 1
