"""O8: no body, however large or odd, stops the event loop for long."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.fakes.gateway import GatewayProcess, StartProcess
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import ScriptedUpstream

# Made when they are needed: every run of tests reads this file, and few run what is in it.
MILLION: dict[str, Callable[[], bytes]] = {
    "token ids": lambda: b'{"model":"m","input":[' + b"12345," * 999_999 + b"1]}",
    "words": lambda: b'{"model":"m","messages":[{"role":"user","content":"' + b"word " * 1_000_000 + b'"}]}',
    "messages": lambda: b'{"model":"m","messages":[' + b'{"role":"user","content":"hello"},' * 200_000 + b"{}]}",
}
LARGEST = 32 << 20
ADVERSARIAL: dict[str, Callable[[], bytes]] = {
    "objects": lambda: b'{"a":[' + b"{}," * ((LARGEST - 10) // 3) + b"1]}",
    "nests": lambda: b'{"a":[' + (b"[" * 900 + b"]" * 900 + b",") * 18_000 + b"1]}",
    "keys": lambda: b'{"a":1' + b',"a":1' * ((LARGEST - 10) // 6) + b"}",
    "not closed": lambda: b'{"a":[' + b'"\\u00e9",' * ((LARGEST - 10) // 9),
}


@asynccontextmanager
async def _slowest_answer(gateway: GatewayProcess) -> AsyncIterator[list[float]]:
    """How long /healthz took, over and over, while the block ran: what everybody else waits."""
    took: list[float] = []
    over = asyncio.Event()

    async def probe() -> None:
        async with RawClient(gateway.origin, timeout=20) as client:
            while not over.is_set():
                started = time.perf_counter()
                await client.ask("GET", "/healthz")
                took.append(time.perf_counter() - started)
                await asyncio.sleep(0.001)

    probing = asyncio.Task(probe())
    try:
        yield took
    finally:
        over.set()
        await probing


@pytest.mark.alone
@pytest.mark.parametrize("name", MILLION)
async def test_o8_a_million_tokens(start_process: StartProcess, upstream: ScriptedUpstream, name: str) -> None:
    """While a million-token body passes, nobody else waits 50 ms."""
    body = MILLION[name]()
    process = await start_process()
    async with process.client(timeout=20) as client:
        await client.ask(body=b'{"model":"m"}')
        best = 1.0
        for _ in range(3):  # the machine has other things to do, too
            async with _slowest_answer(process) as took:
                assert (await client.ask(body=body)).status == 200
            best = min(best, max(took))
    assert best < 0.05
    assert upstream.requests[-1].length == len(body)


@pytest.mark.alone
@pytest.mark.parametrize("name", ADVERSARIAL)
async def test_o8_as_large_and_odd_as_may_be(start_process: StartProcess, name: str) -> None:
    """32 MiB of the costliest JSON is answered, and costs the others a moment, not more."""
    body = ADVERSARIAL[name]()
    assert LARGEST - 200_000 < len(body) <= LARGEST or name == "nests"
    process = await start_process()
    async with process.client(timeout=20) as client:
        best = 10.0
        for _ in range(2):
            async with _slowest_answer(process) as took:
                response = await client.ask(body=body, headers=[("content-type", "application/json")])
                assert response.status == (400 if name == "not closed" else 200)
            best = min(best, max(took))
    assert best < 0.5


@pytest.mark.alone
async def test_o8_a_form_can_not_be_made_slow(start_process: StartProcess) -> None:
    """A form in which a model is hinted at thousands of times is searched once."""
    process = await start_process(
        "", upstreams__other__base_url="http://127.0.0.1:9/v1", upstreams__other__models="x-*"
    )
    lines = b'content-disposition: form-data; name="model"\r\n' * 1_400
    for body in (b"name=model" * 6_500, lines, b"\r\n\r\n".join([b'content-disposition: x; name="model"'] * 1_500)):
        async with process.client() as client:
            await client.send(compose("POST", "/v1/audio/transcriptions", body[:65_000]))
            started = time.perf_counter()
            await client.response()
            assert time.perf_counter() - started < 0.2
