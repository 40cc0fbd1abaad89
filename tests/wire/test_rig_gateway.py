"""The gateway as the tests start it: in this process and in one of its own."""

import asyncio
import os
import signal

import pytest

from tests.fakes.answers import SILENCE, json_answer
from tests.fakes.gateway import Gateway, GatewayProcess, StartGateway, StartProcess, in_process, spawn
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import ScriptedUpstream


async def test_the_gateway_in_process(client: RawClient, upstream: ScriptedUpstream) -> None:
    """An answer of the scripted upstream comes through."""
    upstream.script(json_answer({"id": "x"}))
    response = await client.ask(body={"model": "m", "messages": []})
    assert (response.status, response.json()) == (200, {"id": "x"})
    assert upstream.request.json() == {"model": "m", "messages": []}


async def test_settings_reach_it_as_variables_would(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """`timeouts__first_byte=0.1` is ASKONCE_TIMEOUTS__FIRST_BYTE."""
    upstream.script(SILENCE)
    gateway = await start(timeouts__first_byte=0.1)
    async with gateway.client() as client:
        assert (await client.ask(body={"model": "m"})).status == 504


async def test_metrics_are_read_as_exposed(gateway: Gateway) -> None:
    """Samples are summed over the labels that are not asked for."""
    async with gateway.client() as client:
        await client.ask(body={"model": "m"})
        await client.ask("GET", "/v1/models")
    assert await gateway.sample("askonce_requests_total", method="GET") == 1
    assert await gateway.sample("askonce_requests_total") == 2


async def test_a_request_that_never_ends_fails_the_block(upstream: ScriptedUpstream) -> None:
    """The block of `in_process` ends with nothing in flight, or fails."""
    upstream.script(SILENCE)
    client: RawClient | None = None
    with pytest.raises(AssertionError, match=r"askonce_in_flight .* is 1"):
        async with in_process(upstream.url, settles=0.05) as gateway:
            client = gateway.client()
            await client.connect()
            await client.send(compose(body={"model": "m"}))
            await upstream.received()
    assert client is not None
    client.close()


async def test_the_gateway_as_a_process(start_process: StartProcess, upstream: ScriptedUpstream) -> None:
    """It serves, logs JSON, and ends on SIGTERM with 0."""
    upstream.script(json_answer({"id": "x"}))
    gateway = await start_process()
    async with gateway.client() as client:
        assert (await client.ask(body={"model": "m"})).json() == {"id": "x"}
    await gateway.logged(status=200)
    gateway.signal(signal.SIGTERM)
    assert await gateway.wait() == 0


async def test_a_process_that_does_not_start_says_why() -> None:
    """The failure shows what it printed."""
    with pytest.raises(AssertionError, match="NO_SUCH_SETTING"):
        async with spawn("http://127.0.0.1:9/v1", log__no_such_setting=1):
            pass


async def test_a_process_is_reaped_whatever_happens(upstream: ScriptedUpstream) -> None:
    """A test that fails leaves no process behind."""
    started: list[GatewayProcess] = []
    with pytest.raises(ZeroDivisionError):
        async with spawn(upstream.url) as gateway:
            started.append(gateway)
            _ = 1 / 0
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)
    assert started[0].returncode == -signal.SIGKILL


async def test_a_traceback_on_standard_error_fails_the_block(upstream: ScriptedUpstream) -> None:
    """Trouble that only standard error shows is not overlooked."""
    with pytest.raises(AssertionError, match="ResourceWarning"):
        async with spawn(upstream.url) as gateway:
            gateway.stderr.append("ResourceWarning: unclosed <socket>")
            await asyncio.sleep(0)
