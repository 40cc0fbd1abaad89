"""U2: names that don't resolve, or slowly."""

import asyncio
import socket
from typing import Any

import pytest

from proxy.errors import Failure, Kind
from proxy.http1.connect import Connector, Origin, Resolver
from tests.fakes.frames import CHAT
from tests.fakes.gateway import StartGateway

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))]
ORIGIN = Origin("http", "api.test", 9)


class Names:
    """The event loop, with a name service of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.lookups = 0
        self.answer: Any = FOUND
        self.release = asyncio.Event()
        self.release.set()
        self.passed = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self._loop.time() + self.passed

    async def getaddrinfo(self, *_: object, **__: object) -> Any:
        self.lookups += 1
        await self.release.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def names() -> Names:
    return Names()


@pytest.fixture
async def resolver(names: Names) -> Resolver:
    return Resolver(30.0, names)  # type: ignore[arg-type]


async def test_u2_unknown_name(start: StartGateway) -> None:
    """A name that does not exist is 502 upstream_unreachable."""
    gateway = await start("http://nowhere.invalid/v1")
    async with gateway.client() as client:
        response = await client.ask(body=CHAT)
    assert (response.status, response.error_code) == (502, "upstream_unreachable")
    assert b"nowhere" not in response.body


async def test_u2_slow_names_do_not_pile_up(names: Names, resolver: Resolver) -> None:
    """A hundred requests that need the same name share one look-up, and all end at their connect deadline."""
    names.release.clear()
    connector = Connector(ORIGIN, None, None, resolver, asyncio.get_running_loop())
    opens = [connector.open(asyncio.Protocol, 0.05) for _ in range(100)]
    failures = await asyncio.gather(*opens, return_exceptions=True)
    assert names.lookups == 1
    for failure in failures:
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.unprocessed) == (Kind.UPSTREAM_UNREACHABLE, True)
    names.release.set()


async def test_u2_a_failure_that_nobody_waits_for_is_quiet(names: Names, resolver: Resolver) -> None:
    """A look-up that fails after all who asked have given up leaves no unnoticed exception (the fixture looks)."""
    names.release.clear()
    names.answer = OSError("no name server")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await resolver.resolve("api.test", 9)
    names.release.set()
    await asyncio.sleep(0.01)
    assert not resolver._flights


async def test_u2_addresses_are_kept_for_their_time(names: Names, resolver: Resolver) -> None:
    """Within the TTL a name is looked up once; after it, again."""
    await resolver.resolve("api.test", 9)
    names.passed = 29.0
    await resolver.resolve("api.test", 9)
    assert names.lookups == 1
    names.passed = 31.0
    await resolver.resolve("api.test", 9)
    assert names.lookups == 2


async def test_u2_known_addresses_outlive_a_failure(names: Names, resolver: Resolver) -> None:
    """While the name service fails, every request goes to the addresses known from before."""
    await resolver.resolve("api.test", 9)
    names.passed = 31.0
    names.answer = OSError("no name server")
    for _ in range(3):
        assert await resolver.resolve("api.test", 9) == FOUND
    assert names.lookups == 2


async def test_u2_known_addresses_outlive_silence(
    names: Names, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the name service is silent, requests wait a moment, then go to the addresses known from before."""
    monkeypatch.setattr("proxy.http1.connect.STALE_AFTER", 0.02)
    await resolver.resolve("api.test", 9)
    names.passed = 31.0
    names.release.clear()
    async with asyncio.timeout(1.0):
        assert await resolver.resolve("api.test", 9) == FOUND
    names.release.set()


async def test_u2_a_failure_is_remembered_for_a_moment(names: Names, resolver: Resolver) -> None:
    """A name that was not found is not asked for again at once, and is asked for again soon."""
    names.answer = OSError("not found")
    for _ in range(5):
        with pytest.raises(OSError, match="found"):
            await resolver.resolve("api.test", 9)
    assert names.lookups == 1
    names.passed = 1.1
    names.answer = FOUND
    assert await resolver.resolve("api.test", 9) == FOUND


async def test_u2_a_waiter_that_leaves_takes_nothing_away(names: Names, resolver: Resolver) -> None:
    """A request that is cancelled while its name is looked up does not cancel the look-up of the others."""
    names.release.clear()
    leaver, stayer = (asyncio.Task(resolver.resolve("api.test", 9)) for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    await asyncio.sleep(0)
    names.release.set()
    assert await stayer == FOUND
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_u2_literal_addresses_are_not_looked_up(names: Names, resolver: Resolver) -> None:
    """An address in the base URL, of either family, needs no name service."""
    assert [info[4] for info in await resolver.resolve("127.0.0.1", 9)] == [("127.0.0.1", 9)]
    assert [info[4] for info in await resolver.resolve("::1", 9)] == [("::1", 9, 0, 0)]
    assert names.lookups == 0
