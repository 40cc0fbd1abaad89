"""C16: whatever an embedder does, requests are answered as if there were none; and another engine searches as well."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fakes.answers import Answer, json_answer
from tests.fakes.asking import KEY, completion_answer, status_of
from tests.fakes.gateway import Gateway, StartGateway, spawn
from tests.fakes.raw import Response
from tests.fakes.redis_server import RedisServer
from tests.fakes.search_server import search_server
from tests.fakes.upstream import Request, ScriptedUpstream

ON: dict[str, Any] = {"cache__enabled": True, "semantic__mode": "on", "semantic__deadline": 2.0}
ASKED = "How do I reset my password?"
ALIKE = "Hi, how can I reset my password please?"
UPSTREAM: dict[str, Any] = {
    "semantic__embedder__kind": "upstream",
    "semantic__embedder__model": "vectors",
    "semantic__embedder__dimension": 4,
}


def vector(*numbers: object) -> Answer:
    data = [{"index": 0, "embedding": [*numbers]}]
    return json_answer({"object": "list", "data": data, "usage": {"total_tokens": 7}})


def by_path(vectors: Answer) -> Callable[[Request], Answer]:
    """Chats and vectors from one upstream."""

    def answer(request: Request) -> Answer:
        return vectors if request.target.endswith(b"/embeddings") else completion_answer()

    return answer


async def ask(gateway: Gateway, question: str) -> Response:
    body = {"model": "m", "messages": [{"role": "user", "content": question}]}
    async with gateway.client() as client:
        return await client.ask(body=body, headers=[KEY])


async def until_sample(gateway: Gateway, name: str, **labels: str) -> None:
    for _ in range(500):
        if await gateway.sample(name, **labels):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{name}{labels} stayed 0")


BAD = {
    "another dimension": (vector(1, 0, 0), "bad"),
    "no numbers": (vector("a", "b", "c", "d"), "bad"),
    "no direction": (vector(0, 0, 0, 0), "bad"),
    "an error": (Answer(status=500, body=b"{}"), "failed"),
    "no JSON": (Answer(body=b"<html>"), "bad"),
}


@pytest.mark.parametrize(("answer", "reason"), BAD.values(), ids=[*BAD])
async def test_c16_nonsense_of_an_embedder_is_a_miss(
    start: StartGateway, upstream: ScriptedUpstream, answer: Answer, reason: str
) -> None:
    """The answer is kept and served to its own question; why it has no vector is counted."""
    upstream.script(by_path(answer))
    gateway = await start(**ON, **UPSTREAM)
    assert status_of(await ask(gateway, ASKED)) == "MISS"
    await until_sample(gateway, "askonce_semantic_records_total", result=reason)
    assert status_of(await ask(gateway, ASKED)) == "HIT"
    assert status_of(await ask(gateway, ALIKE)) == "MISS"


async def test_c16_vectors_of_an_upstream_are_calls_of_the_gateway(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """Without the client's key; its answers serve as the local model's do."""
    upstream.script(by_path(vector(0.6, 0.8, 0, 0)))
    gateway = await start(**ON, **UPSTREAM)
    await ask(gateway, ASKED)
    await until_sample(gateway, "askonce_semantic_questions")
    assert status_of(await ask(gateway, ALIKE)) == "SEMANTIC-HIT"
    calls = [request for request in upstream.requests if request.target.endswith(b"/embeddings")]
    assert [json.loads(call.body)["input"] for call in calls] == [ASKED, ALIKE]
    assert [value for call in calls for name, value in call.headers if name.lower() == b"authorization"] == []
    assert await gateway.sample("askonce_requests_total", route="embeddings") == 2


@pytest.fixture(scope="module")
def searching() -> Iterator[RedisServer]:
    with search_server("redis") as server:
        yield server


async def test_c15_redis_may_search_in_place_of_the_process(
    start: StartGateway, upstream: ScriptedUpstream, searching: RedisServer
) -> None:
    """What one worker learns, Redis finds for another at once."""
    upstream.script(completion_answer())
    settings = {**ON, "redis__url": searching.url, "semantic__engine": "redis"}
    one, other = await start(**settings), await start(**settings)
    await ask(one, ASKED)
    await until_sample(one, "askonce_semantic_records_total", result="stored")
    assert status_of(await ask(other, ALIKE)) == "SEMANTIC-HIT"


async def test_c15_another_engine_forgets_nothing(
    start: StartGateway, upstream: ScriptedUpstream, searching: RedisServer
) -> None:
    """What was learnt while the process searched is found where Redis does."""
    upstream.script(completion_answer())
    searching.tell("FLUSHALL")
    settings = {**ON, "redis__url": searching.url}
    one = await start(**settings)
    await ask(one, ASKED)
    await until_sample(one, "askonce_semantic_records_total", result="stored")
    other = await start(**settings, semantic__engine="redis")
    async with asyncio.timeout(5.0):
        while not searching.tell("KEYS", "*:semantic}:v:*"):
            await asyncio.sleep(0.02)
    assert status_of(await ask(other, ALIKE)) == "SEMANTIC-HIT"


async def test_c15_a_redis_that_can_not_search_stops_the_start(redis_server: RedisServer) -> None:
    """With the setting that asks for it."""
    settings = {**ON, "redis__url": redis_server.url, "semantic__engine": "redis"}
    async with spawn("http://127.0.0.1:9/v1", "serve", listens=False, **settings) as process:
        assert await process.wait() == 1
    assert "semantic.engine" in "".join(process.stderr)
    assert "FT.SEARCH" in "".join(process.stderr)
