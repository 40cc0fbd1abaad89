"""W4: slow peers, silent peers and frames that are too big or malformed end a session with the right code."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import Close, Frame, Opcode

from proxy.http1 import tunnel
from tests.fakes.gateway import Gateway, StartGateway, StartProcess
from tests.fakes.polling import until
from tests.fakes.realtime import Handler, port_of, realtime_upstream, session
from tests.fakes.toxics import ToxicProxy

PIECE = bytes(256 << 10)
PIECES = 256
"""64 MiB: more than all the sockets between two ends hold."""


class Flood:
    """Sends until it is held back, and then some."""

    def __init__(self) -> None:
        self.sent = 0

    async def run(self, sender: ClientConnection | ServerConnection) -> None:
        while self.sent < PIECES:
            await sender.send(PIECE)
            self.sent += 1

    async def held_back(self) -> None:
        """Until nothing has been sent for 0.3 s."""
        loop = asyncio.get_running_loop()
        before, since = -1, loop.time()

        def steady() -> bool:
            nonlocal before, since
            if self.sent != before:
                before, since = self.sent, loop.time()
            return loop.time() - since > 0.3

        await until(steady, 10, "the sender is held back")
        assert 0 < self.sent < PIECES


class Listener:
    """An upstream that keeps what it hears, and how it ended."""

    def __init__(self, first: Callable[[ServerConnection], None] = lambda _: None) -> None:
        self.heard: list[str | bytes] = []
        self.close: asyncio.Future[Close | None] = asyncio.get_running_loop().create_future()
        self._first = first

    async def __call__(self, server: ServerConnection) -> None:
        self._first(server)
        try:
            async for message in server:
                self.heard.append(message)
                await server.send(message)
        finally:
            self.close.set_result(server.protocol.close_rcvd)


async def ended(gateway: Gateway, outcome: str) -> None:
    """The one session is over, and how."""
    clients = gateway.app.clients
    await until(lambda: not clients.crew.serving and not clients.connections, 5.0, "both halves are torn down")
    await gateway.settled()
    assert await gateway.sample("askonce_requests_total", outcome=outcome) == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a close frame that does not come."""
    monkeypatch.setattr(tunnel, "GRACE", 0.2)


@pytest.mark.usefixtures("impatient")
async def test_a_client_that_falls_silent_is_ended_with_1011(start: StartGateway) -> None:
    """It does not even answer a ping; the upstream is told why, and the exchange counts as abandoned."""
    upstream = Listener()
    async with realtime_upstream(upstream) as url:
        gateway = await start(url, realtime__ping_interval=0.2, realtime__ping_timeout=0.2)
        client = await session(gateway)
        client.transport.pause_reading()
        assert await upstream.close == Close(1011, "keepalive ping timeout")
        await ended(gateway, "abandoned")
        client.transport.abort()


@pytest.mark.usefixtures("impatient")
async def test_an_upstream_that_falls_silent_is_ended_with_1011(start: StartGateway) -> None:
    """It hangs without closing; the client is told why, and the upstream is to blame."""
    async with realtime_upstream(Listener()) as url, ToxicProxy("127.0.0.1", port_of(url)) as proxy:
        gateway = await start(proxy.url, realtime__ping_interval=0.2, realtime__ping_timeout=0.2)
        async with session(gateway) as client:
            await client.send("x")
            await client.recv()
            proxy.up.hold = proxy.down.hold = True
            await client.wait_closed()
            assert client.protocol.close_rcvd == Close(1011, "keepalive ping timeout")
        await ended(gateway, "broken")
        assert await gateway.sample("askonce_upstream_failures_total", kind="upstream_timeout") == 1


class Pinged(ClientConnection):
    """Counts the pings that it answers."""

    pings = 0

    def process_event(self, event: object) -> None:
        self.pings += isinstance(event, Frame) and event.opcode is Opcode.PING
        super().process_event(event)  # type: ignore[arg-type]


async def test_two_sides_that_only_answer_pings_stay(start: StartGateway) -> None:
    """Through many intervals without a message of their own."""
    async with realtime_upstream(Listener()) as url:
        gateway = await start(url, realtime__ping_interval=0.05, realtime__ping_timeout=0.2)
        async with session(gateway, create_connection=Pinged) as client:
            assert isinstance(client, Pinged)
            await until(lambda: client.pings >= 10, 5.0, "ten pings are answered")
            await client.send("still here")
            assert await client.recv() == "still here"


