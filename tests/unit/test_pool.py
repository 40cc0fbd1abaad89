"""Upstream connections: what may be reused, and what may be left behind."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from proxy.errors import Failure, Kind
from proxy.http1.pool import Pool
from proxy.http1.upstream import UpstreamConnection
from tests.fakes.answers import RESET, SILENCE, Answer, End, Framing, Piece
from tests.fakes.polling import until
from tests.fakes.pooling import Collected, Counted, Upload, ask, failure_of, fetch, pool_of
from tests.fakes.upstream import ScriptedUpstream


@pytest.fixture
async def pool(upstream: ScriptedUpstream) -> AsyncIterator[Pool]:
    async with pool_of(upstream.port) as built:
        yield built


async def test_an_answer_tells_of_its_end(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Whoever holds a slot for it: once, as it comes whole; there is nothing left for who gives it up then."""
    rest = asyncio.Event()
    upstream.script(Answer(200, (), [b"x", rest, b"y"], Framing.CHUNKED))
    reply, sink, ends = await pool.send(ask()), Collected(), []
    reply.at_end(lambda: ends.append(sink.body))
    reply.attach(sink)
    rest.set()
    await sink.over.wait()
    reply.abort()
    assert (ends, reply.over) == ([b"xy"], True)


async def test_who_has_closed_is_not_asked_again(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Also before the loop has had the time to notice: the kernel knows."""
    upstream.script(Answer(200, (), b"x"))
    assert await fetch(pool) == b"x"
    (connection,) = pool.idle
    connection.idle_since -= 2.0
    assert connection.reusable()
    descriptor = connection.transport.get_extra_info("socket").fileno()
    with socket.socket(fileno=os.dup(descriptor)) as line:
        line.shutdown(socket.SHUT_RD)
        assert not connection.reusable()


NOT_REUSED: dict[str, Answer] = {
    "connection: close": Answer(200, [("connection", "close")], b"x"),
    "HTTP/1.0": Answer(raw=b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx"),
    "bytes behind": Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxyz"),
    "an answer behind": Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n"),
    "close-delimited": Answer(200, (), b"x", Framing.CLOSE),
    "chunks and more": Answer(raw=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nHTTP/1.1 "),
}


@pytest.mark.parametrize("kind", NOT_REUSED)
async def test_not_reused(upstream: ScriptedUpstream, pool: Pool, kind: str) -> None:
    """The answer is good, its connection is not: the next request has its own, and its own answer."""
    upstream.script(NOT_REUSED[kind], Answer(200, (), b"second"))
    assert await fetch(pool) == b"x"
    assert await fetch(pool) == b"second"
    assert [request.connection for request in upstream.requests] == [1, 2]


REUSED: dict[str, Answer] = {
    "length": Answer(200, (), b"x"),
    "chunked": Answer(200, (), b"x", Framing.CHUNKED),
    "empty": Answer(),
    "204": Answer(204, framing=Framing.NONE),
    "304": Answer(304, [("content-length", "100")], framing=Framing.NONE),
    "behind 100 and 103": Answer(200, (), b"x", interim=[100, 103, b"HTTP/1.1 102 P\r\nx: y\r\n\r\n"]),
}


@pytest.mark.parametrize("kind", REUSED)
async def test_reused(upstream: ScriptedUpstream, pool: Pool, kind: str) -> None:
    """A connection whose answer is complete serves the next request, with nothing left of the first."""
    upstream.script(REUSED[kind], Answer(200, (), b"second"))
    await fetch(pool)
    assert await fetch(pool) == b"second"
    assert upstream.accepted == 1


async def test_head_then_get(upstream: ScriptedUpstream, pool: Pool) -> None:
    """The length in an answer to HEAD is no body to wait for, on this request or the next."""
    upstream.script(Answer(200, (), b"x" * 100), Answer(200, (), b"second"))
    reply = await pool.send(ask("HEAD", b""))
    assert (reply.length, reply.whole()) == (100, b"")
    assert await fetch(pool, ask("GET", b"")) == b"second"
    assert upstream.accepted == 1


async def test_unasked_bytes_on_an_idle_connection(upstream: ScriptedUpstream, pool: Pool) -> None:
    """What arrives on an idle connection is never the answer to the next request."""

    async def chatter(connection: Any, _: object) -> None:
        await asyncio.sleep(0.01)
        with suppress(Exception):
            await connection.write(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")

    upstream.script(Answer(200, (), b"first", then=chatter), Answer(200, (), b"second"))
    assert await fetch(pool) == b"first"
    await until(lambda: not pool.connections)
    assert await fetch(pool) == b"second"


async def test_an_early_answer(upstream: ScriptedUpstream, pool: Pool) -> None:
    """An answer that does not wait for the upload ends it; the connection is not reused."""
    upstream.script(Answer(413, (), b"too large", reads=1), Answer(200, (), b"second"))
    upload = Upload(1_000)
    upload.chunks.put_nowait(b"x" * 10)
    assert await fetch(pool, ask(body=upload)) == b"too large"
    assert await fetch(pool) == b"second"
    assert upstream.accepted == 2
    await until(lambda: not pool._uploads)


async def test_an_upload_in_chunks(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Without a length the body goes out chunked, each piece as it came; the connection is reused."""
    upload = Upload(None)
    for chunk in (b"ab", b"c" * 20, b""):
        upload.chunks.put_nowait(chunk)
    await fetch(pool, ask(body=upload))
    assert upstream.requests[0].body == b"ab" + b"c" * 20
    await fetch(pool)
    assert upstream.accepted == 1


async def test_an_upload_that_fails(upstream: ScriptedUpstream, pool: Pool) -> None:
    """A client that stops sending is the failure, and the upstream's connection goes with it."""
    upload = Upload(1_000)
    upload.chunks.put_nowait(b"x")
    upload.chunks.put_nowait(Failure(Kind.REQUEST_TIMEOUT))
    assert (await failure_of(pool, ask(body=upload))).kind is Kind.REQUEST_TIMEOUT
    await upstream.aborted()


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelled_at_every_step(upstream: ScriptedUpstream, pool: Pool, steps: int, *, streamed: bool) -> None:
    """However far a request has come, cancelling it leaves no connection and no upload (the fixture looks)."""
    upstream.script(SILENCE)
    upload = Upload(100)
    upload.chunks.put_nowait(b"x")
    task = asyncio.Task(pool.send(ask(body=upload if streamed else b"{}")))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not pool.connections)
    await until(lambda: not upstream.connections)


