"""C19: what is purged is gone from every worker's memory, from Redis and from the disk, and nothing brings it back."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.admin import TOKEN, Operator
from tests.fakes.asking import completion_answer, status_of
from tests.fakes.gateway import StartGateway, StartProcess
from tests.fakes.polling import until
from tests.fakes.raw import Response
from tests.fakes.redis_server import RedisServer
from tests.fakes.standing import StandingGateway, standing
from tests.fakes.upstream import ScriptedUpstream

ON: dict[str, Any] = {"cache__enabled": True, "admin__token": TOKEN}
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
TEXT = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "text": "Hello", "logprobs": None, "finish_reason": "stop"}
]}  # fmt: skip


async def ask(gateway: Any, model: str, *, tags: str = "", target: str = CHAT) -> Response:
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    async with gateway.client() as client:
        response: Response = await client.ask("POST", target, body, [("x-askonce-cache-tags", tags)] if tags else [])
    assert response.status == 200
    return response


async def fill(gateway: Any, operator: Operator, models: list[str], *, tags: str = "", workers: int = 2) -> None:
    """Every worker has an answer of each model in memory."""
    async with asyncio.timeout(10.0):
        for model in models:
            await ask(gateway, model, tags=tags if model == models[0] else "")
        while await operator.in_memory(workers) != [len(models)] * workers:
            for model in models:
                await ask(gateway, model, tags=tags if model == models[0] else "")


def stored(redis: RedisServer) -> int:
    return len(redis.tell("KEYS", "askonce:e:*"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module", params=["redis", "file"])
def running(request: pytest.FixtureRequest, redis_of_this_run: RedisServer) -> Iterator[StandingGateway]:
    redis_of_this_run.pristine()
    redis = {"redis__url": redis_of_this_run.url} if request.param == "redis" else {}
    with standing(workers=2, **ON, **redis) as gateway:
        yield gateway


@pytest.fixture
def upstream_port(request: pytest.FixtureRequest) -> int:
    shared = "running" in request.fixturenames
    return request.getfixturevalue("running").upstream_port if shared else 0


@pytest.fixture
async def workers(running: StandingGateway, upstream: ScriptedUpstream) -> StandingGateway:
    """Two, that hear of purges through Redis or through a file, and have nothing."""
    upstream.script(completion_answer())
    operator = Operator(running)
    if any(await operator.in_memory(2)):
        await operator.purge(all=True)
    return running


async def test_c19_gone_everywhere_when_the_purge_is_answered(
    workers: StandingGateway, redis_of_this_run: RedisServer
) -> None:
    """By key, tag, model, age, endpoint and all; what is not meant stays."""
    operator = Operator(workers)
    models = ["tagged", "named", "modelled", "other"]
    await fill(workers, operator, models, tags="nightly")
    key = (await ask(workers, "named")).header(b"x-askonce-cache-key") or b""
    rounds: list[tuple[dict[str, object], int]] = [
        ({"key": key.decode()}, 3), ({"tag": "nightly"}, 2), ({"model": "modelled"}, 1), ({"older_than": 0.0}, 0),
        ({"endpoint": "chat/completions"}, 0), ({"all": True}, 0),
    ]  # fmt: skip
    before = len(models)
    for selector, left in rounds:
        if not before:
            await fill(workers, operator, ["more"])
            before = 1
        done = await operator.purge(**selector)
        assert await operator.in_memory(2) == [left] * 2
        assert done["complete"] is True
        if done["redis"] is not None:
            assert stored(redis_of_this_run) == left
            assert done["redis"]["entries"] == before - left
        assert done["memory"]["entries"] == before - left
        before = left


async def test_c19_a_dry_run_only_counts(workers: StandingGateway, redis_of_this_run: RedisServer) -> None:
    """And counts what the purge then removes."""
    operator = Operator(workers)
    await fill(workers, operator, ["meant", "other"])
    counted = await operator.purge(model="meant", dry_run=True)
    assert counted["memory"]["entries"] == 1
    assert await operator.in_memory(2) == [2, 2]
    done = await operator.purge(model="meant")
    assert (counted["dry_run"], done["dry_run"]) == (True, False)
    if done["redis"] is not None:
        assert counted["redis"] == done["redis"]
        assert stored(redis_of_this_run) == 1


async def test_c19_answers_after_the_purge_are_kept(workers: StandingGateway) -> None:
    """Asked for as soon as the purge is answered: one miss, and hits from then on, at every worker."""
    operator = Operator(workers)
    await fill(workers, operator, ["m"])
    for _ in range(2):
        await operator.purge(all=True)
        await fill(workers, operator, ["m"])
        assert {status_of(await ask(workers, "m")) for _ in range(8)} == {"HIT"}


async def test_c19_an_answer_in_flight_is_not_kept(
    workers: StandingGateway, upstream: ScriptedUpstream, redis_of_this_run: RedisServer
) -> None:
    """Begun before the purge and ended after it, at whichever worker: its client gets it, and nobody else."""
    operator = Operator(workers)
    gate = asyncio.Event()
    upstream.script(completion_answer(before=gate))
    async with asyncio.TaskGroup() as group:
        late = [group.create_task(ask(workers, f"m{number}")) for number in range(12)]
        await upstream.received(12)
        await operator.purge(all=True)
        gate.set()
    assert {status_of(each.result()) for each in late} == {"MISS"}
    assert await operator.in_memory(2) == [0, 0]
    assert stored(redis_of_this_run) == 0


async def test_c19_without_redis_the_purge_says_what_it_did_not_do(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """503 with what was done; the memory here is empty, and Redis' entries are not served here."""
    upstream.script(completion_answer())
    gateway = await start(**ON, redis__url=redis_server.url, redis__deadline=1.0)
    operator = Operator(gateway)
    await ask(gateway, "m")
    await until(lambda: stored(redis_server) == 1)
    with redis_server.frozen():
        response = await operator.ask("POST", "cache/purge", {"all": True})
    assert response.status == 503
    assert response.json()["unfinished"] == ["workers_not_told", "redis_not_searched"]
    assert response.json()["memory"]["entries"] == 1
    assert stored(redis_server) == 1
    assert status_of(await ask(gateway, "m")) == "MISS"


async def test_c19_a_crash_does_not_bring_it_back(
    start_process: StartProcess, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """The files of all workers are gone, also of those who are not running now."""
    upstream.script(completion_answer())
    snapshot = tmp_path / "snapshot"
    first = await start_process("", "serve", "--workers", "2", **ON, cache__snapshot=snapshot)
    await fill(first, Operator(first), ["m"])
    first.signal(signal.SIGTERM)
    await first.wait()
    assert names(tmp_path) == ["snapshot.0", "snapshot.1"]
    (tmp_path / "snapshot.7").write_bytes((tmp_path / "snapshot.0").read_bytes())
    (tmp_path / "snapshot.txt").write_text("somebody's")
    second = await start_process("", "serve", "--workers", "2", clean=False, **ON, cache__snapshot=snapshot)
    operator = Operator(second)
    assert await operator.in_memory(2) == [1, 1]
    await operator.purge(all=True)
    assert names(tmp_path) == ["snapshot.txt"]
    await second.kill()
    third = await start_process("", "serve", "--workers", "2", **ON, cache__snapshot=snapshot)
    assert await Operator(third).in_memory(2) == [0, 0]
