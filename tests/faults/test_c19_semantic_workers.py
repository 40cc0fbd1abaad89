"""What one worker has learned of questions, the others know; with Redis between them."""

import asyncio
import signal
from pathlib import Path
from typing import Any

from tests.fakes.admin import TOKEN, Operator
from tests.fakes.asking import KEY, completion_answer, status_of
from tests.fakes.gateway import Gateway, GatewayProcess, StartGateway, StartProcess
from tests.fakes.raw import Response
from tests.fakes.redis_server import RedisServer
from tests.fakes.upstream import ScriptedUpstream

ASKED = "How do I reset my password?"
ALIKE = "Hi, how can I reset my password please?"
ON: dict[str, Any] = {"semantic__deadline": 5.0, "cache__enabled": True, "semantic__mode": "on", "admin__token": TOKEN}


async def ask(gateway: Gateway | GatewayProcess, question: str, *headers: tuple[str, str]) -> Response:
    body = {"model": "m", "messages": [{"role": "user", "content": question}]}
    async with gateway.client() as client:
        return await client.ask(body=body, headers=[KEY, *headers])


async def known(gateway: Gateway | GatewayProcess, count: int, seconds: float = 10.0) -> float:
    """How long it takes until so many questions can be found."""
    begun = asyncio.get_running_loop().time()
    while await gateway.sample("askonce_semantic_questions") != count:
        assert asyncio.get_running_loop().time() - begun < seconds, f"never {count}"
        await asyncio.sleep(0.02)
    return asyncio.get_running_loop().time() - begun


async def test_c19_what_one_worker_learns_another_serves(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """And computes nothing again for it; a purge takes it from both."""
    upstream.script(completion_answer())
    one = await start(redis__url=redis_server.url, **ON)
    other = await start(redis__url=redis_server.url, **ON)
    await ask(one, ASKED, ("x-askonce-cache-tags", "help"))
    await known(other, 1)
    hit = await ask(other, ALIKE)
    assert status_of(hit) == "SEMANTIC-HIT"
    assert len(upstream.requests) == 1
    await Operator(one).purge(tag="help")
    await known(other, 0)
    await known(one, 0)
    assert status_of(await ask(other, ALIKE)) == "MISS"


async def test_c19_a_worker_that_is_killed_takes_nothing_along(
    start: StartGateway, start_process: StartProcess, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """What Redis has, the next one finds without embedding it again."""
    upstream.script(completion_answer())
    first = await start_process(redis__url=redis_server.url, **ON)
    await ask(first, ASKED)
    await known(first, 1)
    await first.kill()
    second = await start(redis__url=redis_server.url, **ON)
    await known(second, 1)
    assert await second.sample("askonce_semantic_records_total") == 0
    assert status_of(await ask(second, ALIKE)) == "SEMANTIC-HIT"


async def test_c17_questions_wait_in_a_file_for_the_next_process(
    start: StartGateway, start_process: StartProcess, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """Where there is no Redis, with the answers."""
    upstream.script(completion_answer())
    settings = {**ON, "cache__snapshot": str(tmp_path / "answers")}
    first = await start_process(**settings)
    await ask(first, ASKED)
    await known(first, 1)
    first.signal(signal.SIGTERM)
    await first.wait()
    second = await start(**settings)
    await known(second, 1)
    assert status_of(await ask(second, ALIKE)) == "SEMANTIC-HIT"
    assert len(upstream.requests) == 1


async def test_c17_without_redis_questions_are_misses(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """No client is told of it."""
    upstream.script(completion_answer())
    gateway = await start(redis__url=redis_server.url, **ON)
    await ask(gateway, ASKED)
    await known(gateway, 1)
    with redis_server.frozen():
        answer = await ask(gateway, ALIKE)
    assert (answer.status, status_of(answer)) == (200, "MISS")
