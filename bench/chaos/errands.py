"""Clients of a soak: each runs one errand after another until time is over."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bench.chaos.canary import Order
from bench.chaos.excuses import judge_neither, judge_outage, judge_unheard
from bench.chaos.questions import (
    ALL_KEYS,
    OUT_OF_ORDER,
    PROMPT,
    SOAK,
    UNCACHED,
    Answer,
    Errand,
    Question,
    calmed,
    errand_of,
    judge,
    judge_probe,
    outcomes,
)
from bench.chaos.record import Record
from bench.chaos.weather import Weather
from bench.client import Connection, End, connect

__all__ = ["Course", "Herd", "Soaked", "soak_for"]

_HERD: Final = 16
_HERD_LEAVES_AFTER: Final = 0.02
_LEAVES_AFTER: Final = 0.1
_ANSWER_WITHIN: Final = 30.0
_CUT_WITHIN: Final = 0.5
"""Seconds within which a client notices that its worker was killed."""
_MOVES: Final = 0.1
"""Share of errands before which a client comes on a new connection, perhaps to another worker."""
_THINKS: Final = 0.15
"""Seconds, at most, between two errands of a client."""
_READS_EVERY: Final = 0.05
"""Seconds between two reads of a slow client."""
_STORED: Final = ("HIT", "COALESCED", "STALE")


@dataclass(frozen=True, slots=True)
class Herd:
    """Many who asked the same at once; times are of the monotonic clock."""

    index: int
    began: float
    ended: float
    calls: int
    """Of the upstream, that answered them."""


@dataclass(slots=True)
class Soaked:
    """What a soak came to."""

    record: Record = field(default_factory=Record)
    foreign: int = 0
    """Answers that were somebody else's, or to something else."""
    torn: int = 0
    """Stored answers that are not whole, or not to the byte what the upstream wrote."""
    purged: int = 0
    """Hits that were older than a purge."""
    herds: list[Herd] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    prompt: list[tuple[float, float]] = field(default_factory=list)
    """When it was asked and how many seconds it took, of what nobody but the gateway delays."""
    paceless: list[tuple[float, float]] = field(default_factory=list)
    """The same, of those of them that the upstream is asked for, and answers at once."""
    outages: int = 0
    """Requests that an upstream took with it when it went away."""
    neither: int = 0
    """Requests that the first upstream had no time for while the other was left alone, soon after an outage."""
    unheard: int = 0
    """Requests refused by a worker that had never heard what is left of a budget, as Redis was away."""
    asked: Iterator[int] = field(default_factory=itertools.count)
    """The numbers of requests."""


class _Client:
    """One client on one connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: Connection | None = None
        self._over: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []
        self._slow = False

    def move(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def ask(self, question: Question, directive: bytes, number: int, leave_after: float = 0.0) -> Answer:
        """`number` is no other request's. Raises OSError and TimeoutError."""
        if self._connection is None or not self._connection.open:
            self._connection = await connect(self._port, self._came, self._ended)
        connection, began = self._connection, time.monotonic()
        self._over = asyncio.get_running_loop().create_future()
        self._parts, self._slow = [], question.errand is Errand.SLOW
        connection.send(_request(question, directive, number))
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                if leave_after:
                    await asyncio.wait([self._over], timeout=leave_after)
                    connection.reset()
                end = await self._over
        except TimeoutError:
            connection.reset()
            raise
        told = connection.headers
        answer = Answer(
            status=connection.status,
            whole=end is End.WHOLE,
            body=b"".join(self._parts),
            cache=told.get(b"x-cache-status", b"").decode("latin-1"),
            call_id=told.get(b"x-askonce-call-id", b"").decode("latin-1"),
            seconds=time.monotonic() - began,
        )
        if told.get(b"connection") == b"close":
            self.move()
        return answer

    def _came(self, data: bytes) -> None:
        self._parts.append(data)
        if self._slow and self._connection is not None:
            self._connection.pause()
            asyncio.get_running_loop().call_later(_READS_EVERY, self._connection.resume)

    def _ended(self, end: End) -> None:
        if not self._over.done():
            self._over.set_result(end)


def _request(question: Question, directive: bytes, number: int) -> bytes:
    """Whose it is and which one stands in fields of its own, as no key goes upstream: answers are signed by them."""
    body = question.body
    cache_control = b"cache-control: %b\r\n" % directive if directive else b""
    return (
        b"POST %b HTTP/1.1\r\nhost: soak\r\nauthorization: Bearer %b\r\ncontent-type: application/json\r\n"
        b"x-soak-mark: %d\r\nx-soak-number: %b-%d\r\n%bcontent-length: %d\r\n\r\n%b"
    ) % (
        *(question.path.encode(), question.key.encode(), ALL_KEYS.index(question.key)),
        *(question.errand.encode(), number),
        *(cache_control, len(body), body),
    )


