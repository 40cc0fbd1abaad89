"""The life of a client connection: reuse, versions, caps, TLS, its end."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
import trustme

from proxy.http1 import downstream
from tests.fakes.answers import Answer, Framing, Piece, event_stream
from tests.fakes.frames import DONE, STREAM, chat_frame
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import ScriptedUpstream

MODELS = b"GET /v1/models HTTP/1.%d\r\nhost: a\r\n%b\r\n"


async def test_a_connection_serves_many_requests(client: RawClient, gateway: Gateway) -> None:
    """One after the other, over one upstream connection."""
    for _ in range(20):
        assert (await client.ask("GET", "/v1/models")).header(b"connection") is None
    assert await gateway.sample("askonce_upstream_connections_total", reused="false") <= 1


@pytest.mark.parametrize(
    ("minor", "field", "stays", "says"),
    [
        (1, b"", True, None),
        (1, b"connection: close\r\n", False, b"close"),
        (1, b"connection: Keep-Alive, CLOSE\r\n", False, b"close"),
        (0, b"", False, b"close"),
        (0, b"connection: keep-alive\r\n", True, b"keep-alive"),
    ],
)
async def test_who_stays(client: RawClient, minor: int, field: bytes, stays: bool, says: bytes | None) -> None:  # noqa: FBT001
    """As version and Connection field say, and the answer tells."""
    for _ in range(2 if stays else 1):
        await client.send(MODELS % (minor, field))
        assert (await client.response()).header(b"connection") == says
    assert await client.closed(0.05) is not stays


async def test_http_1_0_gets_no_chunks(client: RawClient, upstream: ScriptedUpstream) -> None:
    """A body of unknown length ends with the connection, even if the client asked to keep it."""
    upstream.script(Answer(200, (), [b"one", 0.02, b"two"], Framing.CHUNKED))
    await client.send(MODELS % (0, b"connection: keep-alive\r\n"))
    response = await client.response()
    assert (response.body, response.header(b"transfer-encoding"), response.header(b"connection")) == (
        b"onetwo", None, b"close",
    )  # fmt: skip


async def test_http_1_0_can_tell_a_broken_answer(client: RawClient, upstream: ScriptedUpstream) -> None:
    """A reset, not the orderly end that would make it whole."""
    upstream.script(Answer(200, (), [b"x" * 50, 0.02, b"x" * 50], Framing.CHUNKED, cut_at=90))
    await client.send(MODELS % (0, b""))
    assert not (await client.response()).whole
    assert client.was_reset


async def test_http_1_0_is_told_no_chunks(client: RawClient, upstream: ScriptedUpstream) -> None:
    """A stream is given as it is, frame after frame, and ends with its connection."""
    gates = [asyncio.Event() for _ in range(4)]
    frames: list[Piece] = [piece for gate in gates for piece in (chat_frame("x"), gate)]
    upstream.script(event_stream([*frames, DONE]))
    body = msgspec.json.encode(STREAM)
    head = b"POST /v1/chat/completions HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    await client.send(head % len(body) + body)
    assert (await client.start()).header(b"transfer-encoding") is None
    for gate in gates:
        came = b""
        while len(came) < len(chat_frame("x")):
            came += await client.read()
        assert came == chat_frame("x")
        gate.set()
    assert await client.rest() == DONE


async def test_http_1_0_needs_no_host(client: RawClient, upstream: ScriptedUpstream) -> None:
    """The upstream's own is sent."""
    await client.send(b"GET /v1/models HTTP/1.0\r\n\r\n")
    assert (await client.response()).status == 200
    assert upstream.request.header(b"host") == upstream.origin.removeprefix("http://").encode()


async def test_connections_are_capped(start: StartGateway) -> None:
    """Those over the cap are told to come back; room that is made is given."""
    gateway = await start(listen__max_connections=2)
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(gateway.client()) for _ in range(2)]
        assert (await first.ask("GET", "/v1/models")).status == 200
        assert (await second.ask("GET", "/v1/models")).status == 200
        async with gateway.client() as third:
            refusal = await third.response()
            assert (refusal.status, refusal.error_code) == (503, "overloaded")
            assert (refusal.header(b"retry-after"), refusal.header(b"connection")) == (b"1", b"close")
            assert await third.closed()
        second.close()
        await until(lambda: len(gateway.app.clients.connections) == 1)
        async with gateway.client() as fourth:
            assert (await fourth.ask("GET", "/v1/models")).status == 200


async def test_idle_connections_are_closed(start: StartGateway) -> None:
    """After the keep-alive time, without a word."""
    gateway = await start(timeouts__keepalive=0.15, timeouts__head=30)
    async with gateway.client() as client:
        assert (await client.ask("GET", "/v1/models")).status == 200
        assert await client.closed(1.0)


async def test_a_half_closed_client_has_left(client: RawClient, upstream: ScriptedUpstream) -> None:
    """A FIN is how a client that gives up looks: its request is not paid for any longer."""
    upstream.script(Answer(before=30.0))
    await client.send(compose(body={"model": "m"}))
    await upstream.received()
    client.half_close()
    await upstream.aborted()


async def test_the_listener_speaks_tls(
    start: StartGateway, upstream: ScriptedUpstream, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    """With the configured certificate; requests, pipelining and large answers work as without."""
    certificate = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(str(chain))
    certificate.private_key_pem.write_to_path(str(key))
    gateway = await start(listen__tls_certificate=chain, listen__tls_key=key)
    upstream.script(Answer(200, (), b"x" * 3_000_000), Answer(200, (), b"second"))
    context = ssl.create_default_context(cafile=str(ca_file))
    reader, writer = await asyncio.open_connection(*gateway.app.address, ssl=context, server_hostname="localhost")
    try:
        writer.write(compose("GET", "/v1/models") * 2)
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"HTTP/1.1 200" in head
            assert await reader.readexactly(3_000_000) == b"x" * 3_000_000
            assert (await reader.readuntil(b"\r\n\r\nsecond")).startswith(b"HTTP/1.1 200")
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("size", [450_000, 12_000_000])
async def test_an_answer_is_flushed_before_the_end(
    start: StartGateway, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A client that asked for `Connection: close` and reads slowly gets all of its answer."""
    monkeypatch.setattr(downstream, "LINGER", 0.3)
    gateway = await start(timeouts__client_write=5.0)
    upstream.script(Answer(200, (), b"x" * size))
    async with gateway.client(receive_buffer=16_384) as client:
        await client.send(MODELS % (1, b"connection: close\r\n"))
        loop = asyncio.get_running_loop()
        slowly_until = loop.time() + 0.6
        response, taken = await client.start(), 0
        # Nothing of the small answer is read for longer than a client has that does not matter any more.
        while size < 1_000_000 and loop.time() < slowly_until:
            await asyncio.sleep(0.05)
        while block := await client.read(100_000):
            taken += len(block)
            if loop.time() < slowly_until:
                await asyncio.sleep(0.02)
    assert (taken, response.header(b"connection")) == (size, b"close")
