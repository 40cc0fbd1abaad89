"""S7: an answer that may not be kept ends the lease it was asked under: nobody waits for it with another worker."""

import pytest

from tests.fakes.answers import Answer, json_answer
from tests.fakes.asking import completion_answer
from tests.fakes.frames import CHAT
from tests.fakes.gateway import StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import RawClient
from tests.fakes.redis_server import RedisServer
from tests.fakes.upstream import ScriptedUpstream


@pytest.mark.parametrize(
    "answer",
    [json_answer({"error": {"message": "no such model"}}, 404), completion_answer(finish="length"), json_answer({})],
    ids=["an error", "cut short", "nothing"],
)
async def test_s7_a_refused_answer_ends_its_lease(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer, answer: Answer
) -> None:
    """Long before its time, and it is renewed no more."""
    upstream.script(answer)
    gateway = await start(cache__enabled=True, redis__url=redis_server.url, redis__deadline=1.0)
    async with RawClient(gateway.url) as client:
        await client.ask("POST", "/v1/chat/completions", CHAT)
    assert redis_server.tell("KEYS", "*:f:*"), "it was asked under a lease"
    assert not redis_server.tell("KEYS", "*:e:*"), "it is not kept"
    await until(lambda: not redis_server.tell("KEYS", "*:l:*"), 1.5)
