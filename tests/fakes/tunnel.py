"""A tunnel on a clock that is moved by hand, between transports that only write down."""

import asyncio
from typing import final

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol

from proxy.errors import Kind
from proxy.http1.frames import close_frame
from proxy.http1.pipe import Pipe
from proxy.http1.tunnel import Tunnel, TunnelLimits
from proxy.talk import Screen
from tests.fakes.clock import Clock

__all__ = ["LIMITS", "Rig", "Side", "Wire"]

LIMITS = TunnelLimits(ping_interval=20, ping_timeout=10, max_frame_bytes=1 << 20, message_timeout=30)


class Wire(asyncio.Transport):
    """What is written counts as taken, except for `backlog`; a close waits for that."""

    def __init__(self, *, half_closes: bool = True) -> None:
        super().__init__()
        self.written = b""
        self.backlog = 0
        self.half_closes = half_closes
        self.eof = self.closing = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof
        self.written += data

    def can_write_eof(self) -> bool:
        return self.half_closes

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.backlog


@final
class Side:
    """One end, with the peer behind it."""

    def __init__(self, *, is_client: bool) -> None:
        self.transport = Wire()
        self.pipe: Pipe
        self.reading = True
        self.is_client = is_client

    def join(self, pipe: Pipe) -> None:
        self.pipe = pipe

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        self.reading = True

    def frame(self, opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> bytes:
        return Frame(opcode, payload, fin=fin).serialize(mask=self.is_client)

    def send(self, opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> bytes:
        data = self.frame(opcode, payload, fin=fin)
        self.pipe.data(data)
        return data

    def close(self, code: CloseCode) -> bytes:
        data = close_frame(code, "", mask=self.is_client)
        self.pipe.data(data)
        return data

    @property
    def received(self) -> list[Frame]:
        """What was written to it, as a WebSocket library reads it."""
        library = Protocol(CLIENT if self.is_client else SERVER, max_size=None)
        library.receive_data(self.transport.written)
        assert library.parser_exc is None
        return [frame for frame in library.events_received() if isinstance(frame, Frame)]

    @property
    def opcodes(self) -> list[Opcode]:
        return [frame.opcode for frame in self.received]

    @property
    def close_code(self) -> int | None:
        """Of the close frame that it received, if there was one: it is the last."""
        closes = [frame for frame in self.received if frame.opcode is Opcode.CLOSE]
        return int.from_bytes(closes[0].data[:2], "big") if closes else None


@final
class Rig:
    def __init__(self, *, websocket: bool = True, limits: TunnelLimits = LIMITS, screen: Screen | None = None) -> None:
        self.clock = Clock()
        self.client, self.upstream = Side(is_client=True), Side(is_client=False)
        self.texts: list[bytes] = []
        observe = self._observe if websocket else None
        self.tunnel = Tunnel(self.client, self.upstream, limits, observe, screen, self.clock)
        self.tunnel.open()

    def _observe(self, message: bytes, _refuse: object) -> None:
        self.texts.append(message)

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.client, self.upstream

    def wait(self, seconds: float) -> None:
        """As the deadlines' timer would."""
        until = self.clock.now + seconds
        self.settle()
        while self.tunnel.deadline <= until and not self.over():
            assert self.tunnel.deadline >= self.clock.now
            self.clock.now = self.tunnel.deadline
            self.tunnel.expire(self.clock.now)
            self.settle()
        self.clock.now = max(until, self.clock.now)

    def settle(self) -> None:
        """The event loop reports the connections that are closed now."""
        for side in self.sides:
            wire = side.transport
            if wire.aborted or (wire.closing and not wire.backlog):
                side.pipe.lost()

    def over(self) -> bool:
        return self.tunnel.over.is_set()

    @property
    def failure(self) -> Kind | None:
        return self.tunnel.failure.kind if self.tunnel.failure else None
