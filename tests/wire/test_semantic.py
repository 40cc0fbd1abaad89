"""Questions that mean the same, through a gateway that runs."""

import asyncio
from typing import Any

from tests.fakes.admin import TOKEN
from tests.fakes.asking import KEY, completion_answer, status_of
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import RawClient, Response
from tests.fakes.upstream import ScriptedUpstream

ASKED = "How do I reset my password?"
ALIKE = "Hi, how can I reset my password please?"
OTHER = "How do I reset my username?"



async def ask(client: RawClient, question: str, *headers: tuple[str, str], **members: Any) -> Response:
    body = {"model": "m", "messages": [{"role": "user", "content": question}], **members}
    return await client.ask(body=body, headers=[KEY, *headers])


def told(response: Response, name: str) -> str:
    return (response.header(f"x-askonce-{name}".encode()) or b"").decode()


async def started(start: StartGateway, **settings: Any) -> Gateway:
    patient = {"semantic__deadline": 5.0, "cache__enabled": True, "semantic__mode": "on", "admin__token": TOKEN}
    return await start(**{**patient, **settings})


async def learnt(gateway: Gateway, count: int = 1) -> None:
    """Until so many questions can be found."""
    for _ in range(500):
        if (await gateway.metrics()).get("askonce_semantic_questions", 0) >= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was learnt")


async def test_a_question_that_means_the_same_has_the_same_answer(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """As it was stored, with what made it so; nobody is asked again."""
    upstream.script(completion_answer())
    gateway = await started(start)
    async with gateway.client() as client:
        first = await ask(client, ASKED)
        await learnt(gateway)
        second = await ask(client, ALIKE)
    assert (status_of(first), status_of(second)) == ("MISS", "SEMANTIC-HIT")
    assert second.body == first.body
    assert len(upstream.requests) == 1
    assert 0.6 < float(told(second, "similarity")) <= 1
    assert told(second, "semantic-rule").startswith("licensed/")
    assert told(second, "similar-key") == told(first, "cache-key") != told(second, "cache-key")
    assert (second.header(b"age") or b"").isdigit()
