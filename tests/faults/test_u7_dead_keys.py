"""U7: dead keys beside good ones, whatever else clients are refused for; and upstreams whose keys are all dead."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.answers import Answer, json_answer
from tests.fakes.asking import completion_answer
from tests.fakes.frames import CHAT
from tests.fakes.pair import pair, said, told
from tests.fakes.upstream import Request

REFUSAL = {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}
FORBIDDEN = ("x-forbidden", "1")


def upstream(status: int, *dead: str, before: float = 0.0) -> Callable[[Request], Answer]:
    """It refuses these keys, and whoever asks for what is forbidden."""

    def answer(request: Request) -> Answer:
        if request.header(FORBIDDEN[0].encode()):
            return json_answer(REFUSAL, 403)
        key = (request.header(b"authorization") or b"").decode().removeprefix("Bearer ")
        return replace(json_answer(REFUSAL, status), before=before) if key in dead else completion_answer("from a")

    return answer


def keyed(count: int, **settings: Any) -> dict[str, Any]:
    keys = [f"sk-{number}" for number in range(count)]
    return {"upstreams__a__keys": keys, "routes__main__groups": ["a"], **settings}


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_u7_a_herd_that_meets_a_dead_key(status: int) -> None:
    """Goes on with the good one, whatever the retry budget: that is not what it is for."""
    async with pair(**keyed(2)) as two:
        two.first.script(upstream(status, "sk-0", before=0.1))
        responses = await asyncio.gather(*[two.ask() for _ in range(60)])
        assert [response.status for response in responses] == [200] * 60
        assert two.endpoint().budget.debt == 0


async def test_u7_a_herd_that_meets_a_dead_key_needs_no_fallback() -> None:
    """Many refusals in a row are no reason to ask another upstream, while there is a key that was not refused."""
    async with pair(**{**keyed(2), "routes__main__groups": ["a", "b"]}) as two:
        two.first.script(upstream(401, "sk-0", before=0.1))
        responses = await asyncio.gather(*[two.ask() for _ in range(60)])
        assert {said(response) for response in responses} == {"from a"}


async def test_u7_a_dead_key_and_a_client_that_every_key_refuses() -> None:
    """That one spends the retries; no more than one other hears of the dead key."""
    async with pair(**keyed(2)) as two:
        two.first.script(upstream(401, "sk-0"))
        forbidden = CHAT | {"model": "forbidden"}
        for _ in range(15):
            assert (await two.ask(forbidden, [FORBIDDEN])).status == 403
        statuses = []
        for _ in range(40):
            statuses.append((await two.ask()).status)
            assert (await two.ask(forbidden, [FORBIDDEN])).status == 403
        assert statuses[1:] == [200] * 39


async def test_u7_most_keys_are_revoked() -> None:
    """Who comes first hears it, after as many tries as there may be; the good one serves all others."""
    async with pair(**keyed(4)) as two:
        two.first.script(upstream(401, "sk-0", "sk-1", "sk-2"))
        responses = [await two.ask() for _ in range(60)]
        assert (responses[0].status, told(responses[0])) == (401, ("a", 3))
        assert [response.status for response in responses[1:]] == [200] * 59


@pytest.mark.parametrize("count", [1, 2])
async def test_u7_an_upstream_whose_keys_are_revoked_gives_way(count: int) -> None:
    """The next serves everybody, and it is not asked first for ever."""
    settings = {**keyed(count), "routes__main__groups": ["a", "b"], "upstreams__b__key": "sk-b"}
    async with pair(**settings) as two:
        two.first.script(upstream(401, "sk-0", "sk-1"))
        began = asyncio.get_running_loop().time()
        responses = [await two.ask() for _ in range(100)]
        seconds = asyncio.get_running_loop().time() - began
        assert {said(response) for response in responses} == {"from b"}
        assert two.sent[0] <= 5 + count * (1 + seconds)
        assert Counter(told(response)[1] for response in responses)[1] >= 90 - seconds


async def test_u7_an_upstream_with_a_mended_key_is_found() -> None:
    """Within a second or so, without a reload."""
    async with pair(**{**keyed(1), "routes__main__groups": ["a", "b"]}) as two:
        two.first.script(upstream(401, "sk-0"))
        for _ in range(10):
            assert said(await two.ask()) == "from b"
        two.first.script(completion_answer("from a"))
        async with asyncio.timeout(5):
            while said(await two.ask()) != "from a":
                await asyncio.sleep(0.02)
        assert {said(await two.ask()) for _ in range(10)} == {"from a"}


async def test_u7_where_nobody_else_can_be_asked_clients_hear_it() -> None:
    """Each of them, what the upstream says."""
    async with pair(**keyed(1)) as two:
        two.first.script(upstream(401, "sk-0"))
        assert [(await two.ask()).status for _ in range(10)] == [401] * 10
        assert two.sent == (10, 0)
