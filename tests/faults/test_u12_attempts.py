"""U12: upstreams that are all down are sent at most 1.1 times what clients asked for, and one herd."""

import asyncio
from dataclasses import replace

import pytest

from proxy.upstream.endpoint import DEBT, LATELY
from proxy.upstreams import BURST
from tests.fakes.answers import Answer, End, json_answer
from tests.fakes.asking import completion_answer, herd
from tests.fakes.frames import CHAT
from tests.fakes.pair import NO_WAIT, Pair, pair, told
from tests.fakes.polling import until

REFUSAL = {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}
LIMITED = json_answer(REFUSAL, 429, [("retry-after-ms", "1")])
BUSY = json_answer(REFUSAL, 503, [("retry-after-ms", "1")])
HALF = Answer(raw=b"", reads=1, end=End.RESET)
REQUESTS = 300
MOST = 1.1 * REQUESTS + BURST + DEBT
"""While nobody knows that they fail, as many go to one as are out at once, within a bound."""


async def _attempts(two: Pair) -> float:
    return await two.gateway.sample("askonce_upstream_attempts_total")


async def _ask(two: Pair) -> None:
    for _ in range(3):
        for response in await herd(two.gateway, REQUESTS // 3):
            assert response.status in (429, 502, 503)


@pytest.mark.parametrize("breaker", [True, False], ids=["breaker", "no breaker"])
@pytest.mark.parametrize("down", ["refused", "429", "503"])
async def test_u12_attempts(down: str, *, breaker: bool) -> None:
    """Counted at the upstreams and in the metrics, with a breaker and without."""
    async with pair(breaker__enabled=breaker, **NO_WAIT) as two:
        for upstream in (two.first, two.second):
            upstream.script({"429": LIMITED, "503": BUSY}.get(down, HALF))
            if down == "refused":
                await upstream.stop()
        await _ask(two)
        assert await _attempts(two) <= MOST
        if down != "refused":
            assert sum(two.sent) == await _attempts(two)
        if not breaker:
            assert await two.gateway.sample("askonce_upstream_retries_refused_total") > 0


async def test_u12_however_long_they_take_to_fail() -> None:
    """Of whom nobody knows that it fails, one herd is sent what another has refused, and not the next."""
    async with pair(breaker__enabled=False, **NO_WAIT) as two:
        two.first.script(replace(LIMITED, before=0.2))
        two.second.script(replace(LIMITED, before=0.2))
        endpoint = two.endpoint("b")
        for _ in range(3):
            await herd(two.gateway, REQUESTS // 3)
            long_ago = asyncio.get_running_loop().time() - LATELY
            endpoint.failed(long_ago, long_ago)
        assert sum(two.sent) <= MOST


async def test_u12_debts_are_of_a_time_that_is_over() -> None:
    """Who has failed a herd and answers again is asked again with another key as before."""
    keys = ["sk-1", "sk-2"]
    own = {"routes__other__models": ["other"], "routes__other__groups": ["b"]}
    async with pair(upstreams__b__keys=keys, breaker__enabled=False, **own, **NO_WAIT) as two:
        two.first.script(LIMITED)
        failing = asyncio.Event()
        two.second.script(replace(json_answer(REFUSAL, 500), before=failing))
        first = asyncio.Task(herd(two.gateway, 100))
        await until(lambda: len(two.second.requests) > 40, 10.0, "more than it could pay for are sent before one fails")
        failing.set()
        await first
        assert two.endpoint("b").budget.debt > 0
        two.second.script(completion_answer("from b"))
        for _ in range(11):
            await two.ask(CHAT | {"model": "other"})
        two.second.script(LIMITED, completion_answer("from b"))
        response = await two.ask(CHAT | {"model": "other"})
        assert (response.status, told(response)) == (200, ("b", 2))


async def test_u12_of_keys_too() -> None:
    """Several keys that are all refused do not multiply what an upstream is sent, a first burst apart."""
    keys = [f"sk-{number}" for number in range(20)]
    async with pair(upstreams__a__keys=keys, routes__main__groups=["a"], retry__attempts=20) as two:
        two.first.script(LIMITED)
        await herd(two.gateway, REQUESTS // 3)
        first = sum(two.sent)
        await _ask(two)
        assert sum(two.sent) - first <= 1.1 * REQUESTS + BURST


async def test_u12_a_fallback_that_helps_is_not_rationed() -> None:
    """With the breaker off and the first down, each of 60 requests is answered by the second."""
    async with pair(breaker__enabled=False) as two:
        await two.first.stop()
        responses = [await two.ask(CHAT | {"n": 1}) for _ in range(60)]
        assert {response.status for response in responses} == {200}
        assert await _attempts(two) == 120
