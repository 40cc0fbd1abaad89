"""Bodies, gates and deadlines, without a connection."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import Failure, Kind
from proxy.http1.flow import HIGH_WATER, SCRAP, TICK, Deadlines, Flush, Gate, RequestBody, WholeBody, has_left
from tests.fakes.polling import until

WAYS = ["whole", "read", "chunk", "peek", "gather"]


class Source:
    """A connection that a body arrives on."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_body(self) -> None:
        self.calls.append("pause")

    def resume_body(self) -> None:
        self.calls.append("resume")

    def want_body(self) -> None:
        self.calls.append("want")


def started(wait: Awaitable[Any]) -> asyncio.Future[Any]:
    return asyncio.ensure_future(wait)  # noqa: TID251  (awaited by each test)


async def test_a_body_is_read_whole() -> None:
    """However it came; a second reading finds nothing."""
    source = Source()
    body = RequestBody(None, source)
    body.feed(b"a" * 5_000)
    reading = started(body.read(10_000))
    await asyncio.sleep(0)
    for piece in (b"b", b"c" * 4_000, b"d"):
        body.feed(piece)
    body.end()
    assert await reading == b"a" * 5_000 + b"b" + b"c" * 4_000 + b"d"
    assert await body.read(10_000) == b""
    assert source.calls == ["want"]


async def test_a_body_that_is_here_is_not_asked_for() -> None:
    """No invitation goes out for it."""
    source = Source()
    body = RequestBody(1, source)
    body.feed(b"x")
    body.end()
    assert await body.read(1) == b"x"
    assert source.calls == []


async def test_a_body_nobody_reads_is_held_back() -> None:
    """Past 64 KiB its source pauses, once; it resumes when half of that is gone."""
    source = Source()
    body = RequestBody(None, source)
    for _ in range(4):
        body.feed(b"x" * 30_000)
    assert (source.calls, body.paused) == (["pause"], True)
    assert len(await body.chunk(10**6)) == 30_000
    assert len(await body.chunk(10**6)) == 30_000
    assert source.calls == ["pause"]
    assert len(await body.chunk(10**6)) == 30_000
    assert (source.calls[-1], body.paused) == ("resume", False)


async def test_small_pieces_are_joined() -> None:
    """A body in pieces of two bytes costs about its size, and comes back as it was."""
    body = RequestBody(None, Source())
    sent = bytes(range(256)) * 200
    for i in range(0, len(sent), 2):
        body.feed(sent[i : i + 2])
    body.end()
    pieces = []
    while piece := await body.chunk(10**6):
        pieces.append(piece)
    assert b"".join(pieces) == sent
    assert len(pieces) <= len(sent) // SCRAP + 1


async def test_peeking_takes_nothing() -> None:
    """It returns once there is enough, or all."""
    body = RequestBody(None, Source())
    peeking = started(body.peek(10, 100))
    await asyncio.sleep(0)
    body.feed(b"12345")
    await asyncio.sleep(0)
    assert not peeking.done()
    body.end()
    assert await peeking == b"12345"
    assert await body.chunk(100) == b"12345"
    assert await body.chunk(100) == b""


@given(pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=12), size=st.integers(0, 200), known=st.booleans())
@settings(deadline=None)
def test_a_body_is_gathered_or_untouched(pieces: list[bytes], size: int, known: bool) -> None:  # noqa: FBT001
    """Whole where it is at most so large; else all of it is left to be read in pieces."""
    sent = b"".join(pieces)

    async def receive() -> tuple[bytes | None, bytes]:
        body = RequestBody(len(sent) if known else None, Source())
        gathering = started(body.gather(size, 1_000))
        for piece in pieces:
            await asyncio.sleep(0)
            body.feed(piece)
        body.end()
        return await gathering, await body.read(1_000)

    assert asyncio.run(receive()) == ((sent, b"") if len(sent) <= size else (None, sent))


@given(sent=st.binary(max_size=40), size=st.integers(0, 50), limit=st.integers(0, 50), way=st.sampled_from(WAYS))
@settings(deadline=None)
def test_a_body_that_came_with_its_head_is_one_like_any_other(sent: bytes, size: int, limit: int, way: str) -> None:
    """However it is read, and whatever is asked of it after that."""

    async def asked(body: RequestBody | WholeBody) -> list[object]:
        said: list[object] = [body.length, body.received, body.ended]
        asks: dict[str, Callable[[], Any]] = {
            "whole": body.whole,
            "read": lambda: body.read(limit),
            "chunk": lambda: body.chunk(limit),
            "peek": lambda: body.peek(size, limit),
            "gather": lambda: body.gather(size, limit),
        }
        for name in (way, "whole", "chunk", "chunk"):
            try:
                found = asks[name]()
                said.append(found if found is None or isinstance(found, bytes) else await found)
            except Failure as failure:
                said.append(failure.kind)
        return said

    async def both() -> tuple[list[object], list[object]]:
        arrived = RequestBody(len(sent), Source())
        if sent:
            arrived.feed(sent)
        arrived.end()
        return await asked(arrived), await asked(WholeBody(len(sent), len(sent), sent))

    piecewise, whole = asyncio.run(both())
    assert piecewise == whole


async def test_what_is_too_large_to_gather_is_told_at_once() -> None:
    """By its announced length, or once so much has come; the rest streams."""
    announced, coming = RequestBody(11, Source()), RequestBody(None, Source())
    assert await announced.gather(10, 100) is None
    gathering = started(coming.gather(10, 100))
    await asyncio.sleep(0)
    coming.feed(b"x" * 11)
    assert await gathering is None
    assert await coming.chunk(100) == b"x" * 11


