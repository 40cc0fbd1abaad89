"""R1, R2, R3, R4: Redis freezes, dies, comes back or forgets while requests run. No client notices."""

import asyncio
import itertools
from collections import Counter
from typing import Any, final

import msgspec
import pytest

from tests.fakes.answers import Answer, event_stream
from tests.fakes.asking import KEY, completion_answer, status_of
from tests.fakes.frames import CHAT, STREAM
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, Response
from tests.fakes.redis_server import RedisServer
from tests.fakes.streams import STREAMS
from tests.fakes.upstream import Request, ScriptedUpstream

DEADLINE = 0.3
SLACK = 0.25
"""Of a machine that tests share; what is promised is the deadline."""
CLIENTS = 6


def answer(request: Request) -> Answer:
    return event_stream(STREAMS["chat"].frames) if request.header(b"x-stream") else completion_answer()


@final
class Traffic:
    """Clients that ask for what is known, what is not and for streams, one request after the other."""

    def __init__(self, gateway: Gateway) -> None:
        self.answers: list[Response] = []
        self._gateway = gateway
        self._seeds = itertools.count()
        self._going = True
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Traffic":
        self._tasks = [asyncio.Task(self._client()) for _ in range(CLIENTS)]
        await self.goes_on()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._going = False
        await asyncio.gather(*self._tasks)

    async def goes_on(self, count: int = 60) -> None:
        """So many more answers."""
        wanted = len(self.answers) + count
        await until(lambda: len(self.answers) >= wanted or any(task.done() for task in self._tasks), 10.0)

    async def _client(self) -> None:
        async with self._gateway.client() as client:
            while self._going:
                seed = next(self._seeds)
                streams = seed % 4 == 3
                body = (STREAM if streams else CHAT) | {"seed": seed // 8 * 8 + seed % 5}
                headers = [KEY, ("x-stream", "1")] if streams else [KEY]
                self.answers.append(await client.ask(body=body, headers=headers))

    def all_is_well(self) -> None:
        assert {(each.status, each.whole) for each in self.answers} == {(200, True)}


async def ask(client: RawClient, seed: int) -> Response:
    return await client.ask(body=CHAT | {"seed": seed}, headers=[KEY])


async def told(gateway: Gateway, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What the log says of Redis."""
    await asyncio.to_thread(gateway.app.log.close)
    lines: list[dict[str, Any]] = [msgspec.json.decode(line) for line in capfd.readouterr().out.splitlines()]
    return [line["event"] for line in lines if line["event"].startswith("redis")]


async def test_r1_a_request_waits_for_one_deadline(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """Though it would ask Redis more than once; and the fourth waits for nothing."""
    gateway = await start(cache__enabled=True, redis__url=redis_server.url, redis__deadline=DEADLINE)
    upstream.script(completion_answer())
    clock = asyncio.get_running_loop().time
    async with gateway.client() as client:
        await ask(client, 0)
        with redis_server.frozen():
            for seed in range(1, 4):
                began = clock()
                assert status_of(await ask(client, seed)) == "MISS"
                assert clock() - began < DEADLINE + SLACK
            began = clock()
            for seed in range(4, 24):
                assert status_of(await ask(client, seed)) == "MISS"
            assert clock() - began < DEADLINE
            assert status_of(await ask(client, 4)) == "HIT"
    assert await gateway.sample("askonce_cache_lookups_total", tier="redis", result="down") == 23


@pytest.mark.parametrize("fault", ["frozen", "killed"])
async def test_r2_gone_and_back_while_requests_run(
    start: StartGateway,
    upstream: ScriptedUpstream,
    redis_server: RedisServer,
    capfd: pytest.CaptureFixture[str],
    fault: str,
) -> None:
    """Every request is answered and counted; the log has a line when Redis goes and one when it is back."""
    gateway = await start(cache__enabled=True, redis__url=redis_server.url)
    link = gateway.app._caches.link
    assert link is not None
    upstream.script(answer)
    async with Traffic(gateway) as traffic:
        if fault == "frozen":
            with redis_server.frozen():
                await until(lambda: not link.up)
                await traffic.goes_on()
        else:
            redis_server.kill()
            await until(lambda: not link.up)
            await traffic.goes_on()
            await asyncio.to_thread(redis_server.start)
        await until(lambda: link.up, 2.0)
        await traffic.goes_on()
    traffic.all_is_well()
    await gateway.settled()
    counted = await gateway.sample("askonce_requests_total", route="chat/completions", outcome="relayed")
    assert counted == len(traffic.answers)
    assert Counter(await told(gateway, capfd)) == {"redis_down": 1, "redis_up": 1}
    await until(lambda: redis_server.tell("DBSIZE"))


async def test_r4_flushed_while_requests_run(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was kept is asked for again and kept again; nobody is told of it, and nothing stops."""
    gateway = await start(cache__enabled=True, cache__memory_bytes=0, redis__url=redis_server.url)
    upstream.script(answer)
    async with gateway.client() as client:
        await ask(client, -1)
        await until(lambda: redis_server.tell("KEYS", "askonce:e:*"))
        assert status_of(await ask(client, -1)) == "HIT"
        async with Traffic(gateway) as traffic:
            for _ in range(3):
                redis_server.tell("FLUSHALL")
                redis_server.tell("SCRIPT", "FLUSH")
                await traffic.goes_on()
        traffic.all_is_well()
        redis_server.tell("FLUSHALL")
        assert status_of(await ask(client, -1)) == "MISS"
        # More than once where the purges that an emptied Redis may have forgotten are thought of meanwhile.
        async with asyncio.timeout(5.0):
            while status_of(await ask(client, -1)) != "HIT":
                await asyncio.sleep(0.02)
    assert await told(gateway, capfd) == []


async def test_r7_rights_taken_away_while_requests_run(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever asks is answered, what is in memory is served, and the log has one line."""
    gateway = await start(cache__enabled=True, redis__url=redis_server.url)
    upstream.script(answer)
    async with Traffic(gateway) as traffic:
        redis_server.tell("ACL", "SETUSER", "default", "-@write", "-@scripting")
        await traffic.goes_on(120)
    traffic.all_is_well()
    assert "HIT" in {status_of(each) for each in traffic.answers[60:]}
    assert await told(gateway, capfd) == ["redis_down"]