@pytest.mark.parametrize("ahead", [b"", b"x" * 100_000], ids=["little", "much"])
async def test_abandoned_in_the_body(upstream: ScriptedUpstream, pool: Pool, ahead: bytes) -> None:
    """An answer that nobody wants is cut off at its source, also twice."""
    pieces: list[Piece] = [b"x" + ahead, 5.0]
    upstream.script(Answer(200, (), pieces, Framing.CHUNKED))
    reply = await pool.send(ask())
    sink = Collected()
    reply.attach(sink)
    reply.abort()
    reply.abort()
    await upstream.aborted()
    assert not sink.over.is_set()
    assert "open" in repr(reply)


async def test_abort_of_a_complete_answer(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Aborting what is complete harms nobody, also if the connection serves another by then."""
    upstream.script(Answer(200, (), b"first"), Answer(200, (), [b"sec", 0.05, b"ond"], length=6))
    first = await pool.send(ask())
    await until(lambda: first.whole() is not None)
    second = await pool.send(ask())
    first.abort()
    first.pause()
    first.resume()
    sink = Collected()
    second.attach(sink)
    await sink.over.wait()
    assert (sink.body, upstream.accepted) == (b"second", 1)


async def test_held_back_through_the_end(upstream: ScriptedUpstream, pool: Pool) -> None:
    """A connection whose last answer was held back as it ended reads the next one."""
    upstream.script(Answer(200, (), b"x" * 10), Answer(200, (), b"second"))

    class Slow(Collected):
        def data(self, chunk: bytes) -> None:
            super().data(chunk)
            reply.pause()

    reply = await pool.send(ask())
    sink = Slow()
    reply.attach(sink)
    await sink.over.wait()
    assert await fetch(pool) == b"second"
    assert upstream.accepted == 1


async def test_a_large_answer_before_anybody_listens(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Until a sink is there little is buffered; the rest follows when it comes, also if that pauses at once."""
    body = bytes(1 << 20)
    upstream.script(Answer(200, (), body))
    reply = await pool.send(ask())
    await until(lambda: "paused" in repr(reply.connection))
    assert reply._size < 512 << 10

    class Pausing(Collected):
        pauses = 0

        def data(self, chunk: bytes) -> None:
            super().data(chunk)
            if self.pauses == 0:
                self.pauses = 1
                reply.pause()

    sink = Pausing()
    reply.attach(sink)
    await asyncio.sleep(0.03)
    assert len(sink.body) < 512 << 10, "a pause while the buffer is handed over is a pause"
    reply.resume()
    async with asyncio.timeout(2.0):
        await sink.over.wait()
    assert sink.body == body


async def test_a_failure_after_the_end(upstream: ScriptedUpstream, pool: Pool) -> None:
    """A connection that is lost once its answer is complete concerns nobody."""
    upstream.script(Answer(200, (), b"x", end=End.RESET))
    reply = await pool.send(ask())
    sink = Collected()
    reply.attach(sink)
    await sink.over.wait()
    await until(lambda: not pool.connections)
    assert (sink.body, sink.failure) == (b"x", None)


async def test_broken_off_before_anybody_listens(upstream: ScriptedUpstream, pool: Pool) -> None:
    """A body that is known to be cut is a failure to whoever asks for it."""
    upstream.script(Answer(200, (), [b"x"], length=10, end=End.RESET))
    reply = await pool.send(ask())
    await until(lambda: not pool.connections)
    with pytest.raises(Failure) as failed:
        reply.whole()
    assert failed.value.kind is Kind.UPSTREAM_DISCONNECTED
    sink = Collected()
    reply.attach(sink)
    assert sink.failure is failed.value


async def test_a_connection_that_dies_at_birth(upstream: ScriptedUpstream, pool: Pool) -> None:
    """One that is lost between its opening and its first request fails it at once, as not sent."""
    connection = await pool._connector.open(lambda: UpstreamConnection(pool), 1.0)
    connection.transport.abort()
    await until(lambda: connection.lost)
    with pytest.raises(Failure) as failed:
        connection.send(ask(), 0.0)
    assert (failed.value.kind, failed.value.unprocessed) == (Kind.UPSTREAM_UNREACHABLE, True)
    assert upstream.requests == []


async def test_counts_and_reprs(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Opened and reused connections are told apart; the repr says what is there, and no more."""
    await fetch(pool)
    await fetch(pool)
    events = pool._events
    assert isinstance(events, Counted)
    assert (events.new, events.old) == (1, 1)
    assert repr(pool) == f"<Pool 127.0.0.1:{upstream.port} 1 connections, 1 idle>"
    assert repr(pool.idle[0]) == "<UpstreamConnection idle>"


async def test_closed_pools_keep_nothing(upstream: ScriptedUpstream, pool: Pool) -> None:
    """What is under way when a pool closes ends well, and its connection with it."""
    go_on = asyncio.Event()
    upstream.script(Answer(200, (), [b"fir", go_on, b"st"], length=5))
    reply = await pool.send(ask())
    pool.close()
    go_on.set()
    sink = Collected()
    reply.attach(sink)
    await sink.over.wait()
    assert sink.body == b"first"
    await until(lambda: not pool.connections)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 9_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 101 S\r\n\r\n",
        b"HTTP/1.1 100 C\r\n\r\n" * 50,
        b"\x16\x03\x01",
    ],
)
async def test_malformed_answers(upstream: ScriptedUpstream, pool: Pool, raw: bytes) -> None:
    """An answer that is no HTTP is one failure; nothing of it is relayed, its connection is gone."""
    upstream.script(Answer(raw=raw, end=End.HANG))
    failure = await failure_of(pool)
    assert (failure.kind, failure.unprocessed) == (Kind.UPSTREAM_ERROR, False)


async def test_reset(upstream: ScriptedUpstream, pool: Pool) -> None:
    """A reset is a failure that may have been processed."""
    upstream.script(RESET)
    failure = await failure_of(pool)
    assert (failure.kind, failure.unprocessed) == (Kind.UPSTREAM_ERROR, False)


@pytest.mark.parametrize("length", [5, 100])
async def test_a_body_behind_the_answer_to_head(upstream: ScriptedUpstream, pool: Pool, length: int) -> None:
    """What an upstream sends there is nobody's, whole or not: the next request is sent on another connection."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length
    upstream.script(Answer(raw=head + b"xxxxx"), Answer(200, (), b"second"))
    reply = await pool.send(ask("HEAD", b""))
    assert reply.whole() == b""
    assert await fetch(pool, ask("GET", b"")) == b"second"
    assert [request.connection for request in upstream.requests] == [1, 2]


async def test_a_cancelled_request_leaves_its_successor_alone(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Cancelled after its answer was whole and its connection lent on, it does not touch the next one's request."""
    upstream.script(Answer(), Answer(200, (), b"first"), Answer(200, (), b"second"))
    await fetch(pool)
    first = pool.send(ask())
    waiting = first.send(None)
    await until(lambda: bool(pool.idle), why="the first answer is whole")
    successor = asyncio.Task(fetch(pool))
    await asyncio.sleep(0)
    assert not pool.idle
    with pytest.raises(asyncio.CancelledError):
        first.throw(asyncio.CancelledError())
    assert await successor == b"second"
    assert waiting is not None


async def test_a_connection_that_ends_in_the_same_turn_has_taken_nothing(
    upstream: ScriptedUpstream, pool: Pool
) -> None:
    """The request goes out once, on another."""
    await fetch(pool)
    (idle,) = pool.idle
    assert idle._ask is None, "an idle connection keeps what was asked"
    sending = asyncio.get_running_loop().create_task(fetch(pool))
    await asyncio.sleep(0)
    idle.transport.abort()
    await sending
    assert [request.connection for request in upstream.requests] == [1, 2]


async def test_an_answer_to_what_was_not_sent_is_none(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Bytes that come in the same turn were there before the request, which goes out once, on another."""
    upstream.script(Answer(200, (), b"first"), Answer(200, (), b"second"))
    await fetch(pool)
    (idle,) = pool.idle
    sending = asyncio.get_running_loop().create_task(fetch(pool))
    await asyncio.sleep(0)
    idle.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret")
    assert await sending == b"second"
    assert [request.connection for request in upstream.requests] == [1, 2]
