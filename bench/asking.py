"""Requests on keep-alive connections: in a closed loop, at a given rate, or all at once.

Each connection asks one question at a time. What is checked of an answer is that it is a whole 200, and in a
herd that it is the same for all; what it says is the business of chaos.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from bench.client import Connection, End, connect
from bench.semantic.questions import KNOWN
from bench.spec import Result, Spec, percentile

__all__ = ["alike", "closed_loop", "herds", "paced"]

_ANSWER_WITHIN = 30.0
_LEARNT_WITHIN = 1.0
"""Seconds after an answer until its question is found."""


class _Asker:
    """One connection. `on_answer` gets the seconds it took, or None for anything but a whole 200."""

    def __init__(self, on_answer: Callable[["_Asker", float | None], None]) -> None:
        self._on_answer = on_answer
        self._sent_at = 0.0
        self._parts: list[bytes] = []
        self._connection: Connection | None = None

    @property
    def open(self) -> bool:
        return self._connection is not None and self._connection.open

    @property
    def body(self) -> bytes:
        """Of the last answer."""
        return b"".join(self._parts)

    async def start(self, port: int) -> None:
        self._connection = await connect(port, self._data, self._ended)

    def _data(self, data: bytes) -> None:
        self._parts.append(data)

    def ask(self, request: bytes, since: float | None = None) -> None:
        """The time counts from `since`, where a request was due before it could be sent."""
        assert self._connection is not None
        self._parts = []
        self._sent_at = time.monotonic() if since is None else since
        self._connection.send(request)

    def _ended(self, end: End) -> None:
        assert self._connection is not None
        good = end is End.WHOLE and self._connection.status == 200
        self._on_answer(self, time.monotonic() - self._sent_at if good else None)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


@dataclass(slots=True)
class _Questions:
    """Requests by turns; those of a ring are made once."""

    spec: Spec
    asked: int = 0
    made: dict[int, bytes] | None = None

    def take(self) -> bytes:
        number = self.spec.question(self.asked)
        self.asked += 1
        if not self.spec.questions:
            return self.spec.request(number)
        self.made = {} if self.made is None else self.made
        request = self.made.get(number)
        if request is None:
            request = self.made[number] = self.spec.request(number)
        return request


async def closed_loop(spec: Spec) -> Result:
    """Every connection asks again as soon as it is answered."""
    latencies: list[float] = []
    failed = 0
    busy = spec.connections
    over = asyncio.Event()
    questions = _Questions(spec)
    started = time.monotonic()

    def answered(asker: _Asker, seconds: float | None) -> None:
        nonlocal failed, busy
        if seconds is None:
            failed += 1
        else:
            latencies.append(seconds * 1e3)
        if asker.open and time.monotonic() < started + spec.seconds:
            asker.ask(questions.take())
        else:
            asker.close()
            busy -= 1
            if not busy:
                over.set()

    for _ in range(spec.connections):
        asker = _Asker(answered)
        await asker.start(spec.port)
        asker.ask(questions.take())
    await over.wait()
    latencies.sort()
    seconds = time.monotonic() - started
    return Result(len(latencies), failed, seconds, percentile(latencies, 0.5), percentile(latencies, 0.99))


async def alike(spec: Spec) -> Result:
    """The known questions once, so that there are answers, and then others that mean the same."""
    answers: asyncio.Queue[float | None] = asyncio.Queue()
    asker = _Asker(lambda _asker, seconds: answers.put_nowait(seconds))
    await asker.start(spec.port)
    plain = msgspec.structs.replace(spec, words="known")
    async with asyncio.timeout(_ANSWER_WITHIN):
        for number in range(KNOWN):
            asker.ask(plain.request(number))
            await answers.get()
    asker.close()
    await asyncio.sleep(_LEARNT_WITHIN)
    return await closed_loop(spec)


async def paced(spec: Spec) -> Result:
    """Requests at a steady rate, whether or not the ones before are answered; every `new_every`th is a new question.

    A request that finds every connection busy waits, and its time counts from when it was due.
    """
    times: dict[bool, list[float]] = {False: [], True: []}
    new: dict[_Asker, bool] = {}
    failed = 0
    idle: asyncio.Queue[_Asker] = asyncio.Queue()

    def answered(asker: _Asker, seconds: float | None) -> None:
        nonlocal failed
        if seconds is None:
            failed += 1
        else:
            times[new[asker]].append(seconds * 1e3)
        idle.put_nowait(asker)

    askers = [_Asker(answered) for _ in range(spec.connections)]
    for asker in askers:
        await asker.start(spec.port)
        idle.put_nowait(asker)
    known = spec.request(0)
    started = time.monotonic()
    total = int(spec.rate * spec.seconds)
    for index in range(total):
        due = started + index / spec.rate
        ahead = due - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
        async with asyncio.timeout(_ANSWER_WITHIN):
            asker = await idle.get()
        if not asker.open:
            idle.put_nowait(asker)
            break
        new[asker] = index % spec.new_every == spec.new_every - 1
        asker.ask(spec.request(spec.first + index) if new[asker] else known, due)
    async with asyncio.timeout(_ANSWER_WITHIN):
        for _ in askers:
            (await idle.get()).close()
    for one in times.values():
        one.sort()
    usual = times[False] or times[True]
    return Result(
        len(times[False]) + len(times[True]),
        failed,
        time.monotonic() - started,
        percentile(usual, 0.5),
        percentile(usual, 0.99),
        new_p50_ms=percentile(times[True], 0.5),
        new_p99_ms=percentile(times[True], 0.99),
    )


async def herds(spec: Spec) -> Result:
    """One question on all connections at once, as often as there are herds; each herd gets one body."""
    latencies: list[float] = []
    failed = 0
    complaints: list[str] = []
    waiting = 0
    over = asyncio.Event()

    def answered(_asker: _Asker, seconds: float | None) -> None:
        nonlocal failed, waiting
        if seconds is None:
            failed += 1
        else:
            latencies.append(seconds * 1e3)
        waiting -= 1
        if not waiting:
            over.set()

    askers = [_Asker(answered) for _ in range(spec.connections)]
    for asker in askers:
        await asker.start(spec.port)
    started = time.monotonic()
    for herd in range(spec.herds):
        request = spec.request(spec.first + herd)
        waiting = len(askers)
        over.clear()
        for asker in askers:
            asker.ask(request)
        async with asyncio.timeout(_ANSWER_WITHIN):
            await over.wait()
        bodies = {asker.body for asker in askers}
        if len(bodies) != 1:
            failed += 1
            complaints.append(f"herd {herd} got {len(bodies)} different bodies")
        if not all(asker.open for asker in askers):
            complaints.append(f"herd {herd} lost connections")
            break
    for asker in askers:
        asker.close()
    latencies.sort()
    seconds = time.monotonic() - started
    return Result(
        len(latencies),
        failed,
        seconds,
        percentile(latencies, 0.5),
        percentile(latencies, 0.99),
        complaints=complaints[:5],
    )
