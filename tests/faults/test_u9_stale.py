"""U9: what is past its time goes before any refusal that is an upstream's: a fault, no slot, or a limit of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.fakes.answers import Answer, Framing, Piece, json_answer
from tests.fakes.asking import completion_answer, status_of
from tests.fakes.frames import CHAT
from tests.fakes.pair import Pair, pair, said, told
from tests.fakes.polling import until
from tests.fakes.raw import Response
from tests.fakes.upstream import ScriptedUpstream

STALE = {"cache__enabled": True, "cache__ttl__chat_completions": 0.01, "cache__stale_if_error": 60}
NO_ROOM = {"upstreams__b__slots": 1}
LIMITED = {"upstreams__b__limits__requests_per_day": 1}


async def past_its_time(two: Pair) -> None:
    """An answer of the first."""
    assert told(await two.ask()) == ("a", 1)
    await asyncio.sleep(0.02)


@asynccontextmanager
async def busy(two: Pair, upstream: ScriptedUpstream) -> AsyncIterator[None]:
    """Its slot is taken, and its limit is reached."""
    end, before = asyncio.Event(), len(upstream.requests)
    upstream.script(completion_answer("another", before=end))
    async with asyncio.TaskGroup() as others:
        others.create_task(two.ask(CHAT | {"seed": 1}))
        await until(lambda: len(upstream.requests) > before)
        yield
        end.set()


def is_stale(response: Response) -> bool:
    return (response.status, said(response), status_of(response)) == (200, "from a", "STALE")


async def test_u9_the_only_one_has_no_slot() -> None:
    """Nobody has failed, and nobody can be asked."""
    async with pair(**STALE, routes__main__groups=["a"], upstreams__a__slots=1, admission__queue=0) as two:
        await past_its_time(two)
        async with busy(two, two.first):
            assert is_stale(await two.ask())
            response = await two.ask(CHAT | {"seed": 2})
            assert (response.status, response.error_code) == (503, "overloaded")


@pytest.mark.parametrize("second", [NO_ROOM, LIMITED], ids=["slots", "limits"])
async def test_u9_the_second_has_no_room(second: dict[str, object]) -> None:
    """The first is down: what it once said goes before a refusal of the other."""
    async with pair(**STALE, **second, admission__queue=0) as two:
        await past_its_time(two)
        await two.first.stop()
        async with busy(two, two.second):
            assert is_stale(await two.ask())


async def test_u9_a_stale_answer_bears_no_name_of_a_failed_one() -> None:
    """`x-request-id` is the gateway's own, and not that of the 500 in whose place it stands."""
    async with pair(**STALE, routes__main__groups=["a"]) as two:
        await past_its_time(two)
        two.first.script(json_answer({"error": {}}, 500, [("x-request-id", "of-the-500")]))
        response = await two.ask()
        assert is_stale(response)
        assert response.header(b"x-request-id") == response.header(b"x-askonce-call-id")


async def test_u9_what_a_stale_answer_stands_for_is_let_go() -> None:
    """A refusal whose body never ends holds no connection, once its client has another answer."""
    async with pair(**STALE, routes__main__groups=["a"]) as two:
        await past_its_time(two)
        endless: list[Piece] = [b"{", asyncio.Event()]
        two.first.script(Answer(503, [("content-type", "application/json")], endless, Framing.CHUNKED))
        assert is_stale(await two.ask())
        await two.first.aborted()
