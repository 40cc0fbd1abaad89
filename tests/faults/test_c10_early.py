"""C10: answers that are asked for again before their end."""

import asyncio

import pytest

import proxy.caches
from tests.fakes.asking import KEY, completion_answer, status_of
from tests.fakes.frames import CHAT
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import compose
from tests.fakes.upstream import ScriptedUpstream

TTL = 100.0


async def _nearly_over(
    start: StartGateway, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, draws: list[float]
) -> Gateway:
    """Keeps an answer that took ten seconds and has five left; what is drawn is what `draws` says."""
    now = [1_764_000_000.0]
    monkeypatch.setattr(proxy.caches, "WALL", lambda: now[0])
    monkeypatch.setattr("random.random", lambda: draws.pop(0))
    gateway = await start(cache__enabled=True, cache__ttl__chat_completions=TTL, cache__jitter=0.0)
    gate = asyncio.Event()
    upstream.script(completion_answer("first", before=gate))
    draws.append(0.5)
    async with gateway.client() as client:
        await client.send(compose(body=CHAT, headers=[KEY]))
        await upstream.received()
        now[0] += 10
        gate.set()
        assert (await client.response()).status == 200
        assert status_of(await client.ask(body=CHAT, headers=[KEY])) == "HIT"
    now[0] += TTL - 10 - 5
    return gateway


async def test_c10_a_request_draws_once(
    start: StartGateway, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it asks early; what the glance has drawn counts."""
    draws: list[float] = []
    gateway = await _nearly_over(start, upstream, monkeypatch, draws)
    upstream.script(completion_answer("second"))
    draws += [0.1, 0.99, 0.1, 0.1]
    async with gateway.client() as client:
        statuses = [status_of(await client.ask(body=CHAT, headers=[KEY])) for _ in range(2)]
    assert statuses == ["HIT", "REFRESH"]
    # One for each, and one for the lifetime of the new answer.
    assert len(draws) == 1


async def test_c10_nobody_asks_early_while_somebody_does(
    start: StartGateway, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is drawn, others are served at once what is still fresh."""
    draws: list[float] = []
    gateway = await _nearly_over(start, upstream, monkeypatch, draws)
    gate = asyncio.Event()
    upstream.script(completion_answer("second", before=gate))
    draws += [0.99] * 5
    async with gateway.client() as client, gateway.client() as other:
        await client.send(compose(body=CHAT, headers=[KEY]))
        await upstream.received(2)
        responses = [await other.ask(body=CHAT, headers=[KEY]) for _ in range(3)]
        gate.set()
        refreshed = await client.response()
    assert [(status_of(response), b"first" in response.body) for response in responses] == [("HIT", True)] * 3
    assert (status_of(refreshed), b"second" in refreshed.body) == ("REFRESH", True)
