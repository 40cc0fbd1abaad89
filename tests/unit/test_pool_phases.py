"""Upstream connections: which time-out runs when."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from proxy.errors import Failure, Kind
from proxy.http1.pool import Pool
from proxy.http1.upstream import UpstreamConnection
from tests.fakes.answers import SILENCE, Answer, End, Framing, Piece
from tests.fakes.polling import until
from tests.fakes.pooling import Collected, Upload, ask, failure_of, fetch, pool_of
from tests.fakes.upstream import ScriptedUpstream


@pytest.fixture
async def pool(upstream: ScriptedUpstream) -> AsyncIterator[Pool]:
    async with pool_of(upstream.port) as built:
        yield built


async def test_first_byte_time_out(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Runs from the end of the request to the end of the head; what is cut by it may have been processed."""
    upstream.script(SILENCE)
    failure = await failure_of(pool)
    assert (failure.kind, failure.unprocessed, failure.detail) == (Kind.UPSTREAM_TIMEOUT, False, "time-out: first byte")


async def test_idle_time_out(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Runs between two pieces of the body."""
    upstream.script(Answer(200, (), [b"x", 0.12, b"x", 0.12, b"x", 5.0], Framing.CHUNKED))
    failure = await failure_of(pool)
    assert (failure.kind, failure.detail) == (Kind.UPSTREAM_TIMEOUT, "time-out: idle between bytes")


async def test_total_time_out(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Runs whatever moves."""
    drip: list[Piece] = [b"x", 0.02]
    upstream.script(Answer(200, (), drip * 100, Framing.CHUNKED))
    failure = await failure_of(pool, ask(total=0.3))
    assert (failure.kind, failure.detail) == (Kind.UPSTREAM_TIMEOUT, "time-out: total")


async def test_total_time_out_of_a_held_back_answer(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Runs also while a client holds the answer back."""
    upstream.script(Answer(200, (), [b"x", 5.0], Framing.CHUNKED))
    reply = await pool.send(ask(total=0.3))
    sink = Collected()
    reply.attach(sink)
    reply.pause()
    async with asyncio.timeout(1.0):
        await sink.over.wait()
    assert sink.failure is not None
    assert sink.failure.detail == "time-out: total"


async def test_no_time_out_of_a_held_back_answer(upstream: ScriptedUpstream, pool: Pool) -> None:
    """The idle time-out rests while the answer is held back, and runs again afterwards."""
    upstream.script(Answer(200, (), [b"x", 5.0], Framing.CHUNKED))
    reply = await pool.send(ask())
    sink = Collected()
    reply.attach(sink)
    reply.pause()
    for _ in range(8):
        await asyncio.sleep(0.05)
    assert not sink.over.is_set()
    reply.resume()
    async with asyncio.timeout(1.0):
        await sink.over.wait()
    assert sink.failure is not None
    assert sink.failure.detail == "time-out: idle between bytes"


async def test_no_time_out_while_the_client_uploads(upstream: ScriptedUpstream, pool: Pool) -> None:
    """Neither first byte nor idle: the upstream can't have anything to say yet. Then they run."""
    upstream.script(Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", reads=1, end=End.HANG))
    upload = Upload(2)
    upload.chunks.put_nowait(b"x")
    reply = await pool.send(ask(body=upload))
    sink = Collected()
    reply.attach(sink)
    for _ in range(8):
        await asyncio.sleep(0.05)
    assert not sink.over.is_set()
    for chunk in (b"x", b""):
        upload.chunks.put_nowait(chunk)
    async with asyncio.timeout(1.0):
        await sink.over.wait()
    assert sink.failure is not None
    assert sink.failure.detail == "time-out: idle between bytes"


async def test_write_time_out_needs_a_standstill() -> None:
    """An upstream that reads a large request slowly but steadily is not cut; one that stands still is."""
    answer = Answer(raw=b"", reads=0, end=End.HANG, before=30.0)
    async with (
        ScriptedUpstream(answer, receive_buffer=4096) as narrow,
        pool_of(narrow.port) as pool,
    ):
        task = asyncio.Task(pool.send(ask(body=bytes(12 << 20), write=0.4)))
        await until(lambda: narrow.requests)
        (connection,) = narrow.connections
        for _ in range(12):
            await asyncio.sleep(0.05)
            await connection.exactly(600_000)
        assert not task.done()
        with pytest.raises(Failure) as failed:
            await task
        assert (failed.value.detail, failed.value.unprocessed) == ("time-out: write", True)


async def test_who_takes_nothing_is_given_up_once() -> None:
    """A time-out is no connection that died: the request does not begin anew on the next that is idle."""
    gate = asyncio.Event()
    answer = Answer(raw=b"", reads=0, end=End.HANG, before=30.0)
    async with ScriptedUpstream(receive_buffer=4096) as narrow, pool_of(narrow.port) as pool:
        narrow.script(Answer(200, (), b"x", before=gate))
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(fetch(pool))
            await until(lambda: len(narrow.requests) == 2)
            narrow.script(answer)
            gate.set()
        with pytest.raises(Failure) as failed:
            await pool.send(ask(body=bytes(12 << 20), write=0.2))
        assert (failed.value.detail, failed.value.unprocessed) == ("time-out: write", True)
        assert len(narrow.requests) == 3
        assert len(pool.idle) == 1


@pytest.mark.parametrize("bound", ["head", "total"])
async def test_a_connection_is_part_of_the_time(
    upstream: ScriptedUpstream, pool: Pool, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """That its client gives a request, and of the whole."""
    upstream.script(SILENCE)
    connect = pool._connector.open

    async def slowly(factory: Callable[[], UpstreamConnection], seconds: float) -> UpstreamConnection:
        await asyncio.sleep(0.6)
        return await connect(factory, seconds)

    monkeypatch.setattr(pool._connector, "open", slowly)
    began = pool.loop.time()
    asked = ask(first_byte=5.0, head=0.7) if bound == "head" else ask(first_byte=5.0, total=0.7)
    failure = await failure_of(pool, asked)
    assert failure.kind is Kind.UPSTREAM_TIMEOUT
    assert pool.loop.time() - began < 1.2
