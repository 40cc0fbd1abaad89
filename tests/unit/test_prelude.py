"""The first frames of a stream, held until one of them says something."""

import asyncio
from collections.abc import AsyncIterator
from math import inf

import pytest

from proxy.errors import Failure, Kind
from proxy.exchange import Reply
from proxy.held import HIGH_WATER, Held
from proxy.http1.pool import Pool
from proxy.upstream.prelude import held_back
from tests.fakes.answers import Answer, End, Framing
from tests.fakes.frames import DONE, chat_frame
from tests.fakes.polling import until
from tests.fakes.pooling import Collected, ask, pool_of
from tests.fakes.seams import FakeReply
from tests.fakes.upstream import ScriptedUpstream

EVENTS = b"text/event-stream; charset=utf-8"
ROLE, WORD = chat_frame(""), chat_frame("a")
ERROR = b'data: {"error":{"message":"m","type":"server_error","code":null}}\n\n'
LIMIT = 10_000


async def hold(reply: FakeReply, limit: int = LIMIT, seconds: float = 60.0) -> "asyncio.Future[Reply]":
    """Has begun when this returns."""
    loop = asyncio.get_running_loop()
    holding = held_back(reply, limit, loop.time() + seconds)
    task = asyncio.ensure_future(holding)  # noqa: TID251  (awaited by each test)
    await asyncio.sleep(0)
    return task


def events(body: bytes | None = None) -> FakeReply:
    return FakeReply(200, EVENTS, body)


async def test_a_stream_is_held_until_it_says_something() -> None:
    """Then it is all there, in order, and the rest takes no detour."""
    reply = events()
    holding = await hold(reply)
    reply.push(b": a comment\n\n", ROLE[:20], ROLE[20:], WORD[:-1])
    await asyncio.sleep(0)
    assert not holding.done()
    reply.push(WORD[-1:])
    held, sink = await holding, Collected()
    assert (held.status, held.headers, held.length, held.framed) == (200, reply.headers, None, True)
    reply.push(WORD)
    held.attach(sink)
    assert (sink.body, reply.sink) == (b": a comment\n\n" + ROLE + WORD * 2, sink)
    reply.push(DONE)
    reply.end()
    assert (sink.body[-len(DONE) :], sink.over.is_set(), reply.aborted) == (DONE, True, 0)


@pytest.mark.parametrize(
    "reply",
    [
        FakeReply(500, EVENTS),
        FakeReply(200, b"application/json"),
        FakeReply(200, EVENTS, headers=[(b"content-encoding", b"gzip")]),
    ],
)
async def test_what_cannot_be_held(reply: FakeReply) -> None:
    """It is passed on as it is; and everything is, where nothing is to be held."""
    assert await held_back(reply, LIMIT, inf) is reply
    whole = events(ROLE)
    assert await held_back(whole, 0, inf) is whole


async def test_a_whole_stream_waits_for_nothing() -> None:
    """It ended before anybody took it."""
    held, sink = await held_back(events(ROLE + WORD + DONE), LIMIT, inf), Collected()
    assert held.whole() == ROLE + WORD + DONE
    held.attach(sink)
    assert (sink.body, sink.over.is_set(), sink.failure) == (ROLE + WORD + DONE, True, None)


@pytest.mark.parametrize("last", [b"", DONE, b": a comment\n\n"])
async def test_a_stream_that_ends_before_it_says_anything(last: bytes) -> None:
    """It has failed."""
    reply = events()
    holding = await hold(reply)
    reply.push(ROLE, last)
    reply.end()
    with pytest.raises(Failure) as failed:
        await holding
    assert (failed.value.kind, failed.value.unprocessed, reply.aborted) == (Kind.UPSTREAM_DISCONNECTED, False, 1)


async def test_a_stream_that_ends_within_an_event() -> None:
    """Some clients read it: it may matter."""
    held = await held_back(events(ROLE + WORD[:-1]), LIMIT, inf)
    assert held.whole() == ROLE + WORD[:-1]


async def test_a_stream_that_fails_before_it_says_anything() -> None:
    """Its own failure is raised, once."""
    reply = events()
    holding = await hold(reply)
    reply.push(ROLE)
    reply.fail(Kind.UPSTREAM_TIMEOUT)
    with pytest.raises(Failure) as failed:
        await holding
    assert (failed.value.kind, reply.aborted) == (Kind.UPSTREAM_TIMEOUT, 1)


@pytest.mark.parametrize("after", [b"", WORD])
async def test_an_error_before_it_says_anything(after: bytes) -> None:
    """It is a failure, whatever follows; the upstream may have acted."""
    reply, faults = events(), list[Failure | None]()
    reply.at_fault(faults.append)
    holding = await hold(reply)
    reply.push(ROLE + ERROR + after, WORD)
    with pytest.raises(Failure) as failed:
        await holding
    failure = failed.value
    assert (failure.kind, failure.unprocessed, reply.aborted) == (Kind.UPSTREAM_ERROR, False, 1)
    assert failure.detail == "the stream began with an error: server_error"
    assert faults == [None]


