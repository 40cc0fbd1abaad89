"""An upload that is passed on as it comes, its model renamed."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import Failure, Kind
from proxy.http1.flow import HIGH_WATER, RequestBody
from proxy.openai.rename import Edit, edited
from proxy.upstream.rewritten import Rewritten
from tests.fakes.pooling import Upload

DATA = bytes(range(48, 58))
EDITS = [Edit(1, 3, b"abcdef"), Edit(5, 8, b"")]
CHANGED = b"0abcdef3489"


class Source:
    """A connection that a body arrives on."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_body(self) -> None:
        self.calls.append("pause")

    def resume_body(self) -> None:
        self.calls.append("resume")

    def want_body(self) -> None: ...


async def chunks_of(body: Rewritten) -> AsyncIterator[bytes]:
    while chunk := await body.chunk(99):
        yield chunk


def arrived(data: bytes = DATA, *, length: bool = True, ended: bool = True) -> RequestBody:
    body = RequestBody(len(data) if length else None, Source())
    body.feed(data)
    if ended:
        body.end()
    return body


async def test_a_body_is_read_changed() -> None:
    """By each way of reading it; what only looks consumes nothing."""
    body = Rewritten(arrived(), EDITS)
    assert body.whole() == await body.peek(4, 99) == CHANGED
    assert await body.gather(len(CHANGED), 99) == CHANGED
    assert (body.whole(), await body.read(99), await body.chunk(99)) == (b"", b"", b"")
    assert await Rewritten(arrived(), EDITS).read(99) == CHANGED
    assert await Rewritten(arrived(), []).read(99) == DATA


def test_its_length_is_that_of_what_is_sent() -> None:
    """What was received is the client's, and what came without a length has none."""
    body = Rewritten(arrived(), EDITS)
    assert (body.length, body.received) == (len(CHANGED), len(DATA))
    assert Rewritten(arrived(length=False), EDITS).length is None


async def test_a_body_that_is_too_large_to_be_gathered() -> None:
    """Counted as it is sent; nothing is consumed."""
    body = Rewritten(arrived(), EDITS)
    assert await body.gather(len(CHANGED) - 1, 99) is None
    assert await body.read(99) == CHANGED


async def test_limits_count_what_the_client_sent() -> None:
    """A longer name makes no upload too large."""
    assert await Rewritten(arrived(), EDITS).read(len(DATA)) == CHANGED
    with pytest.raises(Failure) as failed:
        await Rewritten(arrived(), EDITS).chunk(len(DATA) - 1)
    assert failed.value.kind is Kind.REQUEST_TOO_LARGE


async def test_an_unfinished_body_is_not_whole() -> None:
    """Nor is more than is here waited for, if that is enough."""
    body = Rewritten(arrived(ended=False), EDITS)
    assert body.whole() is None
    assert await body.peek(4, 99) == CHANGED
    assert repr(body) == "<Rewritten 2 edits, 0 consumed of <RequestBody 10/10>>"


async def test_a_look_waits_for_what_will_be_sent() -> None:
    """Of what came nothing may be left."""
    inner = arrived(DATA[:5], length=False, ended=False)
    body = Rewritten(inner, [Edit(1, 4, b"")])
    looking = asyncio.ensure_future(body.peek(3, 99))  # noqa: TID251  (awaited below)
    await asyncio.sleep(0)
    assert not looking.done()
    inner.feed(DATA[5:])
    assert await looking == b"0456789"


@settings(deadline=None, max_examples=60)
@given(st.binary(min_size=9, max_size=30), st.lists(st.integers(1, 29)), st.integers(0, 4), st.integers(0, 4))
def test_chunks_wherever_they_are_cut(data: bytes, cuts: list[int], first: int, second: int) -> None:
    """Together they are the body with its edits, and one of which nothing is left does not end it."""
    edits = [Edit(first, first + second, b"XYZ"), Edit(first + second, first + second, b"!"), Edit(8, 8, b"")]

    async def read() -> list[bytes]:
        upload = Upload(None)
        edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
        for start, end in pairwise(edges):
            upload.chunks.put_nowait(data[start:end])
        upload.chunks.put_nowait(b"")
        body = Rewritten(upload, edits)
        return [chunk async for chunk in chunks_of(body)]

    assert b"".join(asyncio.run(read())) == edited(data, edits)


async def test_an_upload_in_constant_memory() -> None:
    """It is passed on as it comes, and its source is held back while nobody takes it."""
    source = Source()
    inner = RequestBody(None, source)
    body = Rewritten(inner, EDITS)
    piece = b"x" * HIGH_WATER
    inner.feed(DATA + piece)
    assert source.calls == ["pause"]
    assert await body.chunk(1 << 30) == CHANGED + piece
    assert source.calls == ["pause", "resume"]
    for _ in range(4):
        inner.feed(piece)
        assert await body.chunk(1 << 30) is piece
