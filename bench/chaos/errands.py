"""Clients of a soak: each runs one errand after another until time is over."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from bench.chaos.canary import request_body
from bench.chaos.questions import (
    Answer,
    Errand,
    Question,
    errand_of,
    judge,
    judge_probe,
    outcomes,
    purge_missed,
)
from bench.chaos.record import Record
from bench.chaos.weather import Weather
from bench.client import Connection, End, connect
from bench.spec import CHAT

__all__ = ["Soaked", "soak_for"]

_HERD: Final = 16
_HERD_LEAVES_AFTER: Final = 0.02
_LEAVES_AFTER: Final = 0.1
_ANSWER_WITHIN: Final = 30.0
_MOVES: Final = 0.1
"""Share of errands before which a client comes on a new connection, perhaps to another worker."""


@dataclass(slots=True)
class Soaked:
    """What a soak came to."""

    record: Record = field(default_factory=Record)
    foreign: int = 0
    """Answers that were somebody else's."""
    torn: int = 0
    """Stored answers that are not whole, or not to the byte what the upstream wrote."""
    purged: int = 0
    """Hits that were older than a purge."""
    herds: int = 0
    herds_fair: int = 0
    """While Redis was well and nothing was purged."""
    split: int = 0
    """Of those, herds that cost more than one call."""
    worst: int = 0
    """Calls that any other herd cost."""
    statuses: dict[str, int] = field(default_factory=dict)


class _Client:
    """One client on one connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: Connection | None = None
        self._over: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []

    def move(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def ask(self, question: Question, directive: bytes, leave_after: float = 0.0) -> Answer:
        """Raises OSError and TimeoutError."""
        if self._connection is None or not self._connection.open:
            self._connection = await connect(self._port, self._parts_append, self._ended)
        connection = self._connection
        self._over = asyncio.get_running_loop().create_future()
        self._parts = []
        connection.send(_request(question, directive))
        async with asyncio.timeout(_ANSWER_WITHIN):
            if leave_after:
                await asyncio.wait([self._over], timeout=leave_after)
                connection.reset()
            end = await self._over
        told = connection.headers
        if told.get(b"connection") == b"close":
            self.move()
        return Answer(
            status=connection.status,
            whole=end is End.WHOLE,
            body=b"".join(self._parts),
            cache=told.get(b"x-cache-status", b"").decode("latin-1"),
            age=int(told.get(b"age", b"-1")),
            call_id=told.get(b"x-askonce-call-id", b"").decode("latin-1"),
        )

    def _parts_append(self, data: bytes) -> None:
        self._parts.append(data)

    def _ended(self, end: End) -> None:
        if not self._over.done():
            self._over.set_result(end)


def _request(question: Question, directive: bytes) -> bytes:
    body = request_body(question.number, stream=question.stream, gap=question.gap, reset_at=question.reset_at)
    cache_control = b"cache-control: %b\r\n" % directive if directive else b""
    return (
        b"POST %b HTTP/1.1\r\nhost: soak\r\nauthorization: Bearer %b\r\ncontent-type: application/json\r\n"
        b"%bcontent-length: %d\r\n\r\n%b"
    ) % (CHAT.encode(), question.key.encode(), cache_control, len(body), body)


class _Soaker:
    """Runs errands and writes down what came of them."""

    def __init__(self, port: int, seed: int, weather: Weather, soaked: Soaked) -> None:
        self._port = port
        self._seed = seed
        self._weather = weather
        self._soaked = soaked

    async def run(self, until: float, numbers: Iterator[int]) -> None:
        client = _Client(self._port)
        try:
            while time.monotonic() < until:
                index = next(numbers)
                question = errand_of(self._seed, index)
                if random.Random(f"{self._seed}:{index}:move").random() < _MOVES:
                    client.move()
                if question.errand is Errand.HERD:
                    await self._herd(index, question)
                else:
                    await self._errand(client, index, question)
        finally:
            client.move()

    async def _errand(self, client: _Client, index: int, question: Question) -> None:
        leaves = _LEAVES_AFTER if question.errand is Errand.LEAVE else 0.0
        await self._ask(client, index, question, leaves)
        if question.errand is not Errand.RESET:
            return
        try:
            answer = await client.ask(replace(question, reset_at=-1), b"only-if-cached")
        except (OSError, TimeoutError) as error:
            self._lost(index, question, error)
            return
        record = self._soaked.record
        record.saw("probe", answer.call_id, frozenset(["refused"]))
        if wrong := judge_probe(answer):
            self._soaked.torn += 1
            record.complain(f"probe {index}", wrong)

    async def _ask(self, client: _Client, index: int, question: Question, leave_after: float = 0.0) -> int:
        """The serial of the call that answered; -1 for none."""
        purged = self._weather.purged
        try:
            answer = await client.ask(question, question.directive, leave_after)
        except (OSError, TimeoutError) as error:
            self._lost(index, question, error)
            return -1
        soaked = self._soaked
        soaked.record.saw(question.errand, answer.call_id, outcomes(question.errand, answer, left=bool(leave_after)))
        if question.errand is Errand.HERD and leave_after and not answer.whole:
            return -1
        soaked.statuses[answer.cache] = soaked.statuses.get(answer.cache, 0) + 1
        serial, wrong = judge(question, answer)
        if wrong:
            soaked.record.complain(f"errand {index} ({question.errand})", wrong)
            soaked.foreign += "another tenant" in wrong
            soaked.torn += answer.cache in ("HIT", "COALESCED", "STALE")
        if purge_missed(answer, time.time(), purged):
            soaked.purged += 1
            soaked.record.complain(f"errand {index} ({question.errand})", f"a hit {answer.age} s old was purged")
        return serial

    def _lost(self, index: int, question: Question, error: Exception) -> None:
        self._soaked.record.saw(question.errand, "", frozenset())
        self._soaked.record.complain(f"errand {index} ({question.errand})", repr(error))

    async def _herd(self, index: int, question: Question) -> None:
        clients = [_Client(self._port) for _ in range(_HERD)]
        leaving = [_HERD_LEAVES_AFTER if question.first_leaves and not at else 0.0 for at in range(_HERD)]
        began = time.monotonic()
        tasks = [
            asyncio.create_task(self._ask(client, index, question, leave_after))
            for client, leave_after in zip(clients, leaving, strict=True)
        ]
        serials = set(await asyncio.gather(*tasks)) - {-1}
        for client in clients:
            client.move()
        fair = self._weather.fair_since(began)
        soaked = self._soaked
        soaked.herds += 1
        soaked.herds_fair += fair
        if not fair:
            soaked.worst = max(soaked.worst, len(serials))
        elif len(serials) > 1:
            soaked.split += 1
            soaked.record.complain(f"herd {index}", f"{len(serials)} calls")


async def soak_for(seconds: float, port: int, *, seed: int, clients: int, weather: Weather) -> Soaked:
    """Runs that many clients for that long; all errands that began are finished."""
    soaked = Soaked()
    until = time.monotonic() + seconds
    numbers = itertools.count()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(_Soaker(port, seed, weather, soaked).run(until, numbers))
    return soaked
