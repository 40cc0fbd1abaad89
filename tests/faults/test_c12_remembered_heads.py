"""C12: what is remembered of requests is bounded, whatever their heads are."""

from itertools import pairwise

from proxy.caching.recall import LINE_COST, MEMO_HEAD, Recall
from tests.fakes.asking import KEY, completion_answer, status_of
from tests.fakes.frames import CHAT
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
            costs.append(_recall(gateway)._seen_bytes)
    assert [after - before for before, after in pairwise(costs)] == [LINE_COST + 3, 1_000, -LINE_COST - 1_003]
