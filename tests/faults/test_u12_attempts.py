"""U12: upstreams that are all down are sent at most 1.1 times what clients asked for."""

import pytest

from proxy.upstreams import BURST
from tests.fakes.answers import Answer, End, json_answer
from tests.fakes.asking import herd
from tests.fakes.frames import CHAT
from tests.fakes.pair import NO_WAIT, Pair, pair

REFUSAL = {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}
LIMITED = json_answer(REFUSAL, 429, [("retry-after-ms", "1")])
BUSY = json_answer(REFUSAL, 503, [("retry-after-ms", "1")])
HALF = Answer(raw=b"", reads=1, end=End.RESET)
REQUESTS = 300


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
        assert await _attempts(two) <= 1.1 * REQUESTS
        if down != "refused":
            assert sum(two.sent) == await _attempts(two)
        if not breaker:
            assert await two.gateway.sample("askonce_upstream_retries_refused_total") > 0


async def test_u12_of_keys_too() -> None:
    """Several keys that are all refused do not multiply what an upstream is sent, a first burst apart."""
    keys = [f"sk-{number}" for number in range(20)]
    async with pair(upstreams__a__keys=keys, routes__main__groups=["a"], retry__attempts=20) as two:
        two.first.script(json_answer(REFUSAL, 429, [("retry-after-ms", "1")]))
        await _ask(two)
        assert sum(two.sent) <= 1.1 * REQUESTS + BURST


async def test_u12_a_fallback_that_helps_is_not_rationed() -> None:
    """With the breaker off and the first down, each of 60 requests is answered by the second."""
    async with pair(breaker__enabled=False) as two:
        await two.first.stop()
        responses = [await two.ask(CHAT | {"n": 1}) for _ in range(60)]
        assert {response.status for response in responses} == {200}
        assert await _attempts(two) == 120
