"""U13: slots and deadlines of several upstreams: nobody is sent what nobody waits for, and no slot is lost."""

import asyncio

import pytest

from proxy.upstream import member
from proxy.upstream.breaker import Result, State
from tests.fakes.answers import SILENCE, Answer, End, event_stream
from tests.fakes.asking import KEY, completion_answer, herd
from tests.fakes.frames import CHAT, STREAM, chat_frame
from tests.fakes.pair import pair, said, told
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.toxics import black_hole

ONE_SLOT = {"upstreams__a__slots": 1, "routes__main__groups": ["a"]}


async def test_u13_one_at_a_time() -> None:
    """One slot and three clients: each is sent when the one before has been answered."""
    async with pair(**ONE_SLOT) as two:
        gates = [asyncio.Event() for _ in range(3)]
        two.first.script(*(completion_answer(str(number), before=gate) for number, gate in enumerate(gates)))
        asking = asyncio.ensure_future(herd(two.gateway, 3))  # noqa: TID251  (awaited below)
        for number, gate in enumerate(gates):
            await two.first.received(number + 1)
            await until(lambda waiting=2 - number: two.endpoint().gate.waiting == waiting)  # type: ignore[misc]
            assert (len(two.first.requests), two.endpoint().gate.busy) == (number + 1, 1)
            gate.set()
        assert sorted(said(response) for response in await asking) == ["0", "1", "2"]


async def test_u13_a_leaver_in_the_queue_leaks_nothing() -> None:
    """Its place is gone with it, and nothing of it is sent."""
    gate = asyncio.Event()
    async with pair(**ONE_SLOT) as two:
        two.first.script(completion_answer(before=gate))
        first = asyncio.ensure_future(two.ask())  # noqa: TID251  (awaited below)
        await two.first.received()
        async with two.gateway.client() as leaver:
            await leaver.send(compose(body=CHAT))
            await until(lambda: two.endpoint().gate.waiting == 1)
        await until(lambda: not two.endpoint().gate.waiting)
        gate.set()
        assert (await first).status == 200
        assert (await two.ask()).status == 200
        assert two.sent == (2, 0)


async def test_u13_a_stream_holds_its_slot_to_its_end() -> None:
    """Whether it ends well, breaks off, or its client leaves."""
    async with pair(**ONE_SLOT) as two:
        two.first.script(event_stream([chat_frame("one"), 30.0]))
        async with two.gateway.client() as client:
            await client.send(compose(body=STREAM))
            await client.chunk(await client.start())
            assert two.endpoint().gate.busy == 1
        await two.idle()
        two.first.script(event_stream([chat_frame("one"), 0.03], terminated=False, end=End.CLOSE))
        await two.ask(STREAM)
        await two.idle()


async def test_u13_a_full_queue_leaves_it_to_the_second() -> None:
    """Who finds no room at the first has none of its patience to lose."""
    gate = asyncio.Event()
    async with pair(upstreams__a__slots=1, admission__queue=0) as two:
        two.first.script(completion_answer("from a", before=gate))
        first = asyncio.ensure_future(two.ask())  # noqa: TID251  (awaited below)
        await two.first.received()
        assert told(await two.ask()) == ("b", 1)
        gate.set()
        assert told(await first) == ("a", 1)


async def test_u13_no_room_anywhere() -> None:
    """E(503, server_error, overloaded) at once, with Retry-After; a client may retry."""
    gate = asyncio.Event()
    async with pair(admission__queue=0, **ONE_SLOT) as two:
        two.first.script(completion_answer(before=gate))
        first = asyncio.ensure_future(two.ask())  # noqa: TID251  (awaited below)
        await two.first.received()
        response = await two.ask()
        assert (response.status, response.error_code) == (503, "overloaded")
        assert response.json()["error"]["type"] == "server_error"
        assert int(response.header(b"retry-after") or 0) >= 1
        assert response.header(b"x-should-retry") is None
        gate.set()
        await first


