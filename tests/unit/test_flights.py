"""What those who share a flight get of it, one by one."""

import asyncio
import math
from typing import Any

import pytest

from cache.entry import Entry
from proxy.caching.coalesce import Flights, Role
from proxy.caching.flight import Flight
from proxy.caching.question import Alike
from proxy.caching.share import Share
from proxy.errors import Failure, Kind
from proxy.exchange import Express, Headers, Reply, Sink
from tests.fakes.polling import until

MANY = 40


class Failing:
    """A call that fails once `gate` is open."""

    def __init__(self, gate: asyncio.Event) -> None:
        self._gate = gate

    upstream = "test"
    sent_model = ""
    reached = False
    turn: Any = None

    def part(self) -> None: ...
    def begun(self) -> None: ...

    async def depart(self) -> Entry | Reply:
        await self._gate.wait()
        raise Failure(Kind.UPSTREAM_TIMEOUT, "slow", unprocessed=True, retry_after=3.0, detail="of the log")

    def landed(self, flight: Flight) -> Entry | None: ...
    async def unloaded(self, flight: Flight) -> Entry | None: ...
    def done(self, flight: Flight) -> None: ...


def flights(max_wait: float = 5.0) -> Flights:
    loop = asyncio.get_running_loop()
    bugs: list[BaseException] = []
    return Flights(loop, loop.time, limit=1 << 20, max_wait=max_wait, purges=lambda: 0, on_bug=bugs.append)


async def board(some: Flights, voyage: Failing, until: float = math.inf) -> tuple[Share | Entry | Alike, Role]:
    return await some.board("k", voyage, stream=False, strip=False, shared=True, until=until)


async def test_each_has_a_failure_of_his_own() -> None:
    """One that many raise would hold the frames of all of them; each says the same."""
    gate = asyncio.Event()
    some = flights()
    waiting = [asyncio.Task(board(some, Failing(gate))) for _ in range(MANY)]
    await asyncio.sleep(0)
    gate.set()
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert len({id(failure) for failure in failures}) == MANY
    for failure in failures:
        assert isinstance(failure, Failure)
        said = failure.kind, str(failure), failure.unprocessed, failure.retry_after, failure.detail
        assert said == (Kind.UPSTREAM_TIMEOUT, "slow", True, 3.0, "of the log")
        frames, trace = 0, failure.__traceback__
        while trace is not None:
            frames, trace = frames + 1, trace.tb_next
        assert frames < 10
    await some.close(0.1)


@pytest.mark.parametrize("param", ["model", None])
def test_a_copy_of_a_failure_is_the_same_answer(param: str | None) -> None:
    """To the byte."""
    failure = Failure(Kind.METHOD_NOT_ALLOWED, "no", param=param, allow="GET", retry_after=1)
    copy = failure.copy()
    assert copy is not failure
    assert (copy.body(), copy.headers(safe_method=False)) == (failure.body(), failure.headers(safe_method=False))


class Held:
    """A reply that was answered, and says whether its upstream is held back."""

    def __init__(self) -> None:
        self.status, self.framed = 200, True
        self.length: int | None = None
        self.headers: Headers = [(b"content-type", b"text/event-stream")]
        self.calls: list[str] = []

    def whole(self) -> bytes | None: ...
    def attach(self, sink: Sink, express: Express | None = None) -> None: ...
    def abort(self) -> None: ...
    def blame(self, failure: Failure | None) -> None: ...

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")


async def test_the_upstream_waits_while_every_client_does() -> None:
    """And not for one of them: it goes on as soon as one takes more, comes, or is alone with what he takes."""
    loop = asyncio.get_running_loop()
    voyage = Failing(asyncio.Event())
    flight = Flight(voyage, 1 << 20, loop.time, loop.create_future(), lambda _: None, begun=0.0, purges=0)
    one, other, late = (Share(flight, loop, stream=True, strip=False) for _ in range(3))
    flight.join(one)
    flight.join(other)
    reply = Held()
    flight.take_off(reply)
    one.pause()
    assert reply.calls == []
    other.pause()
    assert reply.calls == ["pause"]
    one.resume()
    assert reply.calls == ["pause", "resume"]
    one.abort()
    assert reply.calls == ["pause", "resume", "pause"]
    flight.join(late)
    assert reply.calls == ["pause", "resume"] * 2


@pytest.mark.parametrize("kind", [b"text/event-stream", b"application/json"])
async def test_an_answer_that_becomes_too_large_keeps_its_ends(kind: bytes) -> None:
    """Whichever of its blocks is too much, the last one too."""
    loop = asyncio.get_running_loop()
    blocks = [b"data: %d\n\n" % number for number in range(20)]
    for limit in range(0, 2_000, 20):
        flight = Flight(Failing(asyncio.Event()), limit, loop.time, loop.create_future(), bool, begun=0.0, purges=0)
        flight.join(Share(flight, loop, stream=True, strip=False))
        reply = Held()
        reply.headers = [(b"content-type", kind)]
        flight.take_off(reply)
        for block in blocks:
            flight.data(block)
        head, tail = flight.ends()
        assert head.startswith(b"" if flight.events else blocks[0])
        assert tail.endswith(b"".join(blocks[-8:]))


class Elsewhere:
    """Takes the place of a turn for which another worker waits."""

    lease = object()

    async def awaited(self) -> bool:
        return True


async def test_what_cannot_be_kept_is_not_finished_for_other_workers() -> None:
    """Past the size of an entry they would be given nothing: where nobody is left here, the call is cut."""
    voyage, loop = Failing(asyncio.Event()), asyncio.get_running_loop()
    voyage.turn = Elsewhere()
    flight = Flight(voyage, 1_000, loop.time, loop.create_future(), print, begun=0.0, purges=0)
    flight.task = asyncio.Task(asyncio.sleep(60.0))
    share = Share(flight, loop, stream=False, strip=False, leads=True)
    flight.join(share)
    flight.take_off(Held())
    share.abort()
    for size, over in ((10, False), (10_000, True)):
        flight.data(b"data: %b\n\n" % (b"x" * size))
        assert flight.over is over
    await until(flight.task.cancelled)


class Waiting(Failing):
    """Says when it departs."""

    departed = 0

    async def depart(self) -> Entry | Reply:
        Waiting.departed += 1
        return await super().depart()


async def test_max_wait_is_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has waited for a leader has no time left to wait at the gate."""
    monkeypatch.setattr(Waiting, "departed", 0)
    some = flights(max_wait=60.0)
    soon = asyncio.get_running_loop().time() + 0.05
    waiting = [asyncio.Task(board(some, Waiting(asyncio.Event()), soon)) for _ in range(MANY)]
    await until(lambda: Waiting.departed == MANY)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await some.close(0.1)
