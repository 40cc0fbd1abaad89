"""C6: a 200 that lacks something is passed on and not kept, through the gateway."""

from typing import Any

import pytest

from tests.fakes.answers import json_answer
from tests.fakes.asking import KEY, completion, completion_answer, status_of
from tests.fakes.frames import CHAT
from tests.fakes.gateway import StartGateway
from tests.fakes.upstream import ScriptedUpstream


def _spoiled(**fields: Any) -> dict[str, Any]:
    whole = completion()
    (choice,) = whole["choices"]
    return whole | {"choices": [choice | fields]}


@pytest.mark.parametrize(
    ("asked", "answer", "detail"),
    [
        ({"n": 2}, completion(), "incomplete"),
        ({}, _spoiled(message={}), "empty"),
        ({}, _spoiled(error={"code": 502}), "error-in-answer"),
    ],
    ids=["one of two", "nothing", "an error"],
)
async def test_c6_what_lacks_something_is_not_kept(
    start: StartGateway, upstream: ScriptedUpstream, asked: dict[str, Any], answer: dict[str, Any], detail: str
) -> None:
    """Whoever asks again is answered anew."""
    gateway = await start(cache__enabled=True)
    upstream.script(json_answer(answer), completion_answer("all of it"))
    async with gateway.client() as client:
        first, second = [await client.ask(body={**CHAT, **asked}, headers=[KEY]) for _ in range(2)]
    assert [status_of(each) for each in (first, second)] == ["MISS", "MISS"]
    assert first.body != second.body
    assert await gateway.sample("askonce_cache_refusals_total", reason=detail) >= 1
