"""A day's money for the judge: one purse for all workers, that no restart fills."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from proxy.redis_link import RedisLink
from proxy.semantic.budget import Budget, FileBudget, Held, RedisBudget, Refused
from tests.fakes.redis_server import RedisServer

DAY = 86_400.0

Open = Callable[[], Budget]


class Wall:
    """A clock that somebody sets."""

    def __init__(self) -> None:
        self.day = 20_000

    def __call__(self) -> float:
        return DAY * self.day + 100


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture(params=["file", "redis"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def opened(store: str, redis_server: RedisServer, tmp_path: Path, wall: Wall) -> AsyncIterator[Open]:
    """Budgets that share a file or a server, as several workers have them, and later ones."""
    async with AsyncExitStack() as stack:

        def make() -> Budget:
            if store == "file":
                made: Budget = FileBudget(tmp_path / "judge.sqlite", wall)
            else:
                link = RedisLink(redis_server.url, deadline=1.0)
                stack.push_async_callback(link.close)
                made = RedisBudget(link, "t", wall)
            stack.push_async_callback(made.close)
            return made

        yield make


async def test_workers_share_it(opened: Open) -> None:
    """However many take at once, and whoever comes later."""
    budgets = [opened() for _ in range(3)]
    taken = await asyncio.gather(*[budgets[number % 3].take(10, 75) for number in range(12)])
    assert sum(isinstance(each, Held) for each in taken) == 7
    assert await opened().take(10, 75) is Refused.SPENT
    assert isinstance(await opened().take(5, 75), Held)


async def test_what_was_left_comes_back(opened: Open, wall: Wall) -> None:
    """On the day that it was taken from; and what cost more is paid."""
    budget = opened()
    held = await budget.take(50, 50)
    assert isinstance(held, Held)
    wall.day += 1
    assert isinstance(await budget.take(50, 50), Held)
    await budget.settle(held, 10)
    assert await budget.take(1, 50) is Refused.SPENT
    wall.day -= 1
    assert isinstance(await budget.take(40, 50), Held)
    await budget.settle(held, 80)
    assert await budget.take(1, 79) is Refused.SPENT


async def test_a_store_that_fails_gives_nothing(
    opened: Open, store: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Nor raises; and a file that can't be read is not begun anew."""
    if store == "file":
        (tmp_path / "judge.sqlite").write_bytes(b"no database at all" * 100)
    else:
        redis_server.kill()
    budget = opened()
    assert [await budget.take(1, 100) for _ in range(2)] == [Refused.AWAY, Refused.AWAY]
    await budget.settle(Held(20_000, 1), 0)


@pytest.mark.parametrize("store", ["redis"])
async def test_what_was_forgotten_is_not_given_back(opened: Open, redis_server: RedisServer) -> None:
    """A Redis that was emptied meanwhile owes nobody anything."""
    budget = opened()
    held = await budget.take(50, 50)
    redis_server.tell("FLUSHALL")
    assert isinstance(held, Held)
    await budget.settle(held, 0)
    assert isinstance(await budget.take(50, 50), Held)
    assert await budget.take(1, 50) is Refused.SPENT
