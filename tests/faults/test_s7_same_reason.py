"""S7: herds that what is stored, or on its way, won't do for: those who have the same reason share a call."""

import asyncio
import functools
from typing import Any

import pytest

import proxy.caches
from tests.fakes.answers import event_stream
from tests.fakes.asking import KEY, completion_answer, herd, status_of
from tests.fakes.frames import CHAT, DONE, STREAM
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.redis_server import RedisServer
from tests.fakes.streams.writing import chunk
from tests.fakes.upstream import ScriptedUpstream

HERD = 60
PARALLEL = 4
CALL = {"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": "{"}}
REST = {"index": 0, "function": {"name": "f", "arguments": "}"}}
NAMED_TWICE = [chunk({"tool_calls": [CALL]}), chunk({"tool_calls": [REST]}), chunk({}, "tool_calls"), DONE]
"""No client reads these as a message that all would agree on."""
YOUNG = (KEY, ("cache-control", "max-age=0"))


async def _all_wait(gateway: Gateway, count: int) -> None:
    await until(lambda: len(gateway.app.clients.crew.serving) == count, 5.0, "all are waiting")


async def test_s7_an_answer_that_has_no_such_form(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Of a herd that wants it in another form than it can be had in, one asks, and all get what comes."""
    gate = asyncio.Event()
    upstream.script(event_stream(NAMED_TWICE), completion_answer(before=gate), completion_answer("too many"))
    gateway = await start(cache__enabled=True)
    await herd(gateway, 1, STREAM)
    waiting = asyncio.Task(herd(gateway, HERD))
    await _all_wait(gateway, HERD)
    gate.set()
    responses = await waiting
    assert len({response.body for response in responses}) == 1
    assert sorted(map(status_of, responses)) == ["COALESCED"] * (HERD - 1) + ["REFRESH"]
    assert len(upstream.requests) == 2


async def test_s7_who_wants_no_older_answer(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Joins no call from before his request; a few ask at once, and the others share what is asked after they came."""
    gate = asyncio.Event()
    upstream.script(completion_answer(before=gate))
    gateway = await start(cache__enabled=True)
    waiting = asyncio.Task(herd(gateway, HERD, headers=YOUNG))
    await _all_wait(gateway, HERD)
    assert len(upstream.requests) <= 1 + PARALLEL
    gate.set()
    assert {response.status for response in await waiting} == {200}
    assert len(upstream.requests) <= 1 + PARALLEL + PARALLEL


async def test_s7_an_old_stream_is_not_joined(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """By who says how old his answer may be: he asks, and whoever comes then joins him."""
    gate = asyncio.Event()
    upstream.script(event_stream([NAMED_TWICE[0], gate, *NAMED_TWICE[1:]]))
    gateway = await start(cache__enabled=True)
    async with gateway.client() as first, gateway.client() as second:
        await first.send(compose(body=STREAM, headers=[KEY]))
        await upstream.received()
        await asyncio.sleep(0.02)
        await second.send(compose(body=STREAM, headers=[*YOUNG]))
        await upstream.received(2)
        waiting = asyncio.Task(herd(gateway, 3, STREAM))
        await _all_wait(gateway, 5)
        gate.set()
        assert [status_of(await client.response()) for client in (first, second)] == ["MISS", "MISS"]
        assert {status_of(response) for response in await waiting} == {"COALESCED"}
    assert len(upstream.requests) == 2


async def test_s7_expired_everywhere(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker asks anew; the others, whose memory has the old answer, find the new one in Redis."""
    now = [1_764_000_000.0]
    monkeypatch.setattr(proxy.caches, "WALL", lambda: now[0])
    settings: dict[str, Any] = {"redis__url": redis_server.url, "redis__deadline": 1.0, "cache__jitter": 0.0}
    workers = [await start(cache__enabled=True, cache__ttl__chat_completions=100.0, **settings) for _ in range(3)]
    upstream.script(completion_answer("first"), completion_answer("second"), completion_answer("too many"))
    for text in (b"first", b"second"):
        for count, worker in enumerate(workers):
            (response,) = await herd(worker, 1, CHAT)
            assert text in response.body
            assert status_of(response) == ("HIT" if count else "MISS")
            await until(functools.partial(_kept, redis_server, text), why="it is in Redis")
        now[0] += 101
    assert len(upstream.requests) == 2


def _kept(redis_server: RedisServer, text: bytes) -> bool:
    return any(text in redis_server.tell("GET", key) for key in redis_server.tell("KEYS", "askonce:e:*"))
