"""Realtime sessions through the gateway, between a real WebSocket client and a real server."""

import asyncio
import json
import ssl
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.realtime import echo, realtime_upstream, session


async def test_messages_cross_both_ways(start: StartGateway) -> None:
    """Text and binary, empty and of every length encoding, whole and in fragments."""
    async with realtime_upstream() as url, session(await start(url)) as client:
        for message in ("", "é" * 60, "x" * 126, b"", b"\0\xff", bytes(65_536), ["a", "bc", ""], [b"\1", b"\2"]):
            await client.send(message)
            whole = message if isinstance(message, (str, bytes)) else message[0][:0].join(message)  # type: ignore[arg-type]
            assert await client.recv() == whole


async def test_the_handshake_reaches_the_upstream_as_it_came(start: StartGateway) -> None:
    """Path, query, credential and the client's own fields; no extension, which the gateway could not read."""
    seen: list[Request] = []

    async def look(server: ServerConnection) -> None:
        assert server.request is not None
        seen.append(server.request)
        await echo(server)

    async with realtime_upstream(look) as url:
        gateway = await start(url)
        headers = {"authorization": "Bearer sk-canary", "openai-beta": "realtime=v1"}
        async with session(gateway, "/realtime?model=m%20x&a=1", additional_headers=headers) as client:
            await client.send("x")
            await client.recv()
            assert client.response is not None
            assert client.response.headers["x-askonce-call-id"]
    (request,) = seen
    assert request.path == "/v1/realtime?model=m%20x&a=1"
    assert request.headers["authorization"] == "Bearer sk-canary"
    assert request.headers["openai-beta"] == "realtime=v1"
    assert "sec-websocket-extensions" not in request.headers


@pytest.mark.parametrize("chosen", [["realtime"], ["other", "realtime"], []])
async def test_the_subprotocol_is_the_upstreams_choice(start: StartGateway, chosen: list[str]) -> None:
    """The client gets the first of the upstream's that it offered, or none."""
    supported = [Subprotocol(name) for name in chosen]
    offered = [Subprotocol("realtime"), Subprotocol("openai-beta.realtime-v1")]
    async with (
        realtime_upstream(subprotocols=supported or None) as url,
        session(await start(url), subprotocols=offered) as client,
    ):
        assert client.subprotocol == ("realtime" if chosen else None)


async def test_what_the_upstream_says_at_once_arrives(start: StartGateway) -> None:
    """Frames right behind its 101, before the gateway has joined the two."""

    async def greet(server: ServerConnection) -> None:
        await server.send("session.created")
        await server.close(4001, "that is all")

    async with realtime_upstream(greet) as url:
        gateway = await start(url)
        for _ in range(20):
            async with session(gateway) as client:
                assert await client.recv() == "session.created"
                await client.wait_closed()
                assert (client.close_code, client.close_reason) == (4001, "that is all")


async def test_big_messages_cross(start: StartGateway) -> None:
    """12 MiB in one frame, both ways at once, unchanged."""
    message = bytes(range(256)) * (12 << 12)

    async def talk(server: ServerConnection) -> None:
        sending = asyncio.create_task(server.send(message))  # noqa: TID251  (awaited below)
        assert await server.recv() == message
        await sending
        await server.wait_closed()

    async with realtime_upstream(talk) as url, session(await start(url)) as client:
        async with asyncio.TaskGroup() as group:
            group.create_task(client.send(message))
            received = group.create_task(client.recv())
        assert received.result() == message


async def test_a_session_over_tls(start: StartGateway, server_tls: ssl.SSLContext, ca_file: Path) -> None:
    """Towards an upstream that speaks TLS: big messages both ways, its close code, and a breach, which closes it."""

    async def talk(server: ServerConnection) -> None:
        await server.send(await server.recv())
        if await server.recv() == "close":
            await server.close(4002, "bye")
        server.transport.write(b"\xff\xff")
        await server.wait_closed()

    async with realtime_upstream(talk, ssl=server_tls) as url:
        gateway = await start(
            url.replace("http://127.0.0.1", "https://localhost"), upstreams__test__ca_file=str(ca_file)
        )
        for last, code in (("close", 4002), ("break", 1002)):
            async with session(gateway) as client:
                await client.send(bytes(2 << 20))
                assert await client.recv() == bytes(2 << 20)
                await client.send(last)
                await client.wait_closed()
                assert client.protocol.close_rcvd is not None
                assert client.protocol.close_rcvd.code == code


