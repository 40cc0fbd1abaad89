"""The slots of an upstream and who waits for them."""

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admission.gate import Gate, Priority, Reason
from proxy.admission.gradient import START, Gradient
from proxy.admission.pace import Pace
from proxy.admission.queue import BATCH_TURN, SPARE, Queue, Waiter
from proxy.errors import Failure, Kind
from tests.fakes.virtual_time import run_virtual

INTERACTIVE, BATCH = Priority


class Crowd:
    """Callers of one gate, by name, and what became of them, in the order in which it did."""

    def __init__(self, slots: int | None = 1, *, queue: int = 100, patience: float = 10.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.waited: list[float] = []
        self.reasons: list[Reason] = []
        self.gate = Gate(
            slots,
            queue=queue,
            patience=patience,
            clock=self.loop.time,
            on_waited=self.waited.append,
            on_refused=self.reasons.append,
        )
        self.entered: list[str] = []
        self.refused: list[tuple[str, float]] = []
        self.failures: list[Failure] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def fill(self, seconds: float) -> None:
        """All slots are held for so long, and again; and then they are held."""
        for left in (2, 1, 0):
            while self.gate.enter_now(INTERACTIVE):
                pass
            if left:
                await asyncio.sleep(seconds)
                await self.leave(self.gate.busy)

    async def come(self, *names: str, priority: Priority = INTERACTIVE, deadline: float = 1e9) -> None:
        """Returns when each of them has entered, waits or is refused."""
        for name in names:
            self.tasks[name] = self.loop.create_task(self._enter(name, priority, deadline))
            await asyncio.sleep(0)

    async def _enter(self, name: str, priority: Priority, deadline: float) -> None:
        try:
            await self.gate.enter(priority, deadline)
        except Failure as failure:
            self.refused.append((name, self.loop.time()))
            self.failures.append(failure)
        else:
            self.entered.append(name)

    async def leave(self, times: int = 1) -> None:
        for _ in range(times):
            self.gate.leave()
            await asyncio.sleep(0)


def test_slots_are_taken_and_given_back() -> None:
    """As many as there are, at once; without a bound they are counted all the same."""
    gate = Gate(2, queue=0, patience=0.0)
    assert [gate.enter_now(INTERACTIVE) for _ in range(3)] == [True, True, False]
    assert repr(gate) == "<Gate 2/2 busy, 0 waiting>"
    gate.leave()
    assert gate.enter_now(BATCH)
    unbounded = Gate(None, queue=0, patience=0.0)
    assert all(unbounded.enter_now(INTERACTIVE) for _ in range(1_000))
    assert (repr(unbounded), unbounded.limit) == ("<Gate 1000 busy, 0 waiting>", None)


def test_a_slot_is_left_once() -> None:
    """One time too many is an error, not a slot more."""
    gate = Gate(1, queue=0, patience=0.0)
    gate.enter_now(INTERACTIVE)
    gate.leave()
    with pytest.raises(RuntimeError):
        gate.leave()


def test_first_come_first_served() -> None:
    """While the queue moves, and each is told how long it took."""

    async def main() -> None:
        crowd = Crowd()
        await crowd.come("first", "a", "b", "c")
        assert not crowd.gate.enter_now(INTERACTIVE)
        await asyncio.sleep(3)
        await crowd.leave(3)
        assert crowd.entered == ["first", "a", "b", "c"]
        assert crowd.waited == pytest.approx([3, 3, 3])

    run_virtual(main())


def test_last_come_first_served_in_a_queue_that_stays_long() -> None:
    """Once it has been long for as long as anyone waits; who joined before that keeps its place; until it is empty."""

    async def main() -> None:
        crowd = Crowd(slots=16)
        await crowd.fill(seconds=16)
        await crowd.come("a", "b", "c", "d", "e", "f")
        await asyncio.sleep(6)
        await crowd.leave(3)
        await crowd.come("g", "h", "i")
        await asyncio.sleep(3.5)
        await crowd.leave(3)
        await asyncio.sleep(1)
        await crowd.come("new")
        await crowd.leave()
        await crowd.come("newer", "too many")
        await crowd.leave()
        await crowd.come("newest")
        await crowd.leave(4)
        assert "".join(crowd.entered) == "abcdef" + "new" + "newer" + "newest" + "ghi"
        assert [name for name, _ in crowd.refused] == ["too many"]
        await asyncio.sleep(3)
        await crowd.come("after", "after2")
        await crowd.leave(2)
        assert crowd.entered[-2:] == ["after", "after2"]

    run_virtual(main())


def test_the_urgent_go_first_and_others_in_the_end() -> None:
    """Interactive before batch, whoever came first; every so many handovers batch has its turn."""

    async def main() -> None:
        crowd = Crowd()
        await crowd.come("first")
        await crowd.come("batch", "batch2", priority=BATCH)
        await crowd.come(*(f"i{n}" for n in range(2 * BATCH_TURN)))
        await crowd.leave(2 * BATCH_TURN)
        places = [crowd.entered.index(name) for name in ("batch", "batch2")]
        assert places == [BATCH_TURN, 2 * BATCH_TURN]

    run_virtual(main())


def test_a_full_queue_refuses_at_once() -> None:
    """With 503 overloaded, provably unprocessed, and when to come again."""

    async def main() -> None:
        crowd = Crowd(queue=1)
        await crowd.come("first", "waits", "too many")
        assert crowd.refused == [("too many", 0.0)]
        failure = crowd.failures[0]
        assert (failure.kind, failure.status, failure.unprocessed) == (Kind.OVERLOADED, 503, True)
        assert failure.retry_after == 1.0
        assert crowd.reasons == [Reason.FULL]
        await crowd.leave(2)

    run_virtual(main())


def test_the_urgent_displace_who_would_be_served_last() -> None:
    """Of the less urgent alone: a full queue takes no batch at the cost of anybody."""

    async def main() -> None:
        crowd = Crowd(queue=2)
        await crowd.come("first")
        await crowd.come("batch", "batch2", "batch3", priority=BATCH)
        await crowd.come("urgent", "urgent2", "urgent3")
        assert [name for name, _ in crowd.refused] == ["batch3", "batch2", "batch", "urgent3"]
        assert crowd.reasons == [Reason.FULL, Reason.DISPLACED, Reason.DISPLACED, Reason.FULL]
        await crowd.leave(3)

    run_virtual(main())


@pytest.mark.parametrize("state", ["waiting", "handed over"])
def test_who_is_cancelled_leaves_nothing_behind(state: str) -> None:
    """Neither a place in the queue nor the slot that it was just given: that goes to the next."""

    async def main() -> None:
        crowd = Crowd()
        await crowd.come("first", "leaves", "next")
        if state == "handed over":
            crowd.gate.leave()
            crowd.tasks["leaves"].cancel()
        else:
            crowd.tasks["leaves"].cancel()
            await asyncio.sleep(0)
            assert crowd.gate.waiting == 1
            crowd.gate.leave()
        await asyncio.wait(crowd.tasks.values())
        assert crowd.entered == ["first", "next"]
        assert (crowd.gate.busy, crowd.gate.waiting) == (1, 0)

    run_virtual(main())


def test_a_reload_changes_the_slots() -> None:
    """More are handed out at once; of fewer none is taken away."""

    async def main() -> None:
        crowd = Crowd()
        await crowd.come("a", "b", "c", "d")
        crowd.gate.resize(3)
        await asyncio.sleep(0)
        assert crowd.entered == ["a", "b", "c"]
        crowd.gate.resize(2)
        await crowd.leave()
        assert repr(crowd.gate) == "<Gate 2/2 busy, 1 waiting>"
        crowd.gate.resize(None)
        assert repr(crowd.gate) == "<Gate 3 busy, 0 waiting>"
        await asyncio.sleep(0)

    run_virtual(main())


def test_time_without_a_bound_is_no_work() -> None:
    """A bound that a reload sets finds nothing known of the pace, so that nobody is refused for a time of rest."""

    async def main() -> None:
        crowd = Crowd(None)
        await crowd.come("a")
        for _ in range(20):
            await asyncio.sleep(30.0)
            assert crowd.gate.enter_now(INTERACTIVE)
            await crowd.leave()
        crowd.gate.resize(2)
        for _ in range(3):
            await crowd.leave()
            await crowd.come("b")
        await crowd.come("c", "d", "e", "f")
        assert repr(crowd.gate) == "<Gate 2/2 busy, 3 waiting>"
        crowd.gate.resize(None)
        await asyncio.sleep(0)

    run_virtual(main())


def test_a_reload_changes_the_rules() -> None:
    """The queue, the patience and whether the slots are learned; who holds a slot or waits goes on doing so."""

    async def main() -> None:
        crowd = Crowd(20, queue=9)
        await crowd.come(*"abcdefghijklmnopqrstuv")
        crowd.gate.reconfigure(20, queue=3, patience=1.0, adaptive=True)
        assert repr(crowd.gate) == f"<Gate 20/{START} busy, 2 waiting>"
        await crowd.come("w", "x")
        assert crowd.reasons == [Reason.FULL]
        await asyncio.sleep(1.5)
        assert crowd.reasons == [Reason.FULL, Reason.EXPIRED]
        crowd.gate.reconfigure(22, queue=3, patience=1.0, adaptive=False)
        await asyncio.sleep(0)
        assert repr(crowd.gate) == "<Gate 22/22 busy, 0 waiting>"

    run_virtual(main())


def test_an_adaptive_gate_keeps_to_the_learned_limit() -> None:
    """Refusals of the upstream take slots away, and who waits is told as ever."""
    gradient = Gradient(100)
    gate = Gate(100, queue=0, patience=0.0, gradient=gradient)
    while gate.enter_now(INTERACTIVE):
        pass
    assert gate.busy == gate.limit == START
    gate.leave(dropped=True)
    assert gate.limit == gradient.limit < START
    assert not gate.enter_now(INTERACTIVE)
    gate.resize(2)
    assert gate.limit == gradient.limit == 2


def test_an_adaptive_gate_hands_over_what_it_learns() -> None:
    """A limit that grows lets in who waits."""

    async def main() -> None:
        gate = Gate(100, queue=100, patience=10.0, gradient=Gradient(100), clock=asyncio.get_running_loop().time)
        tasks = [asyncio.get_running_loop().create_task(gate.enter(INTERACTIVE, 1e9)) for _ in range(60)]
        await asyncio.sleep(0)
        for _ in range(20):
            gate.leave(0.1)
        await asyncio.sleep(0)
        assert gate.busy == gate.limit
        assert START < gate.busy < 40
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run_virtual(main())


STEPS = st.lists(st.sampled_from(["come", "batch", "leave", "cancel", "wait", "more", "fewer"]), max_size=40)


@given(STEPS, st.integers(0, 3), st.randoms(use_true_random=False))
def test_no_slot_is_lost(steps: Sequence[str], slots: int, random: Random) -> None:
    """Whatever happens in whatever order: nobody waits beside a free slot, and who entered is who is busy."""

    async def main() -> None:
        crowd = Crowd(slots, queue=3, patience=5.0)
        gate, left = crowd.gate, 0
        for name, step in enumerate(steps):
            if step in ("come", "batch"):
                priority = BATCH if step == "batch" else INTERACTIVE
                await crowd.come(str(name), priority=priority, deadline=crowd.loop.time() + random.random() * 4)
            elif step == "leave" and len(crowd.entered) > left:
                left += 1
                gate.leave()
            elif step == "cancel" and crowd.tasks:
                random.choice([*crowd.tasks.values()]).cancel()
            elif step == "wait":
                await asyncio.sleep(random.random())
            else:
                gate.resize(slots + 2 if step == "more" else slots)
            assert not gate.waiting or gate.busy >= (gate.limit or 0)
        await asyncio.sleep(5.1)
        assert (gate.waiting, gate.busy) == (0, len(crowd.entered) - left)

    run_virtual(main())


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=60))
def test_the_queue_tells_the_time_of_all_that_wait(waiters: list[tuple[bool, float]]) -> None:
    """Each is refused when its own time is over, in the order of their times; who has gone is not."""
    queue: Queue[None] = Queue()
    kept = []
    for stays, due in waiters:
        waiter = Waiter(INTERACTIVE, 0.0, due, None)
        queue.join(waiter, first=stays)
        if stays:
            kept.append(due)
        else:
            queue.remove(waiter, 0.0)
    assert queue.due() == min(kept, default=None)
    assert [waiter.due for waiter in queue.expired(50.0)] == sorted(due for due in kept if due <= 50.0)
    assert queue.waiting == sum(due > 50.0 for due in kept)


