"""C12: what is remembered of requests and answers is bounded, whatever they are."""

from itertools import pairwise

import msgspec
import pytest

from proxy.caching import meaning, replay, seen
from proxy.caching.recall import Recall
from proxy.caching.seen import LINE_COST, MEMO_COST, MEMO_HEAD
from tests.fakes.asking import KEY, completion_answer, status_of
from tests.fakes.frames import CHAT, STREAM, payloads
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.upstream import ScriptedUpstream


def _recall(gateway: Gateway) -> Recall:
    cache = gateway.app._pipeline._cache
    assert cache is not None
    return cache[0]


async def test_c12_long_heads_are_not_remembered(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """They are answered from the cache all the same."""
    gateway = await start(cache__enabled=True)
    upstream.script(completion_answer())
    async with gateway.client() as client:
        long = [KEY, ("x-note", "n" * MEMO_HEAD)]
        assert [status_of(await client.ask(body=CHAT, headers=long)) for _ in range(3)] == ["MISS", "HIT", "HIT"]
        assert not _recall(gateway)._seen
        assert status_of(await client.ask(body=CHAT, headers=[KEY])) == "HIT"
    assert len(_recall(gateway)._seen) == 1


async def test_c12_remembered_heads_cost_what_they_take(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Fields and their bytes are counted, and given back when another head takes their place."""
    gateway = await start(cache__enabled=True)
    upstream.script(completion_answer())
    costs = []
    async with gateway.client() as client:
        for notes in ([], [("x-a", "")], [("x-a", "n" * 1_000)], []):
            await client.ask(body=CHAT, headers=[KEY, *notes])
            costs.append(_recall(gateway)._seen.size)
    assert [after - before for before, after in pairwise(costs)] == [LINE_COST + 3, 1_000, -LINE_COST - 1_003]


async def test_c12_what_is_remembered_of_requests_has_a_bound(
    start: StartGateway, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest goes, and what it cost with it; it is understood anew when it comes again."""
    gateway = await start(cache__enabled=True)
    upstream.script(completion_answer())
    monkeypatch.setattr(seen, "MEMO_BYTES", 3 * MEMO_COST)
    async with gateway.client() as client:
        for number in (*range(6), 0):
            await client.ask(body=CHAT | {"seed": number}, headers=[KEY])
            known = _recall(gateway)._seen
            assert known.size == sum(each.cost for each in known._requests.values()) <= 3 * MEMO_COST
        assert msgspec.json.decode(next(reversed(known._requests)))["seed"] == 0
        assert status_of(await client.ask(body=CHAT | {"seed": 0}, headers=[KEY])) == "HIT"
    assert len(upstream.requests) == 6


async def test_c12_what_bodies_mean_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes, and what it cost with it."""
    monkeypatch.setattr(meaning, "MEMO_BYTES", 4 * meaning.MEMO_COST)
    meanings = meaning.Meanings()
    bodies = [msgspec.json.encode(CHAT | {"seed": number}) for number in range(9)]
    for body in bodies:
        await meanings.of("chat/completions", body)
        cost = sum(len(known) + meaning.MEMO_COST for _, known in meanings._known)
        assert meanings._bytes == cost <= 4 * meaning.MEMO_COST
    assert [body for _, body in meanings._known] == bodies[-3:]


async def test_c12_what_was_made_of_answers_has_a_bound(
    start: StartGateway, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one used longest ago goes, and what it cost with it; it is made anew when somebody asks."""
    gateway = await start(cache__enabled=True)
    upstream.script(completion_answer())
    monkeypatch.setattr(replay, "MADE_BYTES", 8_192)
    cache = gateway.app._pipeline._cache
    assert cache is not None
    made = cache[1]
    async with gateway.client() as client:
        for number in (*range(12), 0):
            await client.ask(body=CHAT | {"seed": number}, headers=[KEY])
            response = await client.ask(body=STREAM | {"seed": number}, headers=[KEY])
            assert (status_of(response), payloads(response.body)[-1]) == ("HIT", b"[DONE]")
            assert made._made_bytes == sum(size for _, size in made._made.values()) <= 8_192
    assert 1 < len(made._made) < 12
