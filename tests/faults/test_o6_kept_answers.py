"""O6: what a reload is to answers that are shared and kept."""

import asyncio
from typing import Any

import msgspec

from tests.fakes.asking import KEY, completion_answer
from tests.fakes.frames import CHAT
from tests.fakes.gateway import StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.redis_server import RedisServer
from tests.fakes.upstream import ScriptedUpstream


async def test_o6_a_refused_reload_forgets_no_flight(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """The pipeline that lives on has the flights that it had, and the end of the process ends them."""
    gateway = await start(cache__enabled=True)
    caches = gateway.app._caches
    # As far as a reload comes that is refused.
    caches.recall(gateway.app.config)
    caches.recall(gateway.app.config)
    upstream.script(completion_answer(before=asyncio.Event()))
    async with gateway.client() as client:
        await client.send(compose(body=CHAT, headers=[KEY]))
        await until(lambda: len(upstream.requests) == 1)
        assert sum(map(len, caches._flights.values())) == 1


async def test_o6_what_may_be_kept_changes_everywhere(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """In Redis, too, larger answers are kept once a reload says so."""
    settings: dict[str, Any] = {"redis__url": redis_server.url, "redis__deadline": 1.0}
    gateway = await start(cache__enabled=True, cache__max_entry_bytes=4_096, **settings)
    config = gateway.app.config
    cache = msgspec.structs.replace(config.cache, max_entry_bytes=1 << 20)
    upstream.script(completion_answer("x" * 20_000))
    async with gateway.client() as client:
        await client.ask(body=CHAT, headers=[KEY])
        gateway.app.reload(msgspec.structs.replace(config, cache=cache))
        await client.ask(body=CHAT, headers=[KEY])
    await until(lambda: redis_server.tell("KEYS", "askonce:e:*"), why="it is in Redis")
