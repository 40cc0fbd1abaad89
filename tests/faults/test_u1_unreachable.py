"""U1: an upstream that can't be connected to costs its client a connect deadline, and a 502."""

import asyncio
import socket
import struct

import pytest

from tests.fakes.frames import CHAT
from tests.fakes.gateway import StartGateway
from tests.fakes.raw import Response
from tests.fakes.toxics import ToxicProxy, black_hole
from tests.fakes.upstream import ScriptedUpstream


async def _ask(start: StartGateway, url: str, **settings: object) -> Response:
    gateway = await start(url, **settings)
    async with gateway.client() as client:
        return await client.ask(body=CHAT)


def _assert_unreachable(response: Response) -> None:
    assert (response.status, response.error_code) == (502, "upstream_unreachable")
    assert response.json()["error"]["type"] == "upstream_error"
    assert response.header(b"content-type") == b"application/json"
    assert response.header(b"x-request-id")
    assert response.header(b"x-should-retry") is None


async def test_u1_refused(start: StartGateway) -> None:
    """A refused connection is 502 upstream_unreachable, and may be retried: nothing was sent."""
    async with ToxicProxy("127.0.0.1", 1) as closed:
        await closed.refuse()
        _assert_unreachable(await _ask(start, closed.url))


async def test_u1_black_hole(start: StartGateway) -> None:
    """A SYN that nobody answers ends at the connect deadline."""
    with black_hole() as (host, port):
        _assert_unreachable(await _ask(start, f"http://{host}:{port}/v1", timeouts__connect=0.2))


async def test_u1_mute_tls(start: StartGateway) -> None:
    """A handshake that stalls ends at the connect deadline, and its socket is closed."""
    async with ScriptedUpstream() as mute:
        response = await _ask(start, mute.url.replace("http:", "https:"), timeouts__connect=0.2)
        _assert_unreachable(response)
        assert mute.requests == []


async def test_u1_says_nothing_of_the_host(start: StartGateway) -> None:
    """Neither address nor port of the upstream stands in the answer."""
    async with ToxicProxy("127.0.0.1", 1) as closed:
        await closed.refuse()
        response = await _ask(start, closed.url)
        said = repr((response.headers, response.body))
        assert str(closed.port) not in said
        assert "127.0.0.1" not in said


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_u1_closed_as_soon_as_accepted(start: StartGateway, *, reset: bool) -> None:
    """A connection that dies at birth is an upstream's failure, never the gateway's, and hangs nobody."""

    async def slam(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    server = await asyncio.start_server(slam, "127.0.0.1", 0)
    async with server:
        gateway = await start(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        for _ in range(5):
            async with gateway.client(timeout=1.0) as client:
                response = await client.ask(body=CHAT)
                assert response.status == 502
                assert response.error_code in {"upstream_unreachable", "upstream_error"}


async def test_u1_recovers(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """The first request after the upstream is back succeeds."""
    async with ToxicProxy("127.0.0.1", upstream.port) as link:
        await link.refuse()
        gateway = await start(link.url)
        async with gateway.client() as client:
            assert (await client.ask(body=CHAT)).status == 502
            await link.accept()
            assert (await client.ask(body=CHAT)).status == 200