@pytest.mark.parametrize("sender", ["client", "upstream"])
@pytest.mark.parametrize(("kind", "code"), [("big", 1009), ("malformed", 1002)])
async def test_a_frame_beyond_the_limit_or_the_protocol_closes_both(
    start: StartGateway, sender: str, kind: str, code: int
) -> None:
    """With 1009 or 1002, while it is still being sent; the other side sees nothing of it."""
    frame = Frame(Opcode.BINARY, bytes(4 << 20)).serialize(mask=sender == "client")
    if kind == "malformed":
        frame = b"\xf2" + frame[1:]
    upstream = Listener(lambda server: server.transport.write(frame) if sender == "upstream" else None)
    async with realtime_upstream(upstream) as url:
        gateway = await start(url, realtime__max_frame_bytes=1 << 20)
        async with session(gateway) as client:
            if sender == "client":
                client.transport.write(frame)
            with pytest.raises(ConnectionClosedError) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code
        close = await upstream.close
        assert close is not None
        assert close.code == code
        assert upstream.heard == []
        await ended(gateway, "broken")


async def test_a_frame_of_the_limit_passes(start: StartGateway) -> None:
    """The limit is the largest payload that crosses, both ways."""
    async with realtime_upstream(Listener()) as url:
        gateway = await start(url, realtime__max_frame_bytes=1 << 20)
        async with session(gateway) as client:
            await client.send(bytes(1 << 20))
            assert await client.recv() == bytes(1 << 20)


async def test_a_client_that_does_not_read_costs_its_session(start: StartGateway) -> None:
    """Once nothing could be written to it for the time allowed; the upstream is held back, then told 1011."""
    flood = Flood()
    closed: asyncio.Future[Close | None] = asyncio.get_running_loop().create_future()

    async def serve(server: ServerConnection) -> None:
        try:
            await flood.run(server)
        finally:
            await server.wait_closed()
            closed.set_result(server.protocol.close_rcvd)

    async with realtime_upstream(serve) as url:
        gateway = await start(url, timeouts__client_write=0.3)
        client = await session(gateway)
        client.transport.pause_reading()
        assert await closed == Close(1011, "peer stuck")
        assert 0 < flood.sent < PIECES
        await ended(gateway, "abandoned")
        client.transport.abort()


async def test_an_upstream_that_does_not_read_costs_its_session(start: StartGateway) -> None:
    """The client is held back, then told 1011, and the upstream is to blame."""
    flood, released = Flood(), asyncio.Event()
    async with realtime_upstream(_deaf(released)) as url:
        gateway = await start(url, timeouts__upstream_write=0.3)
        async with session(gateway) as client:
            with pytest.raises(ConnectionClosed) as closed:
                await flood.run(client)
            assert closed.value.rcvd == Close(1011, "peer stuck")
        await ended(gateway, "broken")
        released.set()
    assert 0 < flood.sent < PIECES


@pytest.mark.alone
@pytest.mark.parametrize("slow", ["client", "upstream"])
async def test_a_slow_reader_costs_no_memory(start_process: StartProcess, slow: str) -> None:
    """As much as 64 MiB towards somebody who does not read: the gateway grows by less than 4 MiB."""
    flood, released = Flood(), asyncio.Event()
    async with realtime_upstream(flood.run if slow == "client" else _deaf(released)) as url:
        gateway = await start_process(url)
        client = await session(gateway)
        before = _resident(gateway.pid)
        flooding = None
        if slow == "client":
            client.transport.pause_reading()
        else:
            flooding = asyncio.get_running_loop().create_task(flood.run(client))
        await flood.held_back()
        grown = _resident(gateway.pid) - before
        if flooding is not None:
            flooding.cancel()
        client.transport.abort()
        released.set()
    assert grown < 4 << 20


def _deaf(released: asyncio.Event) -> Handler:
    async def handle(server: ServerConnection) -> None:
        server.transport.pause_reading()
        await released.wait()
        server.transport.abort()

    return handle


def _resident(pid: int) -> int:
    """Bytes of memory that a process and its children hold."""
    children = (int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    status = Path(f"/proc/{pid}/status").read_text()
    own = int(status.partition("VmRSS:")[2].split()[0]) * 1024
    return own + sum(map(_resident, children))