class _Soaker:
    """Runs errands and writes down what came of them."""

    def __init__(self, port: int, course: "Course", weather: Weather, soaked: Soaked) -> None:
        self._port = port
        self._course = course
        self._weather = weather
        self._soaked = soaked

    async def run(self, until: float, numbers: Iterator[int]) -> None:
        client = _Client(self._port)
        try:
            while time.monotonic() < until:
                index = next(numbers)
                question, pause = self._course.errand(index)
                dice = random.Random(f"{self._course.seed}:{index}:manner")
                if dice.random() < _MOVES:
                    client.move()
                await asyncio.sleep(dice.random() * _THINKS)
                if question.errand is Errand.HERD:
                    await self._herd(index, question)
                else:
                    await self._errand(client, index, question)
                await asyncio.sleep(pause)
        finally:
            client.move()

    async def _errand(self, client: _Client, index: int, question: Question) -> None:
        leaves = _LEAVES_AFTER if question.errand is Errand.LEAVE else 0.0
        await self._ask(client, index, question, leaves)
        if question.errand in (Errand.RESET, Errand.STALL, Errand.ERROR):
            await self._probe(client, index, replace(question, order=Order()))

    async def _probe(self, client: _Client, index: int, question: Question) -> None:
        """Asks for what is stored of an answer that broke."""
        try:
            answer = await client.ask(question, b"only-if-cached", next(self._soaked.asked))
        except (OSError, TimeoutError) as error:
            self._lost("probe", index, error)
            return
        record = self._soaked.record
        if not answer.whole and self._died():
            record.saw_cut("probe", answer.call_id)
            return
        wrong = judge_probe(answer)
        record.saw("probe", answer.call_id, frozenset(["relayed"] if wrong else ["refused"]))
        if wrong:
            self._soaked.torn += 1
            record.complain(f"probe {index}", wrong, answer.call_id, kind="probe")

    async def _ask(self, client: _Client, index: int, question: Question, leave_after: float = 0.0) -> int:
        """The serial of the call that answered; -1 for none."""
        purged, asked = self._weather.purged(question.model), time.monotonic()
        try:
            answer = await client.ask(question, question.directive, next(self._soaked.asked), leave_after)
        except (OSError, TimeoutError) as error:
            self._lost(question.errand, index, error)
            return -1
        soaked, errand = self._soaked, question.errand
        if not answer.whole and self._died():
            soaked.record.saw_cut(errand, answer.call_id)
            return -1
        ended, left = asked + answer.seconds, bool(leave_after)
        unsettled = self._weather.unsettled(asked, ended)
        outage = unsettled and judge_outage(question, answer, left=left)
        unheard = judge_unheard(answer) and self._weather.unheard(asked, ended)
        neither = judge_neither(question, answer) and self._weather.recovering(asked, ended)
        if (outage or unheard or neither) and judge(question, answer)[1]:
            soaked.record.saw(errand, answer.call_id, OUT_OF_ORDER)
            soaked.outages += outage
            soaked.unheard += unheard
            soaked.neither += neither and not outage
            return -1
        soaked.record.saw(errand, answer.call_id, outcomes(errand, answer, left=left, outage=unsettled))
        if errand is Errand.HERD and left and not answer.whole:
            return -1
        soaked.statuses[answer.cache] += 1
        if errand in PROMPT:
            soaked.prompt.append((asked, answer.seconds))
            if errand in UNCACHED and not question.order.gap:
                soaked.paceless.append((asked, answer.seconds))
        return self._judge(index, question, answer, purged)

    def _judge(self, index: int, question: Question, answer: Answer, purged: int) -> int:
        soaked, label = self._soaked, f"errand {index} ({question.errand}, {self._weather.now})"
        serial, wrong = judge(question, answer)
        if wrong:
            soaked.record.complain(label, wrong, answer.call_id, kind=f"{question.errand} {answer.cache}")
            soaked.foreign += "another" in wrong or "not the whole answer to this question" in wrong
            soaked.torn += answer.status == 200 and answer.cache in _STORED
        if answer.cache in ("HIT", "STALE") and 0 <= serial <= purged:
            soaked.purged += 1
            soaked.record.complain(
                label, f"call {serial} was purged with all up to {purged}", answer.call_id, kind="purged"
            )
        return serial

    def _died(self) -> bool:
        """A worker was killed just now."""
        now = time.monotonic()
        return any(0 <= now - kill <= _CUT_WITHIN for kill in self._weather.kills)

    def _lost(self, kind: str, index: int, error: Exception) -> None:
        record = self._soaked.record
        if not isinstance(error, TimeoutError) and self._died():
            record.saw_cut(kind, "")
            return
        record.saw(kind, "", frozenset())
        record.complain(f"errand {index} ({kind}, {self._weather.now})", repr(error), kind=kind)

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
        self._soaked.herds.append(Herd(index, began, time.monotonic(), len(serials)))


@dataclass(frozen=True, slots=True)
class Course:
    """Which errands there are."""

    seed: int
    shares: Mapping[Errand, int] = field(default_factory=lambda: SOAK)
    first: int = 0
    """The number of the first."""
    calm: bool = False
    """Nothing goes wrong, and nobody leaves."""

    def errand(self, index: int) -> tuple[Question, float]:
        """And the seconds that its client waits after it."""
        question = errand_of(self.seed, index, self.shares)
        return calmed(question) if self.calm else (question, 0.0)


async def soak_for(
    seconds: float, port: int, course: Course, *, clients: int, weather: Weather, soaked: Soaked | None = None
) -> Soaked:
    """Runs that many clients for that long; all errands that began are finished. Goes on with `soaked`."""
    soaked = soaked or Soaked()
    until = time.monotonic() + seconds
    numbers = itertools.count(course.first)
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(_Soaker(port, course, weather, soaked).run(until, numbers))
    return soaked