@pytest.mark.parametrize("way", ["read", "chunk", "peek", "gather"])
async def test_a_body_over_its_limit(way: str) -> None:
    """Announced, already here, or on its way: too large."""
    arguments = (10, 10) if way == "gather" else (5, 10) if way == "peek" else (10,)
    announced, here, coming = (RequestBody(length, Source()) for length in (11, None, None))
    with pytest.raises(Failure) as failure:
        await getattr(announced, way)(*arguments)
    here.feed(b"x" * 11)
    with pytest.raises(Failure):
        await getattr(here, way)(*arguments)
    waiting = started(getattr(coming, way)(*arguments))
    await asyncio.sleep(0)
    coming.feed(b"x" * 11)
    with pytest.raises(Failure):
        await waiting
    assert failure.value.kind is Kind.REQUEST_TOO_LARGE


@pytest.mark.parametrize("way", ["read", "chunk", "peek", "gather"])
async def test_a_body_that_fails_wakes_its_reader(way: str) -> None:
    """Now and later; what comes afterwards is counted and dropped."""
    body = RequestBody(None, Source())
    arguments = (5, 10) if way in {"peek", "gather"} else (10,)
    waiting = started(getattr(body, way)(*arguments))
    await asyncio.sleep(0)
    body.fail(Failure(Kind.REQUEST_TIMEOUT))
    body.feed(b"abc")
    for attempt in (waiting, getattr(body, way)(*arguments)):
        with pytest.raises(Failure) as failure:
            await attempt
        assert failure.value.kind is Kind.REQUEST_TIMEOUT
    assert body.received == 3


async def test_a_gate_holds_its_writer() -> None:
    """Until it opens, or fails; an open one lets pass."""
    gate = Gate()
    await gate.passed()
    gate.close()
    waiting = started(gate.passed())
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.open()
    await waiting
    gate.close()
    waiting = started(gate.passed())
    await asyncio.sleep(0)
    gate.fail(Failure(Kind.UPSTREAM_ERROR))
    with pytest.raises(Failure):
        await waiting


class Timed:
    def __init__(self, deadline: float, *, breaks: bool = False) -> None:
        self.deadline = deadline
        self.expired = 0
        self._breaks = breaks

    def expire(self, now: float) -> None:
        self.expired += 1
        self.deadline = inf
        if self._breaks:
            raise RuntimeError("a bug")


async def test_deadlines_are_kept() -> None:
    """Each once, neither before its time nor when forgotten, and the timer stops with the last."""
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    due, later, forgotten = Timed(loop.time() + 0.06), Timed(loop.time() + 60), Timed(loop.time())
    for timed in (due, later, forgotten):
        deadlines.watch(timed)
    deadlines.forget(forgotten)
    await until(lambda: due.expired)
    await asyncio.sleep(TICK)
    assert (due.expired, later.expired, forgotten.expired) == (1, 0, 0)
    deadlines.forget(due)
    deadlines.forget(later)


async def test_one_bug_costs_one_deadline() -> None:
    """The others are kept, and the bug is told."""
    loop = asyncio.get_running_loop()
    deadlines, told = Deadlines(loop), []
    loop.set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    broken, sound = Timed(loop.time(), breaks=True), [Timed(loop.time()) for _ in range(5)]
    deadlines.watch(broken)
    for timed in sound:
        deadlines.watch(timed)
    await until(lambda: all(timed.expired for timed in sound))
    assert (broken.expired, len(told)) == (1, 1)
    again = Timed(loop.time())
    deadlines.watch(again)
    await until(lambda: again.expired)
    for timed in [*sound, again]:
        deadlines.forget(timed)


async def test_a_deadline_that_was_moved_does_not_expire() -> None:
    """Also if it was moved by one that expired in the same moment."""
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)

    class Mover(Timed):
        other: Timed

        def expire(self, now: float) -> None:
            super().expire(now)
            self.other.deadline = inf

    first, second = Mover(loop.time()), Mover(loop.time())
    first.other, second.other = second, first
    deadlines.watch(first)
    deadlines.watch(second)
    await until(lambda: first.expired or second.expired)
    assert first.expired + second.expired == 1
    deadlines.forget(first)
    deadlines.forget(second)


class Buffer:
    """As much of a transport as `Flush` needs."""

    def __init__(self) -> None:
        self.left = 0

    def set_write_buffer_limits(self, high: int) -> None:
        assert high >= HIGH_WATER

    def get_extra_info(self, name: str) -> socket.socket:
        class Socket:
            setsockopt = staticmethod(lambda *_: None)

        return Socket()  # type: ignore[return-value]

    def get_write_buffer_size(self) -> int:
        return self.left


def test_a_peer_that_keeps_taking_has_more_time() -> None:
    """64 KiB in every period; less is too slow, and nothing left is the end."""
    buffer = Buffer()
    flush = Flush(buffer, 10.0)  # type: ignore[arg-type]
    buffer.left = 1_000_000
    flush.begin(0.0)
    assert flush.goes_on(9.9)
    assert not flush.goes_on(10.0)
    buffer.left -= HIGH_WATER
    assert flush.goes_on(10.0)
    assert flush.deadline == 20.0
    buffer.left -= HIGH_WATER - 1
    assert not flush.goes_on(20.0)
    buffer.left = 0
    assert not flush.goes_on(15.0)
    flush.end()
    assert flush.deadline == inf


async def test_a_peer_that_left_is_seen_without_reading() -> None:
    """Closed or reset, with bytes unread or none; not one that is there."""
    loop = asyncio.get_running_loop()
    for unread in (b"", b"x"):
        here, there = socket.socketpair(socket.AF_UNIX)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
        transport.pause_reading()
        there.send(unread)
        assert not has_left(transport)
        there.close()
        await asyncio.sleep(0)
        assert has_left(transport)
        transport.abort()
        await asyncio.sleep(0.01)
