"""U12, U13: what a retry budget and a full upstream do not keep from one that is well."""

import asyncio
from typing import Any

import pytest

from proxy.upstream.endpoint import LATELY
from tests.fakes.answers import json_answer
from tests.fakes.asking import KEY, completion_answer
from tests.fakes.frames import CHAT
from tests.fakes.gateway import in_process
from tests.fakes.pair import pair, said, told
from tests.fakes.toxics import black_hole
from tests.fakes.upstream import ScriptedUpstream

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


async def test_u12_an_idle_one_takes_a_herd() -> None:
    """Nobody knows anything against it."""
    with black_hole() as (host, port):
        async with pair(upstreams__a__base_url=f"http://{host}:{port}/v1", upstreams__a__timeouts__connect=0.2) as two:
            two.second.script(completion_answer("from b", before=0.1))
            responses = await asyncio.gather(*[two.ask() for _ in range(60)])
            assert {told(response) for response in responses} == {("b", 2)}


async def test_u12_one_that_has_recovered_is_found_out() -> None:
    """Also where the first goes on refusing and its breaker stays closed: within a second, and then it takes all."""
    async with pair(breaker__enabled=False) as two:
        two.first.script(LIMITED)
        two.second.script(json_answer({"error": {"message": "Oh."}}, 500))
        await asyncio.gather(*[two.ask() for _ in range(40)])
        two.second.script(completion_answer("from b"))
        async with asyncio.timeout(5):
            while (await two.ask()).status != 200:
                await asyncio.sleep(0.05)
        assert {told(await two.ask()) for _ in range(20)} == {("b", 2)}


@pytest.mark.parametrize("groups", [["a", "b", "c"], ["a b c"]], ids=["groups", "one group"])
async def test_u12_the_one_behind_a_rationed_one(groups: list[str]) -> None:
    """Is asked all the same: who can't afford it is passed over."""
    async with (
        ScriptedUpstream(LIMITED) as first,
        ScriptedUpstream(LIMITED) as second,
        ScriptedUpstream(completion_answer("from c")) as third,
    ):
        urls: dict[str, Any] = {
            f"upstreams__{name}__base_url": each.url for name, each in zip("abc", (first, second, third), strict=True)
        }
        async with in_process("", routes__main__models="*", routes__main__groups=groups, **urls) as gateway:
            responses = []
            for _ in range(40):
                async with gateway.client() as client:
                    responses.append(await client.ask("POST", "/v1/chat/completions", CHAT, [KEY]))
            assert {said(response) for response in responses} == {"from c"}
            assert len(second.requests) < 30, "and it is passed over"


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
