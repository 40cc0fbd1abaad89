"""U12, U13: what a retry budget and a full upstream do not keep from one that is well."""

import asyncio

from proxy.upstream.endpoint import LATELY
from tests.fakes.answers import json_answer
from tests.fakes.asking import KEY, completion_answer
from tests.fakes.pair import pair, said, told

LIMITED = json_answer({"error": {"message": "Rate limit reached."}}, 429)


async def test_u12_one_that_is_well_takes_all_that_another_refuses() -> None:
    """Nothing is billed twice by it, and it is no storm on one that can bear it."""
    async with pair() as two:
        two.first.script(LIMITED)
        assert said(await two.ask()) == "from b"
        two.second.script(completion_answer("from b", before=0.05))
        responses = await asyncio.gather(*[two.ask() for _ in range(40)])
        assert {told(response) for response in responses} == {("b", 2)}


async def test_u12_one_that_has_failed_is_not_stormed() -> None:
    """What failed last has to answer first: until then the retry budget bounds what is sent there."""
    async with pair(breaker__enabled=False) as two:
        two.first.script(LIMITED)
        await two.ask()
        two.second.script(json_answer({"error": {"message": "Oh."}}, 500))
        for _ in range(30):
            await two.ask()
        assert len(two.second.requests) < 20
        assert two.endpoint("b").is_well(LATELY) is False


async def test_u13_a_full_upstream_leaves_it_to_the_next() -> None:
    """Whoever could be served elsewhere does not wait for a slot for as long as the queue allows."""
    async with pair(upstreams__a__slots=1, admission__patience=30.0) as two:
        gate = asyncio.Event()
        two.first.script(completion_answer("from a", before=gate))
        holding = asyncio.create_task(two.ask())  # noqa: TID251  (awaited below)
        await two.first.received()
        async with asyncio.timeout(5):
            response = await two.ask(headers=[KEY, ("x-askonce-timeout-ms", "4000")])
        assert (said(response), told(response)) == ("from b", ("b", 1))
        gate.set()
        assert said(await holding) == "from a"
