"""A5: a revoked or expired key is dead on all workers; A8: while the store is away, good ones live on."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from proxy.keys.key import Refusal
from proxy.keys.register import Made
from tests.fakes.key_process import watching
from tests.fakes.keyring import Keyring, Medium
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

SECOND = 1.0
START = 15.0
"""Seconds that a process may take to come up."""


@pytest.fixture(params=["sqlite", "redis"])
async def keyring(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Keyring]:
    async with AsyncExitStack() as stack:
        url = redis_server.url if request.param == "redis" else ""
        yield Keyring(Medium(tmp_path, url), tmp_path, stack)


async def test_a5_another_process_hears_of_it_within_a_second(keyring: Keyring) -> None:
    """And follows it, with nobody telling it."""
    worker = await keyring.start()
    key, secret = await worker.made()
    async with watching(keyring.medium, secret) as other:
        assert await other.says(START) == "opens"
        await worker.register.revoke("tester", key.id)
        assert await other.says(SECOND) == Refusal.REVOKED.value


async def test_a5_a_revoked_key_is_refused_by_every_worker(keyring: Keyring) -> None:
    """By the one that was told at once, before it confirms; by the others within a second; with both secrets."""
    workers = [await keyring.start() for _ in range(3)]
    key, old = await workers[0].made()
    rotated = await workers[1].register.rotate("tester", key.id, 60.0)
    assert isinstance(rotated, Made)
    for worker in workers:
        await until(lambda worker=worker: worker.opens(rotated.secret) and worker.opens(old), SECOND)  # type: ignore[misc]
    await workers[2].register.revoke("tester", key.id)
    assert {workers[2].find(secret) for secret in (old, rotated.secret)} == {Refusal.REVOKED}
    for worker in workers:
        for secret in (old, rotated.secret):
            await until(lambda worker=worker, secret=secret: worker.find(secret) is Refusal.REVOKED, SECOND)  # type: ignore[misc]


async def test_a5_an_expired_key_needs_nobody_to_end(keyring: Keyring) -> None:
    """Its time is in every worker's table: it ends to the instant, store or no store."""
    workers = [await keyring.start() for _ in range(2)]
    _, secret = await workers[0].made(expires=keyring.clock.now + 10.0)
    await until(lambda: workers[1].opens(secret), SECOND)
    keyring.clock.advance(9.999)
    assert all(worker.opens(secret) for worker in workers)
    keyring.clock.advance(0.001)
    assert {worker.find(secret) for worker in workers} == {Refusal.EXPIRED}


@pytest.mark.parametrize("keyring", ["redis"], indirect=True)
async def test_a8_keys_live_on_while_redis_is_away(keyring: Keyring, redis_server: RedisServer) -> None:
    """Dead, frozen, and back empty: nobody who could ask is turned away, nor who could not let in."""
    workers = [await keyring.start(deadline=0.05) for _ in range(2)]
    _, secret = await workers[0].made()
    ended = await workers[0].made()
    await workers[0].register.revoke("tester", ended.key.id)
    await until(lambda: workers[1].find(ended.secret) is Refusal.REVOKED, SECOND)
    answers: set[object] = set()

    def served() -> bool:
        answers.update(worker.opens(secret) for worker in workers)
        answers.update(worker.find(ended.secret) is Refusal.REVOKED for worker in workers)
        return all(worker.sync.state.value == wanted for worker in workers)

    wanted = "down"
    with redis_server.frozen():
        await until(served)
    wanted = "up"
    await until(served, 5.0)
    redis_server.kill()
    wanted = "down"
    await until(served)
    redis_server.start()
    wanted = "up"
    await until(served, 5.0)
    await until(lambda: served() and redis_server.tell("HLEN", "t:{keys}") == 2)
    assert answers == {True}
