"""S7: herds before several workers, where the answer is several entries, or none. One Redis, a gateway for each."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from proxy.demo.checks import Embeddings
from proxy.demo.model.embeddings import embed
from tests.fakes.answers import Answer, Framing, json_answer
from tests.fakes.asking import herd
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import Response
from tests.fakes.redis_server import RedisServer
from tests.fakes.upstream import Request, ScriptedUpstream

MANY = 12
INPUTS = [f"text {n}" for n in range(300)]


async def _two(start: StartGateway, redis_server: RedisServer) -> list[Gateway]:
    settings: dict[str, Any] = {"cache__enabled": True, "redis__url": redis_server.url, "redis__deadline": 1.0}
    return [await start(**settings) for _ in range(2)]


async def _waiting(gateways: list[Gateway], tasks: list["asyncio.Task[list[Response]]"]) -> None:
    """All requests are there, and the worker who does not lead knows that the other does."""
    await until(lambda: all(len(gateway.app.clients.crew.serving) == MANY for gateway in gateways), 5.0, "all wait")
    assert not any(task.done() for task in tasks)


async def test_s7_equal_batches_are_one_call(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """Of embeddings for hundreds of inputs, and everybody has them all."""
    gate = asyncio.Event()

    def embedded(request: Request) -> Answer:
        def said() -> Iterator[bytes]:
            yield msgspec.json.encode(embed(msgspec.json.decode(request.body, type=Embeddings)))

        return Answer(200, [("content-type", "application/json")], said(), Framing.CHUNKED, before=gate)

    upstream.script(embedded)
    gateways = await _two(start, redis_server)
    body = {"model": "m", "input": INPUTS, "dimensions": 8}
    tasks = [asyncio.Task(herd(gateway, MANY, body, target="/v1/embeddings")) for gateway in gateways]
    await _waiting(gateways, tasks)
    await upstream.received()
    await asyncio.sleep(0.05)
    gate.set()
    responses = [response for task in tasks for response in await task]
    assert {response.status for response in responses} == {200}
    assert len({response.body for response in responses}) == 1
    assert len(upstream.requests) == 1


async def test_s7_who_can_share_nothing_waits_for_no_worker(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """Four calls of each worker at once; a call that another worker has not ended yet is waited for once."""
    first, others = asyncio.Event(), asyncio.Event()
    refused = replace(json_answer({"error": {"message": "no"}}, status=400), before=others)
    upstream.script(replace(refused, before=first), refused)
    gateways = await _two(start, redis_server)
    tasks = [asyncio.Task(herd(gateway, MANY)) for gateway in gateways]
    await _waiting(gateways, tasks)
    await upstream.received()
    await asyncio.sleep(0.05)
    assert len(upstream.requests) == 1
    first.set()
    # Of the worker who led, four that had followed; of the other, the one that had waited for the lease.
    await upstream.received(1 + 4 + 1)
    await asyncio.sleep(0.05)
    assert len(upstream.requests) == 1 + 4 + 1
    others.set()
    responses = [response for task in tasks for response in await task]
    assert {response.status for response in responses} == {400}
    assert len(upstream.requests) == 2 * MANY