def test_the_queue_forgets_who_has_gone() -> None:
    """Deadlines of those that were served do not pile up until they pass."""
    queue: Queue[None] = Queue()
    for _ in range(10 * SPARE):
        queue.join(Waiter(INTERACTIVE, 0.0, 100.0, None), first=False)
        queue.next(0.0)
    assert len(queue._deadlines) <= SPARE + 2
    assert repr(queue) == "<Queue interactive=0 batch=0>"


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_the_pace_is_that_of_the_slots_and_not_of_the_demand(share: float) -> None:
    """Calls of 2 s hold their slots for 2 s, whether one slot in ten is in use or all."""
    pace, busy = Pace(10, 0.0), round(10 * share)
    for now in range(2, 40, 2):
        pace.held(busy, float(now))
        for _ in range(busy):
            pace.ended()
    assert pace.seconds() == pytest.approx(2.0, rel=0.2)


def test_the_pace_is_not_known_from_the_first_call() -> None:
    """Nine slots in ten are still held, and would make each call look ten times as long as it is."""
    pace = Pace(10, 0.0)
    pace.held(10, 1.0)
    pace.ended()
    assert pace.seconds() == 0.0
    for _ in range(9):
        pace.ended()
    assert pace.seconds() == pytest.approx(1.0, rel=0.1)


def test_a_call_that_hangs_slows_the_pace_before_it_ends() -> None:
    """Nobody has to wait for its end to see that slots do not come free."""
    pace = Pace(1, 0.0)
    for now in range(1, 20):
        pace.held(1, float(now))
        pace.ended()
    before = pace.seconds()
    pace.held(1, 79.0)
    assert pace.seconds() > 4 * before
    assert repr(pace) == "<Pace 4.610 s a call>"
