"""The error knobs of the demo upstream."""

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.demo.app import application, start
from proxy.demo.checks import Refusal
from proxy.demo.faults import Fault, Orders
from proxy.demo.knobs import Knobs, Wrong, read
from tests.fakes.clock import Clock
from tests.fakes.polling import until
from tests.fakes.raw import RawClient

ASK = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}).encode()
HEADERS = [("authorization", "Bearer sk-demo"), ("content-type", "application/json")]
FAULTS = "/demo/faults"


@asynccontextmanager
async def upstream(clock: Clock | None = None) -> AsyncIterator[str]:
    """The origin of a demo upstream."""
    app = application() if clock is None else application(clock=clock, draw=lambda: 0.5)
    runner, url = await start(app, "127.0.0.1", 0)
    try:
        yield url.removesuffix("/v1")
    finally:
        await runner.cleanup()


async def asked(origin: str, method: str = "POST", path: str = "/v1/chat/completions", body: bytes = ASK) -> int:
    """The status; -1 where the connection is refused, 0 where it ends without one."""
    try:
        async with RawClient(origin) as client:
            return (await client.ask(method, path, headers=HEADERS, body=body)).status
    except ConnectionRefusedError:
        return -1
    except (OSError, EOFError):
        return 0


async def turned(origin: str, **wrong: object) -> int:
    return await asked(origin, path=FAULTS, body=json.dumps(wrong).encode())


async def test_a_fault_lasts_its_time_and_no_longer() -> None:
    """And concerns all requests, but for those that order something themselves."""
    clock = Clock()
    async with upstream(clock) as origin:
        assert await turned(origin, status=503, seconds=30) == 200
        assert await asked(origin) == 503
        async with RawClient(origin) as client:
            ordered = await client.ask(
                "POST", "/v1/chat/completions", headers=[*HEADERS, ("x-demo-error", "429")], body=ASK
            )
        assert ordered.status == 429
        clock.advance(29.9)
        assert await asked(origin) == 503
        clock.advance(0.2)
        assert await asked(origin) == 200


async def test_a_fault_can_be_seen_and_ended() -> None:
    """By whoever asks the upstream itself."""
    async with upstream() as origin, RawClient(origin) as client:
        await client.ask("POST", FAULTS, body=b'{"fault": "reset-early", "seconds": 9}')
        assert await asked(origin) == 0
        told = json.loads((await client.ask("GET", FAULTS)).body)
        assert told["faults"] == {"fault": "reset-early", "seconds": 9.0}
        assert 0 < told["seconds_left"] <= 9
        assert (await client.ask("DELETE", FAULTS)).body == b"{}"
        assert await asked(origin) == 200


async def test_a_closed_port_opens_again() -> None:
    """Connections are refused and those that stood are ended, until the time is over."""
    async with upstream() as origin, RawClient(origin) as client:
        assert (await client.ask("POST", FAULTS, body=b'{"refuse": true, "seconds": 0.2}')).status == 200
        await until(lambda: not listens(origin))
        await until(lambda: listens(origin))
        assert await asked(origin) == 200
        assert await client.rest() == b""
        assert client.ended


@pytest.mark.parametrize("newer", [b'{"status": 503}', b""])
async def test_a_newer_fault_keeps_the_port_open(newer: bytes) -> None:
    """It comes before the port has been closed, and nothing of the older one is left; nor after the end of all."""
    async with upstream() as origin, RawClient(origin) as client:
        await client.ask("POST", FAULTS, body=b'{"refuse": true, "seconds": 600}')
        await client.ask("POST" if newer else "DELETE", FAULTS, body=newer)
        await until(lambda: not [task for task in asyncio.all_tasks() if "_be_away" in repr(task)])
        assert await asked(origin) == (503 if newer else 200)


async def test_a_newer_absence_is_as_long_as_it_says() -> None:
    """Not as long as the older one."""
    async with upstream() as origin, RawClient(origin) as client:
        await client.ask("POST", FAULTS, body=b'{"refuse": true, "seconds": 600}')
        await client.ask("POST", FAULTS, body=b'{"refuse": true, "seconds": 0.1}')
        await until(lambda: not listens(origin))
        await until(lambda: listens(origin))


def listens(origin: str) -> bool:
    """Somebody takes connections there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", int(origin.rpartition(":")[2]))) == 0


async def test_an_upstream_ends_while_its_port_is_closed() -> None:
    """Nothing is left that would open it again."""
    async with upstream() as origin:
        assert await turned(origin, refuse=True, seconds=600) == 200
        await until(lambda: not listens(origin))
    assert [task for task in asyncio.all_tasks() if "_be_away" in repr(task)] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"status": 200}',
        b'{"status": 600}',
        b'{"seconds": 0}',
        b'{"seconds": 601}',
        b'{"seconds": NaN}',
        b'{"share": 1.1}',
        b'{"share": -0.1}',
        b'{"latency_ms": 600001}',
        b'{"retry_after_ms": -1}',
        b'{"after": -1}',
        b'{"fault": "fire"}',
        b'{"unknown": 1}',
    ],
)
def test_what_is_no_fault_is_refused(body: bytes) -> None:
    """With a status of the client's, and the name of what is wrong."""
    with pytest.raises(Refusal) as refusal:
        read(body)
    assert refusal.value.status == 400


async def test_a_long_body_is_refused() -> None:
    """It is not read to its end, and changes nothing."""
    async with upstream() as origin:
        assert await asked(origin, path=FAULTS, body=b'{"status": 503%b}' % (b" " * 5_000)) == 413
        assert await asked(origin) == 200


@given(st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_a_share_of_the_requests_is_concerned(share: float, drawn: float) -> None:
    """All of them at 1, none at 0."""
    knobs = Knobs(lambda: 0.0, lambda: drawn)
    knobs.turn(Wrong(status=503, share=share))
    assert (knobs.applied(Orders()).status == 503) == (drawn < share)


def test_a_fault_takes_the_place_of_the_one_before() -> None:
    """Nothing of it is left."""
    knobs = Knobs(lambda: 0.0, lambda: 0.0)
    knobs.turn(Wrong(status=503, latency_ms=200))
    knobs.turn(Wrong(fault=Fault.STALL, after=7))
    orders = knobs.applied(Orders(latency=0.1))
    assert (orders.status, orders.fault, orders.after, orders.latency) == (None, Fault.STALL, 7, 0.1)
    knobs.heal()
    assert knobs.applied(Orders()) == Orders()
    assert math.isclose(knobs.left, 0.0)