async def test_u13_the_time_that_a_client_gives_is_of_all_calls_together() -> None:
    """Once it is over, at the first, the second is not asked: nobody waits for its answer."""
    with black_hole() as (host, port):
        async with pair(upstreams__a__base_url=f"http://{host}:{port}/v1") as two:
            response = await two.ask(headers=[KEY, ("x-askonce-timeout-ms", "100")])
            assert (response.status, told(response)) == (502, ("a", 1))
            assert two.sent == (0, 0)


async def test_u13_the_second_has_what_is_left_of_it() -> None:
    """The first has used up its connect time-out of that, and the second is silent."""
    loop = asyncio.get_running_loop()
    with black_hole() as (host, port):
        async with pair(upstreams__a__base_url=f"http://{host}:{port}/v1", upstreams__a__timeouts__connect=0.25) as two:
            two.second.script(SILENCE)
            began = loop.time()
            response = await two.ask(headers=[KEY, ("x-askonce-timeout-ms", "400")])
            assert (response.status, told(response)) == (504, ("b", 2))
            assert loop.time() - began < 0.25 + 0.4


async def test_u13_a_route_s_time_outs_go_before_an_upstream_s() -> None:
    """And these before the general ones."""
    settings = {"timeouts__first_byte": 30, "upstreams__a__timeouts__first_byte": 20}
    async with pair(routes__main__timeouts__first_byte=0.05, **settings) as two:
        two.first.script(SILENCE)
        assert (await two.ask()).error_code == "upstream_timeout"


async def test_u13_a_slow_answer_holds_up_no_other_upstream() -> None:
    """A route whose first has no slot left serves the models of another route as before."""
    gate = asyncio.Event()
    settings = {"routes__other__models": "x-*", "routes__other__groups": ["b"]}
    async with pair(**{**ONE_SLOT, **settings}) as two:
        two.first.script(Answer(before=gate))
        held = asyncio.ensure_future(herd(two.gateway, 10))  # noqa: TID251  (awaited below)
        await until(lambda: two.endpoint().gate.waiting == 9)
        assert told(await two.ask(CHAT | {"model": "x-1"})) == ("b", 1)
        gate.set()
        assert {response.status for response in await held} == {200}


@pytest.mark.parametrize(("comment", "sent"), [(0.2, (1, 0)), (5.0, (1, 1))])
async def test_u13_a_comment_leaves_a_silent_stream_with_the_first(comment: float, sent: tuple[int, int]) -> None:
    """It is a byte that has gone to the client; without it, `on_ambiguous` lets the second be asked."""
    settings = {"routes__main__timeouts__first_byte": 0.5, "routes__main__on_ambiguous": True}
    async with pair(timeouts__comment=comment, **settings) as two:
        two.first.script(SILENCE)
        response = await two.ask(STREAM)
        assert (response.body.startswith(b": ping"), b"upstream_timeout" in response.body) == (sent[1] == 0,) * 2
        assert two.sent == sent


async def test_u13_gauges_of_an_upstream_that_is_gone_are_nought() -> None:
    """Also of one that was busy when a reload took it out."""
    gate = asyncio.Event()
    async with pair() as two:
        two.first.script(completion_answer("from a", before=gate))
        held = asyncio.ensure_future(two.ask())  # noqa: TID251  (awaited below)
        await two.first.received()
        assert await two.gateway.sample("askonce_upstream_busy", upstream="a") == 1
        two.without_first()
        assert await two.gateway.sample("askonce_upstream_busy", upstream="a") == 0
        gate.set()
        assert said(await held) == "from a"
        assert told(await two.ask()) == ("b", 1)
        two.reload()


async def test_u13_who_has_no_other_waits_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a queue as if there were one upstream alone: the other is left alone, and would refuse it."""
    monkeypatch.setattr(member, "BRIEFLY", 0.05)
    async with pair(upstreams__a__slots=1, breaker__cool_down=30.0) as two:
        breaker = two.endpoint("b").breaker
        assert breaker is not None
        while breaker.state is State.CLOSED:
            breaker.leave(breaker.enter() or 0, Result.FAILED)
        two.first.script(completion_answer("from a", before=0.15))
        answers = await asyncio.gather(*[two.ask(CHAT | {"seed": number}) for number in range(3)])
        assert [answer.status for answer in answers] == [200, 200, 200]
