"""O7: metrics of several workers add up, and nobody can blow them up with names."""

import asyncio
import os
import signal

import pytest

from tests.fakes.answers import Answer
from tests.fakes.gateway import Gateway, GatewayProcess, StartGateway, StartProcess
from tests.fakes.polling import until
from tests.fakes.upstream import ScriptedUpstream

CHAT = {"messages": [{"role": "user", "content": "hello"}]}
STREAM = Answer(headers=[("content-type", "text/event-stream")], body=b'data: {"x":1}\n\ndata: [DONE]\n\n')


async def _models(gateway: Gateway) -> set[str]:
    """Names that are labels."""
    samples = await gateway.samples()
    return {sample.partition('model="')[2].partition('"')[0] for sample in samples if 'model="' in sample}


@pytest.mark.usefixtures("untraced")
async def test_o7_junk_model_names_are_other(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Names that no upstream serves, a thousand of them, make no label: all of them are `other`."""
    upstream.script(Answer(404, headers=[("content-type", "text/event-stream")], body=b"data: no\n\n"))
    gateway = await start()
    before = len(await gateway.samples())

    async def ask(first: int) -> None:
        async with gateway.client() as client:
            for number in range(first, first + 125):
                assert (await client.ask(body={"model": f"junk-{number}", "stream": True, **CHAT})).status == 404

    await asyncio.gather(*(ask(first) for first in range(0, 1_000, 125)))
    assert await gateway.sample("askonce_time_to_first_token_seconds_count") == 1_000
    assert await _models(gateway) == {"other"}
    assert len(await gateway.samples()) - before < 100


async def test_o7_good_model_names_are_bounded(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """An upstream that answers to any name fills `metrics.max_models` labels and no more."""
    upstream.script(STREAM)
    gateway = await start(metrics__max_models=3)
    async with gateway.client() as client:
        for number in range(20):
            assert (await client.ask(body={"model": f"model-{number}", "stream": True, **CHAT})).status == 200
    assert await _models(gateway) == {"model-0", "model-1", "model-2", "other"}
    assert await gateway.sample("askonce_time_to_first_token_seconds_count", model="other") == 17


async def test_o7_made_up_methods_and_paths_are_bounded(gateway: Gateway) -> None:
    """Paths and methods from outside do not become labels."""
    async with gateway.client() as client:
        for number in range(50):
            await client.ask("GET", f"/v1/made-up-{number}/x")
        before = len(await gateway.samples())
        for number in range(50, 500):
            await client.ask("GET", f"/v1/made-up-{number}/x?y={number}")
    assert len(await gateway.samples()) == before


async def _requests(gateway: GatewayProcess) -> float:
    return await gateway.sample("askonce_requests_total", route="chat/completions")


async def _ask_on_new_connections(gateway: GatewayProcess, times: int) -> None:
    """New connections are what the kernel spreads over workers."""
    for _ in range(times):
        async with gateway.client() as client:
            assert (await client.ask(body={"model": "m", **CHAT})).status == 200


async def test_o7_workers_count_as_one(start_process: StartProcess) -> None:
    """Whichever of three workers is scraped, it tells the requests of all; also after one was killed."""
    gateway = await start_process("", "serve", "--workers", "3", clean=False)
    await until(lambda: len(gateway.logs(event="listening")) == 3, 10.0)
    await _ask_on_new_connections(gateway, 60)
    await _published(gateway, 60.0)

    os.kill(gateway.children()[0], signal.SIGKILL)
    await gateway.logged(event="worker_died", timeout=5.0)
    assert await _survivors_say(gateway) == 60
    await until(lambda: len(gateway.logs(event="listening")) == 4, 10.0)
    await _ask_on_new_connections(gateway, 40)
    await _published(gateway, 100.0)
    await gateway.settled()


async def _published(gateway: GatewayProcess, total: float) -> None:
    """Workers share what they counted on a beat; from then on all of them say the same."""
    await gateway.comes_to(total, "askonce_requests_total", route="chat/completions")
    assert [await _requests(gateway) for _ in range(8)] == [total] * 8


async def _survivors_say(gateway: GatewayProcess) -> float:
    """A connection that the kernel had given to the dead worker may be reset."""
    for _ in range(20):
        try:
            return await _requests(gateway)
        except (ConnectionError, EOFError):
            await asyncio.sleep(0.02)
    raise AssertionError("no worker answers")