async def test_an_error_after_a_word() -> None:
    """Is the client's to read, though it came with it."""
    reply = events()
    holding = await hold(reply)
    reply.push(ROLE + WORD + ERROR)
    reply.fail()
    held, sink = await holding, Collected()
    with pytest.raises(Failure):
        held.whole()
    held.attach(sink)
    assert (sink.body, reply.aborted) == (ROLE + WORD + ERROR, 0)
    assert sink.failure is not None


async def test_no_more_is_held_than_the_limit() -> None:
    """Also of one event that has no end."""
    reply = events()
    holding = await hold(reply, limit=100)
    reply.push(b": " + b"x" * 97)
    await asyncio.sleep(0)
    assert not holding.done()
    reply.push(b"x")
    assert repr(await holding).startswith("<Held 100 bytes so far of ")


async def test_no_longer_is_held_than_the_deadline() -> None:
    """A slow first word is for the client to wait for; nothing is left of the hold."""
    reply = events()
    held = await (await hold(reply, seconds=0.01))
    assert repr(held).startswith("<Held 0 bytes so far of ")
    reply.fail()
    sink = Collected()
    held.attach(sink)
    assert sink.failure is not None


async def test_a_hold_that_is_cancelled() -> None:
    """The upstream is let go, once, and what comes after is nobody's."""
    reply = events()
    holding = await hold(reply)
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert reply.aborted == 1
    reply.push(WORD)
    reply.end()


async def test_what_is_held_is_bounded_while_nobody_takes_it() -> None:
    """Then the upstream waits, and goes on when somebody does, unless he is slow himself."""
    reply = events()
    holding = await hold(reply)
    reply.push(WORD)
    held = await holding
    reply.push(b"x" * HIGH_WATER)
    paused = [reply.paused]

    class Slow(Collected):
        def data(self, chunk: bytes) -> None:
            super().data(chunk)
            held.pause()

    held.attach(Slow())
    paused.append(reply.paused)
    held.resume()
    held.abort()
    assert ([*paused, reply.paused], reply.aborted) == ([True, True, False], 1)


async def test_a_stream_that_waited_goes_on() -> None:
    """Once it is taken; nobody else would let it."""
    reply = events()
    holding = await hold(reply)
    reply.push(WORD, b"x" * HIGH_WATER)
    assert reply.paused
    (await holding).attach(Collected())
    assert not reply.paused


async def test_what_comes_at_once_when_it_goes_on_is_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared call has more of it here by then; and nothing is held back again for ever."""
    reply, sink = events(), Collected()
    held = Held(reply, 10)
    arriving = asyncio.ensure_future(held.arrive())  # noqa: TID251  (awaited below)
    await asyncio.sleep(0)
    reply.push(b"x" * 11)
    assert not await arriving
    assert reply.paused
    reply.paused = False
    monkeypatch.setattr(reply, "resume", lambda: reply.push(b"y" * 11, b"z"))
    held.attach(sink)
    reply.push(b"!")
    assert (sink.body, reply.paused) == (b"x" * 11 + b"y" * 11 + b"z!", False)


async def test_a_stream_that_ends_with_its_first_word() -> None:
    """Before anybody could take it."""
    reply = events()
    holding = await hold(reply)
    reply.push(WORD)
    reply.end()
    assert (await holding).whole() == WORD


@pytest.fixture
async def pool(upstream: ScriptedUpstream) -> AsyncIterator[Pool]:
    async with pool_of(upstream.port) as built:
        yield built


def streamed(*pieces: bytes | float, end: End = End.KEEP) -> Answer:
    return Answer(200, [("content-type", "text/event-stream")], list(pieces), Framing.CHUNKED, end=end)


async def test_a_real_stream_is_held_and_relayed(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Its connection goes back to the pool."""
    upstream.script(streamed(ROLE, 0.02, WORD, 0.02, WORD, 0.02, DONE))
    held, sink = await held_back(await pool.send(ask()), LIMIT, inf), Collected()
    assert isinstance(held, Held)
    held.attach(sink)
    async with asyncio.timeout(2.0):
        await sink.over.wait()
    assert (sink.body, sink.failure) == (ROLE + WORD * 2 + DONE, None)


async def test_a_real_stream_that_breaks(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Nobody has seen anything of it."""
    upstream.script(streamed(ROLE, 0.02, end=End.RESET))
    with pytest.raises(Failure) as failed:
        await held_back(await pool.send(ask()), LIMIT, inf)
    assert failed.value.kind is Kind.UPSTREAM_DISCONNECTED


async def test_a_real_stream_whose_taker_leaves(upstream: ScriptedUpstream, pool: Pool) -> None:
    """The upstream sees it."""
    upstream.script(streamed(ROLE, 5.0))
    reply = await pool.send(ask(idle=5.0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await held_back(reply, LIMIT, inf)
    await until(lambda: upstream.aborts)
