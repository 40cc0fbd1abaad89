"""U13: who cannot start before its deadline is refused at once, and overload costs neither goodput nor recovery."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import final

import pytest

from proxy.admission.gate import Gate, Priority, Reason
from proxy.errors import Failure, Kind
from tests.fakes.virtual_time import run_virtual

SLOTS, SECONDS = 10, 0.25
CAPACITY = SLOTS / SECONDS
"""Calls a second."""
PATIENCE = 5.0


@final
@dataclass
class Load:
    """Clients that come at random to an upstream of a known capacity."""

    random: Random = field(default_factory=lambda: Random(13))
    waited: list[tuple[float, float]] = field(default_factory=list)
    """When it ended, and how long it had waited for its slot, of each call that was made."""
    refused: list[tuple[float, float]] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    calls: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.gate = Gate(SLOTS, queue=1_000, patience=PATIENCE, clock=self.loop.time, on_refused=self.reasons.append)

    async def offer(self, share: float, seconds: float) -> None:
        """Of the capacity, for so long."""
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            call = self.loop.create_task(self._call())
            self.calls.add(call)
            call.add_done_callback(self.calls.discard)
            await asyncio.sleep(self.random.expovariate(CAPACITY * share))

    async def _call(self) -> None:
        came = self.loop.time()
        try:
            await self.gate.enter(Priority.INTERACTIVE, came + 60)
        except Failure:
            self.refused.append((self.loop.time(), self.loop.time() - came))
            return
        waited = self.loop.time() - came
        await asyncio.sleep(self.random.expovariate(1 / SECONDS))
        self.gate.leave(SECONDS)
        self.waited.append((self.loop.time(), waited))


async def warm(slots: int = 1, *, patience: float = 10.0) -> Gate:
    """A gate that knows that a call takes a second, all of whose slots are held."""
    loop = asyncio.get_running_loop()
    gate = Gate(slots, queue=100, patience=patience, clock=loop.time)
    for _ in range(20):
        while gate.enter_now(Priority.INTERACTIVE):
            pass
        await asyncio.sleep(1)
        for _ in range(slots):
            gate.leave()
    while gate.enter_now(Priority.INTERACTIVE):
        pass
    return gate


async def crowd(
    gate: Gate, count: int, deadline: float, priority: Priority = Priority.INTERACTIVE
) -> list[asyncio.Task[None]]:
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(gate.enter(priority, deadline)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_who_cannot_start_in_time_is_refused_at_once() -> None:
    """E(503, overloaded), unprocessed, by the pace of the slots and by who waits before it."""

    async def main() -> None:
        gate = await warm()
        now = asyncio.get_running_loop().time()
        waiting = await crowd(gate, 4, now + 60)
        with pytest.raises(Failure) as caught:
            await gate.enter(Priority.INTERACTIVE, now + 3)
        assert asyncio.get_running_loop().time() == now
        assert (caught.value.kind, caught.value.unprocessed) == (Kind.OVERLOADED, True)
        assert gate.waiting == 4
        patient = await crowd(gate, 1, now + 8)
        assert gate.waiting == 5
        await end(waiting + patient)

    run_virtual(main())


def test_the_urgent_are_not_refused_for_those_behind_them() -> None:
    """Batch that waits counts for batch alone."""

    async def main() -> None:
        gate = await warm()
        now = asyncio.get_running_loop().time()
        waiting = await crowd(gate, 4, now + 60, Priority.BATCH)
        with pytest.raises(Failure):
            await gate.enter(Priority.BATCH, now + 3)
        waiting += await crowd(gate, 1, now + 3)
        assert gate.waiting == 5
        await end(waiting)

    run_virtual(main())


def test_whose_time_is_over_when_it_comes_does_not_wait() -> None:
    """Not even for the next turn of the event loop."""

    async def main() -> None:
        reasons: list[Reason] = []
        clock = asyncio.get_running_loop().time
        gate = Gate(0, queue=10, patience=10.0, clock=clock, on_refused=reasons.append)
        with pytest.raises(Failure):
            await gate.enter(Priority.INTERACTIVE, clock())
        assert reasons == [Reason.LATE]

    run_virtual(main())


def test_retry_after_is_true() -> None:
    """After it, to the second, those who waited have been served and there is a slot."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        gate = await warm(2)
        waiting = await crowd(gate, 12, loop.time() + 60)
        with pytest.raises(Failure) as caught:
            await gate.enter(Priority.INTERACTIVE, loop.time() + 1)
        came = loop.time()
        while gate.waiting:
            await asyncio.sleep(1)
            gate.leave()
            gate.leave()
        assert caught.value.retry_after == pytest.approx(loop.time() - came, abs=1)
        await end(waiting)

    run_virtual(main())


@pytest.mark.parametrize(("patience", "deadline", "after"), [(10.0, 4.0, 4.0), (2.0, 4.0, 2.0), (10.0, -1.0, 0.0)])
def test_nobody_waits_longer_than_its_deadline_or_the_patience(patience: float, deadline: float, after: float) -> None:
    """Where no slot comes free after all, each is refused when its time is over; at once if it is already."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        gate = Gate(0, queue=10, patience=patience, clock=loop.time)
        later = await crowd(gate, 1, 60.0)
        with pytest.raises(Failure):
            await gate.enter(Priority.BATCH, loop.time() + deadline)
        assert loop.time() == pytest.approx(after, abs=0.01)
        await asyncio.wait(later)
        assert loop.time() == pytest.approx(patience, abs=0.01)
        assert isinstance(later[0].exception(), Failure)

    run_virtual(main())


def test_a_busy_upstream_is_no_overload() -> None:
    """At 90 % of the capacity somebody waits nearly always, and nobody is refused."""

    async def main() -> None:
        load = Load(random=Random(1))
        await load.offer(0.9, 60)
        assert load.refused == []
        await end([*load.calls])

    run_virtual(main())


def test_five_times_the_load_costs_no_goodput() -> None:
    """At least 90 % of the capacity is used, and of the refusals 99 % are told at once."""

    async def main() -> None:
        load = Load()
        await load.offer(5.0, 30)
        served = sum(10 <= ended < 30 for ended, _ in load.waited)
        assert served >= 0.9 * CAPACITY * 20
        told = sorted(waited for _, waited in load.refused)
        assert len(told) > 3 * CAPACITY * 25
        assert told[len(told) * 99 // 100] == 0
        late = sorted(waited for ended, waited in load.waited if ended > 20)
        assert late[len(late) // 2] < SECONDS, "the queue has been cut down"
        await end([*load.calls])

    run_virtual(main())


def test_after_the_overload_all_is_well_within_seconds() -> None:
    """Half the capacity is served whole and hardly waits, five seconds after five times as much came."""

    async def main() -> None:
        load = Load()
        await load.offer(5.0, 20)
        await load.offer(0.5, 5)
        load.waited.clear()
        load.refused.clear()
        await load.offer(0.5, 20)
        assert load.refused == []
        assert len(load.waited) > 0.4 * CAPACITY * 20
        assert max(waited for _, waited in load.waited) < SECONDS
        await asyncio.wait(load.calls)
        assert (load.gate.busy, load.gate.waiting) == (0, 0)

    run_virtual(main())
