"""Requests at a steady rate, whether or not the ones before are answered; or as many at a time as are served."""

import asyncio
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from bench.client import Connection, End, connect
from bench.load import LoadError

__all__ = ["Answered", "Flood", "flood", "saturate"]

_PROBE: Final = 0.01
_ANSWER_WITHIN: Final = 30.0
_EXAMPLES: Final = 5
_AHEAD: Final = 0.0005
"""Seconds before it is due that a request may be sent: less than a timer is late."""
_REFUSAL: Final = "overloaded"


@dataclass(frozen=True, slots=True)
class Answered:
    """Of one request: when it was sent on the monotonic clock, and the seconds until it was answered."""

    sent: float
    seconds: float


@dataclass(slots=True)
class Flood:
    """What came of it."""

    began: float
    ended: float = 0.0
    sent: int = 0
    unsent: int = 0
    """Requests that were due while all connections were busy."""
    good: list[Answered] = field(default_factory=list)
    refused: list[Answered] = field(default_factory=list)
    """Told to come again later."""
    wrong: Counter[str] = field(default_factory=Counter)
    late: list[float] = field(default_factory=list)
    """Seconds by which this process ran its own timers too late."""

    pending: int = 0
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    """All that was sent is answered."""

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def served(self, since: float, until: float) -> float:
        """Good answers a second between these moments."""
        count = sum(since <= each.sent + each.seconds < until for each in self.good)
        return count / (until - since)


class _Asker:
    """One connection; `free` is called when it may ask again."""

    def __init__(self, port: int, flooded: Flood, free: Callable[["_Asker"], object]) -> None:
        self._port = port
        self._flooded = flooded
        self._free = free
        self._sent = 0.0
        self._waits = False
        self._parts: list[bytes] = []
        self._connection: Connection | None = None

    def __repr__(self) -> str:
        if not self._waits or self._connection is None:
            return f"<_Asker {'idle' if self.open else 'closed'}>"
        came = f"status {self._connection.status} and {sum(map(len, self._parts))} bytes came"
        state = "" if self.open else ", its connection is closed"
        return f"<_Asker asked {time.monotonic() - self._sent:.1f} s ago, {came}{state}>"

    @property
    def open(self) -> bool:
        return self._connection is not None and self._connection.open

    @property
    def waits_since(self) -> float:
        """On the monotonic clock; inf where it waits for nothing."""
        return self._sent if self._waits else math.inf

    async def start(self) -> None:
        self._connection = await connect(self._port, self._came, self._ended)

    def ask(self, request: bytes) -> None:
        assert self._connection is not None
        self._parts, self._waits = [], True
        self._sent = time.monotonic()
        self._flooded.sent += 1
        self._flooded.pending += 1
        self._flooded.quiet.clear()
        self._connection.send(request)

    def _came(self, data: bytes) -> None:
        self._parts.append(data)

    def _ended(self, end: End) -> None:
        self._waits = False
        connection, flooded = self._connection, self._flooded
        assert connection is not None
        answered = Answered(self._sent, time.monotonic() - self._sent)
        if end is End.WHOLE and connection.status == 200:
            flooded.good.append(answered)
        elif end is End.WHOLE and connection.status == 503 and not self._ill_told():
            flooded.refused.append(answered)
        else:
            flooded.wrong[f"{connection.status} {end.name.lower()} {b''.join(self._parts)[:200]!r}"] += 1
        flooded.pending -= 1
        if connection.open and connection.headers.get(b"connection") != b"close":
            self._free(self)
        if not flooded.pending:
            flooded.quiet.set()

    def _ill_told(self) -> bool:
        """This is no refusal that says why, and when to come again."""
        assert self._connection is not None
        try:
            code = msgspec.json.decode(b"".join(self._parts))["error"]["code"]
        except (msgspec.DecodeError, LookupError, TypeError):
            return True
        return bool(code != _REFUSAL) or not self._connection.headers.get(b"retry-after", b"").isdigit()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


async def flood(
    port: int,
    request: bytes,
    *,
    rate: float,
    seconds: float,
    connections: int,
    patience: float = _ANSWER_WITHIN,
) -> Flood:
    """Open loop: `rate` requests a second, whatever becomes of them, on so many connections at most.

    Raises LoadError where one is not answered `patience` seconds after the last was sent.
    """
    idle: list[_Asker] = []
    flooded = Flood(time.monotonic())
    askers = [_Asker(port, flooded, idle.append) for _ in range(connections)]
    for asker in askers:
        await asker.start()
    idle.extend(askers)
    flooded.began = time.monotonic()
    probing = asyncio.create_task(_probe(flooded))
    for number in itertools.count():
        due = flooded.began + number / rate
        if due >= flooded.began + seconds:
            break
        ahead = due - time.monotonic()
        if ahead > _AHEAD:
            await asyncio.sleep(ahead)
        while idle and not idle[-1].open:
            idle.pop()
        if idle:
            idle.pop().ask(request)
        else:
            flooded.unsent += 1
            await asyncio.sleep(0)
    flooded.ended = time.monotonic()
    try:
        await _answered(flooded, askers, patience)
    finally:
        probing.cancel()
        await asyncio.wait([probing])
        for asker in askers:
            asker.close()
    return flooded


async def saturate(
    port: int, request: bytes, *, seconds: float, connections: int, patience: float = _ANSWER_WITHIN
) -> Flood:
    """Closed loop: every connection asks again as soon as it is answered. Raises LoadError, as `flood` does."""
    flooded = Flood(time.monotonic())

    def again(asker: _Asker) -> None:
        if time.monotonic() < flooded.began + seconds:
            asker.ask(request)

    askers = [_Asker(port, flooded, again) for _ in range(connections)]
    for asker in askers:
        await asker.start()
    flooded.began = time.monotonic()
    for asker in askers:
        asker.ask(request)
    await asyncio.sleep(seconds)
    flooded.ended = time.monotonic()
    try:
        await _answered(flooded, askers, patience)
    finally:
        for asker in askers:
            asker.close()
    return flooded


async def _answered(flooded: Flood, askers: Sequence[_Asker], patience: float) -> None:
    try:
        async with asyncio.timeout(patience):
            await flooded.quiet.wait()
    except TimeoutError:
        waiting = sorted((each for each in askers if each.waits_since < math.inf), key=lambda each: each.waits_since)
        told = f"{flooded.pending} of {flooded.sent:,} requests are not answered {patience:g} s after the last was sent"
        raise LoadError(f"{told}; longest of all wait {waiting[:_EXAMPLES]}") from None


async def _probe(flooded: Flood) -> None:
    while True:
        due = time.monotonic() + _PROBE
        await asyncio.sleep(_PROBE)
        flooded.late.append(max(0.0, time.monotonic() - due))
