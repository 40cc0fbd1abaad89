"""What passes by in one direction of a WebSocket connection: boundaries, closes, text. Sans-IO.

Frames are built with `websockets`. They are not read with it: its parser gathers each payload whole,
in a buffer of its own, and unmasks it, before it says what it was; a relay needs only the headers,
and skips a payload of any size by its length. Whatever the input and however it is split, an
observer reports the same frames, then nothing more or one `Breach`, in time linear in the input and
with at most `TEXT_LIMIT` bytes of text, a close frame and one incomplete header in memory.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from websockets.frames import Close, CloseCode, Frame, Opcode

__all__ = ["TEXT_LIMIT", "Breach", "Closing", "FrameObserver", "close_frame", "ping_frame"]

TEXT_LIMIT = 1 << 20
"""Bytes of the longest text message that is put together for its observer."""

_FIN, _RESERVED, _OPCODE = 0x80, 0x70, 0x0F
_MASKED, _LENGTH = 0x80, 0x7F
_CONTROL = 0x08
_CONTROL_LIMIT = 125
_OPCODES = frozenset(int(opcode) for opcode in Opcode)


class Breach(enum.Enum):
    """Why a connection cannot go on."""

    MALFORMED = "malformed frame"
    TOO_BIG = "frame too big"

    @property
    def code(self) -> CloseCode:
        return CloseCode.PROTOCOL_ERROR if self is Breach.MALFORMED else CloseCode.MESSAGE_TOO_BIG


@dataclass(frozen=True, slots=True)
class Closing:
    """A close frame as it came, whatever it held; code 1005 stands for none."""

    code: int
    reason: str


def close_frame(code: CloseCode, reason: str, *, mask: bool) -> bytes:
    return Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=mask)


def ping_frame(*, mask: bool) -> bytes:
    return Frame(Opcode.PING, b"").serialize(mask=mask)


@final
class FrameObserver:
    """Watches what one side sends: `masked` if that is the client (RFC 6455 §5.1)."""

    full: Final = False
    """Nothing is ever held but a header."""

    __slots__ = (
        "_close",
        "_final",
        "_held",
        "_left",
        "_mask",
        "_masked",
        "_max_frame",
        "_message",
        "_opcode",
        "_said",
        "_text",
        "breach",
        "closing",
    )

    def __init__(self, *, masked: bool, max_frame: int, text: Callable[[bytes], None] | None = None) -> None:
        """`text` gets whole text messages of up to TEXT_LIMIT bytes; only an unmasked side's can be read."""
        self._masked = masked
        self._max_frame = max_frame
        self._text = None if masked else text
        self._held = b""
        self._left = 0
        self._opcode = 0
        self._final = True
        self._mask = b""
        self._message = 0
        self._said: bytearray | None = None
        self._close = b""
        self.closing: Closing | None = None
        self.breach: Breach | None = None

    def __repr__(self) -> str:
        if self.breach is not None:
            state = self.breach.value
        elif self.closing is not None:
            state = f"closed {self.closing.code}"
        else:
            state = f"{self._left} to come" if self._left else "between frames"
        return f"<FrameObserver {state}>"

    @property
    def between_frames(self) -> bool:
        """No frame has been passed on in part only."""
        return not self._left

    @property
    def ended(self) -> bool:
        """By a close frame or a breach: nothing behind it may be passed on."""
        return self.closing is not None or self.breach is not None

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """What of it, and of a header held back before, may be passed on; and where in that the last
        frame ends, -1 if none does. A header is passed on once it is whole and found good.
        """
        if self.ended:
            return b"", -1
        if self._held:
            data = self._held + data
            self._held = b""
        size, at, boundary = len(data), 0, -1
        while at < size and self.closing is None:
            if not self._left:
                start = self._header(data, at, size)
                if not start:
                    self._held = b"" if self.breach else data[at:]
                    break
                at = start
            end = min(at + self._left, size)
            self._left -= end - at
            self._payload(data, at, end)
            at = end
            if not self._left:
                boundary = at
        return (data if at == size else data[:at]), boundary

    def _header(self, data: bytes, at: int, size: int) -> int:
        """Where the payload starts; 0 if that is not known yet, or will never matter."""
        start = at + 2
        if start > size:
            return 0
        first, second = data[at], data[at + 1]
        length = second & _LENGTH
        self.breach = self._defect(first, second, length)
        if self.breach is not None:
            return 0
        extended = start
        start += (0, 2, 8)[max(length - 125, 0)] + (4 if self._masked else 0)
        if start > size:
            return 0
        if length == 126:
            length = int.from_bytes(data[extended : extended + 2], "big")
        elif length == 127:
            length = int.from_bytes(data[extended : extended + 8], "big")
        if length > self._max_frame:
            self.breach = Breach.MALFORMED if length >> 63 else Breach.TOO_BIG
            return 0
        self._begin(first, length, data[start - 4 : start])
        return start

    def _defect(self, first: int, second: int, length: int) -> Breach | None:
        opcode = first & _OPCODE
        good = opcode in _OPCODES and not first & _RESERVED and bool(second & _MASKED) == self._masked
        if opcode & _CONTROL:
            good = good and length <= _CONTROL_LIMIT and bool(first & _FIN)
        else:
            good = good and (opcode == Opcode.CONT) == bool(self._message)
        return None if good else Breach.MALFORMED

    def _begin(self, first: int, length: int, mask: bytes) -> None:
        self._opcode = opcode = first & _OPCODE
        self._left = length
        if opcode & _CONTROL:
            self._mask = mask
            return
        self._final = bool(first & _FIN)
        if opcode != Opcode.CONT:
            self._message = opcode
            self._said = bytearray() if opcode == Opcode.TEXT and self._text is not None else None
        if self._said is not None and len(self._said) + length > TEXT_LIMIT:
            self._said = None

    def _payload(self, data: bytes, at: int, end: int) -> None:
        """The payload, or a part of it, at `data[at:end]`; `_left` tells which."""
        if not self._opcode & _CONTROL:
            if self._said is not None:
                self._listen(data, at, end)
            if not self._left and self._final:
                self._message = 0
        elif self._opcode == Opcode.CLOSE:
            self._close += data[at:end]
            if not self._left:
                self.closing = self._closing()

    def _listen(self, data: bytes, at: int, end: int) -> None:
        assert self._said is not None and self._text is not None  # noqa: PT018, S101  (narrows the types)
        whole = not self._left and self._final
        if whole and not self._said:
            self._said = None
            self._text(data[at:end])
            return
        self._said += data[at:end]
        if whole:
            said, self._said = bytes(self._said), None
            self._text(said)

    def _closing(self) -> Closing:
        payload = self._close
        if self._masked:
            payload = bytes(byte ^ self._mask[i % 4] for i, byte in enumerate(payload))
        if len(payload) < 2:
            return Closing(CloseCode.NO_STATUS_RCVD, "")
        return Closing(int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace"))
