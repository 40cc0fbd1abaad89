"""S7: a thundering herd before several workers is one call, too."""

import asyncio

from tests.fakes.answers import event_stream
from tests.fakes.asking import completion_answer, herd
from tests.fakes.frames import CHAT, COUNTED
from tests.fakes.gateway import GatewayProcess, StartProcess
from tests.fakes.polling import until
from tests.fakes.raw import Response
from tests.fakes.redis_server import RedisServer
from tests.fakes.streams import STREAMS
from tests.fakes.upstream import ScriptedUpstream

THOUSAND = 1_000


async def _at_once(gateway: GatewayProcess, body: object, gate: asyncio.Event) -> set[bytes]:
    """The answers to a thousand requests, none of which gets its own before all have come."""
    waiting = asyncio.Task(herd(gateway, THOUSAND, body))
    async with asyncio.timeout(10.0):
        while await gateway.sample("askonce_in_flight") < THOUSAND:
            await asyncio.sleep(0.03)
    gate.set()
    responses: list[Response] = await waiting
    assert {(response.status, response.whole) for response in responses} == {(200, True)}
    return {response.body for response in responses}


async def test_s7_a_thousand_before_two_workers(
    start_process: StartProcess, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """One call of one worker, and then another one for a stream: every answer is the upstream's, byte for byte."""
    settings = {"cache__enabled": True, "redis__url": redis_server.url, "redis__deadline": 1.0}
    gateway = await start_process("", "serve", "--workers", "2", **settings)
    await until(lambda: len(gateway.logs(event="listening")) == 2, 10.0, "both listen")
    gates = [asyncio.Event(), asyncio.Event()]
    first, *others = STREAMS["parallel tools"].frames
    upstream.script(
        answer := completion_answer(before=gates[0]),
        event_stream([first, gates[1], *others]),
        completion_answer("a call too many"),
    )
    assert await _at_once(gateway, CHAT, gates[0]) == {answer.body}
    assert await _at_once(gateway, COUNTED | {"seed": 1}, gates[1]) == {b"".join([first, *others])}
    assert len(upstream.requests) == 2
    # The other worker was there, and found in Redis what it had waited for.
    await gateway.comes_to(2, "askonce_cache_lookups_total", tier="redis", result="found")
    await gateway.comes_to(4, "askonce_cache_lookups_total", tier="redis", result="absent")
    assert await gateway.sample("askonce_cache_lookups_total", tier="redis", result="found") == 2
