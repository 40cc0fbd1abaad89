"""U10, U11: after the cool-down so many probes reach the upstream as are allowed, and late results change nothing."""

import asyncio
from collections import Counter

import pytest

from proxy.upstream.breaker import State
from tests.fakes.answers import RESET, event_stream, json_answer
from tests.fakes.asking import completion_answer, herd
from tests.fakes.frames import CHAT, DONE, STREAM, chat_frame
from tests.fakes.pair import Pair, pair, said, told
from tests.fakes.polling import until
from tests.fakes.raw import compose

OPENS = {"breaker__failures": 2, "retry__base": 0.0, "routes__main__groups": ["a"]}
BRIEFLY = {"breaker__cool_down": 0.05}


async def _open(two: Pair) -> None:
    """And over with its cool-down, after which it has been asked nothing."""
    two.first.script(RESET)
    for _ in range(2):
        await two.ask()
    assert two.state() is State.OPEN
    breaker = two.endpoint().breaker
    assert breaker is not None
    await until(lambda: not breaker.left)


@pytest.mark.parametrize("probes", [1, 3])
async def test_u10_five_hundred_wait_and_so_many_probe(probes: int) -> None:
    """Of 500 requests at the end of the cool-down exactly N reach the upstream; the others are told at once."""
    held = asyncio.Event()
    async with pair(breaker__probes=probes, **OPENS, **BRIEFLY) as two:
        await _open(two)
        two.first.script(completion_answer("from a", before=held))
        before = len(two.first.requests)
        asking = asyncio.ensure_future(herd(two.gateway, 500))  # noqa: TID251  (awaited below)
        await until(lambda: two.endpoint().gate.busy == probes, 10.0)
        unsent = 500 - probes

        while await two.gateway.sample("askonce_upstream_unsent_total", upstream="a") < unsent:
            await asyncio.sleep(0.02)
        assert len(two.first.requests) - before == probes
        held.set()
        assert Counter(response.status for response in await asking) == {200: probes, 503: unsent}
        assert two.state() is State.CLOSED


async def test_u10_with_slots_and_a_queue_too() -> None:
    """Those who waited for a slot when the breaker opened are told so with it, and not sent."""
    held = asyncio.Event()
    async with pair(upstreams__a__slots=2, breaker__cool_down=30, **OPENS) as two:
        two.first.script(RESET, RESET)
        two.first.script(completion_answer(before=held, raw=b"", end=RESET.end))
        asking = asyncio.ensure_future(herd(two.gateway, 50))  # noqa: TID251  (awaited below)
        await until(lambda: two.endpoint().gate.waiting == 48, 5.0)
        held.set()
        assert Counter(response.status for response in await asking) == {502: 2, 503: 48}
        assert len(two.first.requests) == 2


async def test_u10_whose_client_leaves_the_probe_is_another_s() -> None:
    """A probe that nobody waits for any more says nothing, and the next request takes its place."""
    async with pair(**OPENS, **BRIEFLY) as two:
        await _open(two)
        two.first.script(completion_answer(before=30.0), completion_answer("from a"))
        async with two.gateway.client() as client:
            await client.send(compose(body=CHAT))
            await until(lambda: len(two.first.requests) == 3)
        await until(lambda: not two.endpoint().gate.busy)
        assert two.state() is State.HALF_OPEN
        assert (await two.ask()).status == 200
        assert two.state() is State.CLOSED


async def test_u10_a_probe_that_fails_goes_to_the_second() -> None:
    """Whose request it was is answered all the same, where nothing was sent."""
    async with pair(**{**OPENS, "routes__main__groups": ["a", "b"]}, **BRIEFLY) as two:
        await _open(two)
        await two.first.stop()
        response = await two.ask()
        assert (said(response), told(response)) == ("from b", ("b", 2))
        assert two.state() is State.OPEN


async def test_u10_a_probe_whose_stream_breaks_off_has_failed() -> None:
    """An upstream that begins well and resets is sent one request after each cool-down, which grows."""
    async with pair(**OPENS, **BRIEFLY) as two:
        await _open(two)
        two.first.script(event_stream([chat_frame("one")], terminated=False, end=RESET.end))
        breaker = two.endpoint().breaker
        assert breaker is not None
        for probes in (1, 2):
            await until(lambda: not breaker.left)
            assert DONE not in (await two.ask(STREAM)).body
            assert (two.state(), breaker.openings, len(two.first.requests)) == (State.OPEN, 1 + probes, 2 + probes)


async def test_u10_who_lists_models_and_serves_none_is_left_to_requests() -> None:
    """An active probe that is answered closes nothing that requests have opened; the next one that is served does."""
    settings = {"upstreams__a__probe__interval": 0.03}
    async with pair(**OPENS, **BRIEFLY, **settings) as two:
        two.first.script(lambda request: json_answer({"data": []}) if request.method == "GET" else RESET)
        for _ in range(2):
            await two.ask()
        await until(lambda: two.state() is State.HALF_OPEN)
        listed = len(two.first.requests)
        await until(lambda: len(two.first.requests) >= listed + 3)
        assert two.state() is State.HALF_OPEN
        two.first.script(completion_answer("from a"))
        await until_served(two)
        assert two.state() is State.CLOSED


async def until_served(two: Pair) -> None:
    """It may come while a probe is under way."""
    async with asyncio.timeout(5.0):
        while (await two.ask()).status != 200:
            await asyncio.sleep(0.01)


async def test_u11_a_late_success_does_not_close() -> None:
    """Of a call from before the opening."""
    held = asyncio.Event()
    async with pair(breaker__cool_down=30, **OPENS) as two:
        two.first.script(completion_answer("late", before=held), RESET)
        late = asyncio.ensure_future(two.ask())  # noqa: TID251  (awaited below)
        await two.first.received()
        for _ in range(2):
            await two.ask()
        assert two.state() is State.OPEN
        held.set()
        assert said(await late) == "late"
        assert two.state() is State.OPEN
        assert (await two.ask()).status == 503


async def test_u11_a_late_failure_does_not_open_again() -> None:
    """A stream from before the opening that breaks off after the closing says nothing of what is now."""
    held = asyncio.Event()
    async with pair(**OPENS, **BRIEFLY) as two:
        two.first.script(event_stream([chat_frame("one"), held], terminated=False, end=RESET.end), RESET)
        async with two.gateway.client() as client:
            await client.send(compose(body=STREAM))
            response = await client.start()
            await client.chunk(response)
            await _reopened(two)
            breaker = two.endpoint().breaker
            assert breaker is not None
            held.set()
            while await client.chunk(response):
                pass
            assert b"upstream_disconnected" in response.body
            assert DONE not in response.body
            assert (breaker.state, breaker.failing) == (State.CLOSED, False)


async def _reopened(two: Pair) -> None:
    for _ in range(2):
        await two.ask()
    breaker = two.endpoint().breaker
    assert breaker is not None
    await until(lambda: not breaker.left)
    two.first.script(completion_answer("from a"))
    assert (await two.ask()).status == 200
    assert two.state() is State.CLOSED