async def test_pings_cross_to_the_other_end(start: StartGateway) -> None:
    """The pong that comes back is the other end's own."""

    async def ping(server: ServerConnection) -> None:
        await (await server.ping(b"from the upstream"))
        await echo(server)

    async with realtime_upstream(ping) as url, session(await start(url)) as client:
        assert await (await client.ping(b"from the client")) >= 0


async def test_the_usage_of_a_session_is_counted(start: StartGateway) -> None:
    """Summed up over its responses, which are upstream text messages; the session counts as relayed."""
    usage = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    done = json.dumps({"type": "response.done", "response": {"object": "realtime.response", "usage": usage}})

    async def respond(server: ServerConnection) -> None:
        async for _ in server:
            await server.send([done[:40], done[40:]])

    async with realtime_upstream(respond) as url:
        gateway = await start(url)
        async with session(gateway) as client:
            for _ in range(2):
                await client.send("{}")
                assert await client.recv() == done
        await gateway.settled()
        assert await gateway.sample("askonce_tokens_total", kind="input") == 14
        assert await gateway.sample("askonce_tokens_total", kind="output") == 10
        assert await gateway.sample("askonce_requests_total", outcome="relayed", status="101") == 1


async def test_another_protocol_crosses_as_bytes(start: StartGateway) -> None:
    """Whatever was agreed on, nothing is read into it; the end of one side is the end of the other."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: shout/1\r\n\r\n\xff\x00HELLO"
        )
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    async with server:
        gateway = await start(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        async with gateway.client() as client:
            await client.send(
                b"GET /v1/shout HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: shout/1\r\n\r\nearly"
            )
            head = await client.start()
            assert (head.status, head.header(b"upgrade")) == (101, b"shout/1")
            received = b""
            while len(received) < len(b"\xff\x00HELLOEARLY"):
                received += await client.read()
            assert received == b"\xff\x00HELLOEARLY"
            client.half_close()
            assert await client.closed()


@pytest.mark.parametrize("status", [401, 403, 404, 426, 503])
async def test_a_refused_handshake_crosses_as_an_answer(start: StartGateway, status: int) -> None:
    """With its status, its fields and its body; the connection is of further use to nobody."""
    body = json.dumps({"error": {"message": "no", "type": "t", "param": None, "code": "c"}})

    def refuse(server: ServerConnection, _: Request) -> Response:
        response = server.respond(HTTPStatus(status), body)
        response.headers["x-why"] = "canary"
        return response

    async with realtime_upstream(process_request=refuse) as url:
        gateway = await start(url)
        with pytest.raises(InvalidStatus) as refused:
            await session(gateway)
    answer = refused.value.response
    assert answer.status_code == status
    assert answer.headers["x-why"] == "canary"
    assert answer.body == body.encode()


async def test_sessions_leave_nothing_behind(start: StartGateway) -> None:
    """Two hundred at once, ended in turn by the client, by the upstream, and by losing either."""

    async def until_told(server: ServerConnection) -> None:
        async for message in server:
            if message == "close":
                await server.close(4000)
            elif message == "vanish":
                server.transport.abort()
            else:
                await server.send(message)

    async def live(gateway: Gateway, number: int) -> None:
        async with session(gateway) as client:
            await client.send(str(number))
            assert await client.recv() == str(number)
            if number % 4 == 0:
                client.transport.abort()
            elif number % 4 < 3:
                await client.send("close" if number % 4 == 1 else "vanish")
                await client.wait_closed()
                assert client.close_code == (4000 if number % 4 == 1 else 1011)

    async with realtime_upstream(until_told) as url:
        gateway = await start(url)
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(live(gateway, number))
        clients = gateway.app.clients
        await until(lambda: not clients.crew.serving and not clients.connections, why="all sessions end")
        await gateway.settled()
