"""H1, H2, H4: heads that two servers could read in two ways, that no server may read, or that are too large."""

import asyncio
import time

import pytest

from tests.fakes.answers import Answer
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import RawClient
from tests.fakes.upstream import ScriptedUpstream

HELLO = b"5\r\nhello\r\n0\r\n\r\n"
SMUGGLED = b"GET /v1/models/smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
AMBIGUOUS = {
    "both": (b"content-length: 15\r\ntransfer-encoding: chunked\r\n", HELLO),
    "both, the other way round": (b"transfer-encoding: chunked\r\ncontent-length: 15\r\n", HELLO),
    "two lengths": (b"content-length: 5\r\ncontent-length: 6\r\n", b"hello"),
    "two equal lengths": (b"content-length: 5\r\ncontent-length: 5\r\n", b"hello"),
    "a list of lengths": (b"content-length: 5, 5\r\n", b"hello"),
    "a plus": (b"content-length: +5\r\n", b"hello"),
    "a minus": (b"content-length: -5\r\n", b"hello"),
    "hexadecimal": (b"content-length: 0x5\r\n", b"hello"),
    "an empty length": (b"content-length:\r\n", b"hello"),
    "two numbers": (b"content-length: 5 5\r\n", b"hello"),
    "an underscore": (b"content-length: 1_0\r\n", b"hellohello"),
    "a length over 64 bits": (b"content-length: 18446744073709551621\r\n", b"hello"),
    "thousands of zeros": (b"content-length: " + b"0" * 5_000 + b"5\r\n", b"hello"),
    "a space before the colon": (b"content-length : 5\r\n", b"hello"),
    "a coding before chunked": (b"transfer-encoding: gzip, chunked\r\n", HELLO),
    "chunked not last": (b"transfer-encoding: chunked, identity\r\n", HELLO),
    "chunked twice": (b"transfer-encoding: chunked, chunked\r\n", HELLO),
    "two codings": (b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", HELLO),
    "identity": (b"transfer-encoding: identity\r\n", b"hello"),
    "nearly chunked": (b"transfer-encoding: xchunked\r\n", HELLO),
    "a vertical tab": (b"transfer-encoding: \x0bchunked\r\n", HELLO),
    "a folded coding": (b"transfer-encoding:\r\n chunked\r\n", HELLO),
    "quoted": (b'transfer-encoding: "chunked"\r\n', HELLO),
    "a chunk size with a sign": (b"transfer-encoding: chunked\r\n", b"+5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size with 0x": (b"transfer-encoding: chunked\r\n", b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size over 64 bits": (b"transfer-encoding: chunked\r\n", b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    "a space behind a chunk size": (b"transfer-encoding: chunked\r\n", b"5 \r\nhello\r\n0\r\n\r\n"),
    "bare LF behind a chunk size": (b"transfer-encoding: chunked\r\n", b"5\nhello\r\n0\r\n\r\n"),
    "bare LF in an extension": (b"transfer-encoding: chunked\r\n", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    "a chunk longer than its size": (b"transfer-encoding: chunked\r\n", b"5\r\nhelloX\r\n0\r\n\r\n"),
    "bare CR behind a chunk": (b"transfer-encoding: chunked\r\n", b"5\r\nhello\r0\r\n\r\n"),
    "length in a trailer": (b"transfer-encoding: chunked\r\n", b"5\r\nhello\r\n0\r\ncontent-length: 3\r\n\r\n"),
    "two hosts": (b"host: b\r\ncontent-length: 5\r\n", b"hello"),
}


@pytest.mark.parametrize("target", [b"/v1/chat/completions", b"/v1/files"])
@pytest.mark.parametrize("case", AMBIGUOUS)
async def test_h1_ambiguous_framing_is_refused(
    client: RawClient, upstream: ScriptedUpstream, target: bytes, case: str
) -> None:
    """400, the connection closes, and neither the request nor what hides in it reaches an upstream whole."""
    fields, body = AMBIGUOUS[case]
    await client.send(b"POST " + target + b" HTTP/1.1\r\nhost: a\r\n" + fields + b"\r\n" + body + SMUGGLED)
    response = await client.response()
    assert (response.status, response.error_code) == (400, "invalid_request")
    assert response.header(b"connection") == b"close"
    assert await client.closed()
    assert not [request for request in upstream.requests if request.complete or b"smuggled" in request.target]


async def test_h1_http_1_0_has_no_chunks(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Refused: an older server would read the chunks as the next request."""
    await client.send(b"POST /v1/files HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n" + HELLO)
    assert (await client.response()).status == 400
    assert upstream.requests == []


ILLEGAL = [*range(9), *range(10, 32), 127]


@pytest.mark.parametrize("byte", ILLEGAL)
async def test_h2_control_characters_are_refused(gateway: Gateway, upstream: ScriptedUpstream, byte: int) -> None:
    """In a value, a name or the target: 400 or 405, and nothing reaches an upstream."""
    head = b"GET /v1/mod%bels HTTP/1.1\r\nhost: a\r\nx%by: a%bb\r\n\r\n"
    bad = bytes([byte])
    for injected in ((bad, b"", b""), (b"", bad, b""), (b"", b"", bad)):
        async with gateway.client() as client:
            await client.send(head % injected)
            assert (await client.response()).status in {400, 405}
    assert upstream.requests == []


@pytest.mark.parametrize("injected", [b"a\rb", b"a\nb", b"a\0b", b"a\x01b", b"a\x7fb", b"a\r\n b", b"a\r\n\tb"])
async def test_h2_the_same_from_upstream_is_not_relayed(
    client: RawClient, upstream: ScriptedUpstream, injected: bytes
) -> None:
    """502: no answer is split, and none of it reaches the client."""
    upstream.script(Answer(raw=b"HTTP/1.1 200 OK\r\nx-evil: " + injected + b"\r\ncontent-length: 0\r\n\r\n"), Answer())
    response = await client.ask("GET", "/v1/models")
    assert (response.status, response.error_code) == (502, "upstream_error")
    assert response.header(b"x-evil") is None
    assert (await client.ask("GET", "/v1/models")).status == 200


@pytest.mark.parametrize(
    "framing",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + HELLO,
        b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"content-length: +5\r\n\r\nhello",
        b"transfer-encoding: gzip\r\n\r\nhello",
        b"transfer-encoding: gzip, chunked\r\n\r\n" + HELLO,
        b"transfer-encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
    ],
)
async def test_h2_ambiguous_framing_from_upstream(
    client: RawClient, gateway: Gateway, upstream: ScriptedUpstream, framing: bytes
) -> None:
    """502 before anything of the answer is relayed, and the connection is not used again."""
    upstream.script(Answer(raw=b"HTTP/1.1 200 OK\r\n" + framing), Answer(200, (), b"next"))
    first = await client.ask("GET", "/v1/models")
    assert first.status == 502 or not first.whole
    async with gateway.client() as other:
        assert (await other.ask("GET", "/v1/models")).body == b"next"
    assert upstream.accepted == 2


async def send_in(client: RawClient, data: bytes, size: int) -> None:
    """So that the gateway reads blocks of about this size."""
    for i in range(0, len(data), size):
        await client.send(data[i : i + size])
        await asyncio.sleep(0)


@pytest.mark.parametrize("block", [100_000, 700, 50])
@pytest.mark.parametrize(
    "head",
    [
        b"x: " + b"a" * 9_000 + b"\r\n",
        b"x" * 9_000 + b": a\r\n",
        b"x: " + b"a" * 9_000,
        b"".join(b"x-%d: a\r\n" % i for i in range(129)),
        b"".join(b"x-%d: %b\r\n" % (i, b"a" * 7_000) for i in range(10)),
    ],
    ids=["value", "name", "endless", "number", "total"],
)
async def test_h4_oversized_heads_are_refused(
    client: RawClient, upstream: ScriptedUpstream, head: bytes, block: int
) -> None:
    """431 for a line over 8 KiB, over 128 lines, over 64 KiB in all, for under 50 ms of work; however it is cut."""
    data = b"GET /v1/models HTTP/1.1\r\nhost: a\r\n" + head
    await send_in(client, data, block)
    begun = time.thread_time()
    await client.send(b"x: y\r\n\r\n")
    response = await client.response()
    assert time.thread_time() - begun < 0.05
    assert (response.status, response.error_code) == (431, "request_headers_too_large")
    assert response.header(b"connection") == b"close"
    assert upstream.requests == []


@pytest.mark.parametrize("block", [100_000, 700, 50])
async def test_h4_heads_at_the_caps_pass(client: RawClient, upstream: ScriptedUpstream, block: int) -> None:
    """A target and lines of nearly 8 KiB each, in one piece or in many."""
    fields = b"".join(b"x-%d: %b\r\n" % (i, b"a" * 8_180) for i in range(6))
    await send_in(client, b"GET /v1/files/" + b"t" * 8_100 + b" HTTP/1.1\r\n" + fields + b"host: a\r\n\r\n", block)
    assert (await client.response()).status == 200
    assert len(upstream.request.all(b"x-5")[0]) == 8_180


async def test_h4_a_cap_above_the_default_is_kept(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """200 KiB of head before a body that comes later."""
    gateway = await start(http__max_head_bytes=300_000, http__max_headers=1_000)
    fields = b"".join(b"x-%d: %b\r\n" % (i, b"a" * 8_000) for i in range(25))
    async with gateway.client() as client:
        head = b"POST /v1/files HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n" + fields + b"\r\n"
        await send_in(client, head + b"h", 10_000)
        await until(lambda: bool(upstream.requests))
        await client.send(b"i")
        assert (await client.response()).status == 200
    assert upstream.request.body == b"hi"
