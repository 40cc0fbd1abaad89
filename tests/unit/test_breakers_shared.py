"""The breakers of several workers act as one, and each alone where Redis does not help."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import Final

import pytest

from proxy.redis_link import RedisLink
from proxy.upstream import breakers
from proxy.upstream.breaker import Breaker, Reason, Result, State
from proxy.upstream.breakers import Link, SharedBreakers
from tests.fakes.breaker_process import settings
from tests.fakes.link_events import Heard
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

EVERY: Final = 0.02
LONG: Final = 30.0
KEY: Final = "t:{breakers}:u"


class Worker:
    """With a breaker for one upstream, which is jittered by nothing."""

    def __init__(self, link: Link, name: str, cool_down: float, probes: int, **times: float) -> None:
        self.told: list[tuple[State, str]] = []
        self.breaker = Breaker(
            "u",
            settings(cool_down, probes),
            asyncio.get_running_loop().time,
            lambda: 0.5,
            on_transition=lambda _, __, new, reason: self.told.append((new, reason)),
        )
        self.shared = SharedBreakers(link, "t", {"u": self.breaker}, name, **({"every": EVERY} | times))

    def opens(self) -> None:
        while self.breaker.state is State.CLOSED:
            self.breaker.leave(self.breaker.enter() or 0, Result.FAILED)

    async def turns(self, state: State, timeout: float = 5.0) -> None:
        await until(lambda: self.breaker.state is state, timeout)

    @property
    def leads(self) -> bool:
        return "leases=['u']" in repr(self.shared)

    async def permit(self, timeout: float = 5.0) -> int:
        """The first that it gets."""
        await until(self.breaker.allows, timeout)
        return self.breaker.enter() or 0


class Lossy:
    """Acts on what it is asked; `lost` is called before the answer is handed over, and may raise."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.lost: Callable[[], object] = lambda: None

    async def script(self, *asked: object) -> object:
        answer = await self._link.script(*asked)  # type: ignore[arg-type]
        self.lost()
        return answer


class Start:
    def __init__(self, server: RedisServer, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack
        self._names = count()
        self.heard = Heard()

    def link(self, deadline: float = 1.0) -> RedisLink:
        link = RedisLink(self._server.url, deadline=deadline, events=self.heard)
        self._stack.push_async_callback(link.close)
        return link

    async def __call__(
        self, cool_down: float = LONG, probes: int = 1, link: Link | None = None, deadline: float = 1.0, **times: float
    ) -> Worker:
        worker = Worker(link or self.link(deadline), f"w{next(self._names)}", cool_down, probes, **times)
        self._stack.push_async_callback(worker.shared.close)
        await worker.shared.start()
        return worker


@pytest.fixture
async def start(redis_server: RedisServer) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:
        yield Start(redis_server, stack)


def test_times_are_those_of_the_promise() -> None:
    """A worker learns within a second, and decides alone after one."""
    assert breakers.EVERY <= 0.25
    assert breakers.ALONE <= 1.0


async def test_an_opening_is_everywhere_within_a_second(start: Start) -> None:
    """Whoever was there, whoever comes later: for what is left of the cool-down."""
    one, other = await start(every=breakers.EVERY), await start(every=breakers.EVERY)
    one.opens()
    await other.turns(State.OPEN, 1.0)
    late = await start()
    assert late.told == other.told == [(State.OPEN, Reason.HEARD)]
    for worker in (other, late):
        assert worker.breaker.left == pytest.approx(one.breaker.left, abs=0.5)


async def test_one_worker_probes_for_all(start: Start) -> None:
    """Of 500 who ask each worker once the cool-down is over N are let through in all; then all close."""
    workers = [await start(0.1, probes=2) for _ in range(3)]
    workers[0].opens()
    for worker in workers:
        await worker.turns(State.OPEN)
    await until(lambda: not workers[0].breaker.left)
    permits: list[tuple[Breaker, int]] = []

    async def ask(worker: Worker) -> None:
        while worker.breaker.state is not State.CLOSED:
            if (permit := worker.breaker.enter()) is not None:
                permits.append((worker.breaker, permit))
                return
            assert worker.breaker.retry_after() > 0
            await asyncio.sleep(0.01)

    async with asyncio.timeout(5.0), asyncio.TaskGroup() as group:
        for worker in workers * 50:
            group.create_task(ask(worker))
        await until(lambda: len(permits) == 2)
        await asyncio.sleep(5 * EVERY / 2)
        assert len(permits) == 2
        for breaker, permit in permits:
            breaker.leave(permit, Result.SUCCEEDED)
    assert sorted(reason for worker in workers for _, reason in worker.told if reason is not Reason.HEARD) == [
        Reason.COOLED_DOWN, Reason.FAILURES, Reason.PROBED,
    ]  # fmt: skip


async def test_a_probe_that_fails_is_the_failure_of_all(start: Start) -> None:
    """Everybody waits for the longer cool-down, and whoever fails next for one that is longer still."""
    one, other = await start(0.1), await start(0.1)
    one.opens()
    await other.turns(State.OPEN)
    one.breaker.leave(await one.permit(), Result.FAILED)
    await until(lambda: other.breaker.openings == 2)
    other.breaker.leave(await other.permit(), Result.FAILED)
    await until(lambda: one.breaker.openings == 3)
    assert one.breaker.left > 0.2


async def test_who_found_out_is_told_too(start: Start) -> None:
    """What probes alone have opened others may close by probes; not once a request has failed."""
    one, other = await start(0.1), await start(0.1)
    while one.breaker.state is State.CLOSED:
        one.breaker.leave(one.breaker.enter() or 0, Result.FAILED, request=False)
    await other.turns(State.OPEN)
    assert (other.breaker.openings, other.breaker.suffered) == (1, False)
    one.breaker.leave(await one.permit(), Result.FAILED)
    await until(lambda: other.breaker.openings == 2)
    assert other.breaker.suffered


async def test_who_is_not_asked_gives_way(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the worker that clients ask, whoever claims the lease meanwhile; and that keeps it."""
    idle, third, asked = [await start(0.05, every=LONG) for _ in range(3)]
    idle.opens()
    await until(lambda: idle.leads)
    for worker in (third, asked):
        await worker.shared._exchange()
    await until(lambda: not asked.breaker.left)
    assert not asked.breaker.allows()
    await asked.shared._exchange()
    await idle.shared._exchange()
    await until(lambda: not idle.leads)
    await idle.shared._exchange()
    monkeypatch.setattr(breakers, "KEEN", 0.0)
    for worker in (third, asked, asked):
        await worker.shared._exchange()
    assert [worker.leads for worker in (idle, third, asked)] == [False, False, True]


@pytest.mark.parametrize("reason", ["probes", "is asked", "nobody else is asked"])
async def test_a_lease_that_is_needed_is_kept(start: Start, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    """By who probes, by who is asked too, and if nobody else is asked."""
    one, other = await start(0.05, every=LONG), await start(0.05, every=LONG)
    one.opens()
    await until(lambda: one.leads)
    await other.shared._exchange()
    await until(lambda: not one.breaker.left)
    if reason == "probes":
        await one.permit()
    if reason != "nobody else is asked":
        assert not other.breaker.allows()
    await other.shared._exchange()
    if reason == "is asked":
        assert one.breaker.allows()
    else:
        monkeypatch.setattr(breakers, "KEEN", 0.0)
    await one.shared._exchange()
    assert one.leads


async def test_who_is_asked_looks_at_once(start: Start, redis_server: RedisServer) -> None:
    """Whether the lease has become free."""
    one, other = await start(0.05, every=LONG, lease=0.1), await start(every=LONG, alone=LONG)
    one.opens()
    await until(lambda: one.leads)
    await other.shared._exchange()
    # It ends there a moment later than its holder thinks, who counts from when he asked.
    await until(lambda: _milliseconds(redis_server) > int(redis_server.tell("HGET", KEY, "held")))
    assert not one.leads
    assert await other.permit()


def _milliseconds(server: RedisServer) -> int:
    seconds, micros = server.tell("TIME")
    return int(seconds) * 1_000 + int(micros) // 1_000


async def test_a_worker_that_closes_gives_its_lease_back(start: Start) -> None:
    """Another may probe at once, and the one that left decides alone."""
    one = await start(0.05, lease=LONG)
    one.opens()
    await one.permit()
    other = await start(0.05, lease=LONG)
    await other.turns(State.OPEN)
    assert not other.leads
    await one.shared.close()
    assert await other.permit()
    assert one.breaker.may_probe()


async def test_without_redis_each_decides_alone(start: Start, redis_server: RedisServer) -> None:
    """Opens, probes and closes, and waits for nobody; what is open when Redis comes back is told then."""
    one, other, third = await start(0.05, alone=0.1), await start(alone=0.1), await start(alone=0.1)
    redis_server.kill()
    one.opens()
    one.breaker.leave(await one.permit(), Result.SUCCEEDED)
    other.opens()
    assert [worker.breaker.state for worker in (one, other, third)] == [State.CLOSED, State.OPEN, State.CLOSED]
    await asyncio.to_thread(redis_server.start)
    await one.turns(State.OPEN)
    await third.turns(State.OPEN)
    assert third.breaker.left == pytest.approx(other.breaker.left, abs=1.0)


async def test_a_frozen_redis_holds_nobody_up(start: Start, redis_server: RedisServer) -> None:
    """Whoever would wait for a lease decides alone after a moment."""
    one, other = await start(0.05, deadline=0.05, alone=0.2), await start(0.05, deadline=0.05, alone=0.2)
    one.opens()
    await other.turns(State.OPEN)
    await one.permit()
    with redis_server.frozen():
        assert await other.permit()


async def test_a_flushed_redis_is_told_again(start: Start, redis_server: RedisServer) -> None:
    """Who is open stays so, and whoever comes later hears of it."""
    one = await start()
    one.opens()
    await until(lambda: redis_server.tell("EXISTS", KEY))
    redis_server.tell("FLUSHALL")
    await until(lambda: redis_server.tell("EXISTS", KEY))
    late = await start()
    assert late.breaker.openings == 1
    assert one.told == [(State.OPEN, Reason.FAILURES)]


async def test_a_flushed_redis_hides_nothing_new(start: Start, redis_server: RedisServer) -> None:
    """Epochs of the time before are older than those of the time after."""
    one, other, third = [await start(every=LONG) for _ in range(3)]
    one.opens()
    await until(lambda: redis_server.tell("PTTL", KEY) > 0)
    await other.shared._exchange()
    other.breaker.heard_closed()
    redis_server.tell("FLUSHALL")
    third.opens()
    await until(lambda: redis_server.tell("EXISTS", KEY))
    await other.shared._exchange()
    assert other.breaker.state is State.OPEN


async def test_a_lease_is_claimed_at_the_end_of_the_cool_down(start: Start, redis_server: RedisServer) -> None:
    """Not before: whoever has it may have gone by then."""
    worker = await start()
    worker.opens()
    await until(lambda: redis_server.tell("EXISTS", KEY))
    await worker.shared._exchange()
    assert not worker.leads


async def test_a_closing_of_what_nobody_knew_to_be_open_is_no_news(start: Start) -> None:
    """It does not hide what another says."""
    one, other = await start(every=LONG), await start(every=LONG)
    one.opens()
    one.breaker.heard_closed()
    await one.shared._exchange()
    other.opens()
    await other.shared._exchange()
    await one.shared._exchange()
    assert (one.breaker.state, other.breaker.state) == (State.OPEN, State.OPEN)


async def test_who_opens_second_follows_the_first(start: Start, redis_server: RedisServer) -> None:
    """News from somebody who has not heard the latest are late: they change nothing for others."""
    one, other = await start(every=LONG), await start(20.0, every=LONG)
    one.opens()
    await until(lambda: redis_server.tell("EXISTS", KEY))
    other.opens()
    await other.shared._exchange()
    await one.shared._exchange()
    for worker in (one, other):
        assert worker.breaker.left == pytest.approx(30.0, abs=1.0)
        assert worker.told == [(State.OPEN, Reason.FAILURES)]


async def test_its_own_news_are_no_news(start: Start) -> None:
    """Whose word arrives though the answer is lost does not take it for another's, and go back to it."""
    lossy = Lossy(start.link())
    worker = await start(0.05, link=lossy, every=LONG, alone=0.0)

    def lose() -> None:
        raise ConnectionError

    lossy.lost = lose
    worker.opens()
    await worker.shared._exchange()
    permit = await worker.permit()
    lossy.lost = lambda: None
    await worker.shared._exchange()
    worker.breaker.leave(permit, Result.SUCCEEDED)
    assert worker.breaker.state is State.CLOSED


async def test_what_is_decided_while_an_answer_travels_comes_first(start: Start) -> None:
    """Older news do not undo it; they are heard with the next answer, if they are still the latest."""
    one, lossy = await start(), Lossy(start.link())
    other = await start(link=lossy, every=LONG)
    one.opens()
    await until(lambda: one.shared._seats[KEY].epoch)
    lossy.lost = other.opens
    await other.shared._exchange()
    assert other.told == [(State.OPEN, Reason.FAILURES)]
    lossy.lost = lambda: None
    await other.shared._exchange()
    assert other.shared._seats[KEY].epoch == one.shared._seats[KEY].epoch


async def test_a_clock_of_redis_that_goes_back_holds_nobody_up(start: Start, redis_server: RedisServer) -> None:
    """Neither a lease nor a cool-down lasts longer than it may."""
    future = 1_000 * (redis_server.tell("TIME")[0] + 3_600)
    redis_server.tell("HSET", KEY, "epoch", 1, "state", "open", "due", future, "holder", "x", "held", future)
    worker = await start(0.05)
    assert worker.breaker.left == pytest.approx(60.0, abs=1.0)
    worker.breaker.heard_open(0.0, 1)
    assert await worker.permit()


@pytest.mark.parametrize("answer", [b"OK", [], [[1, b"open"]], [[1, b"open", 1, 1, 0, 1, None]]])
async def test_a_strange_answer_is_none(start: Start, answer: object) -> None:
    """It changes no state, and ends no task."""

    class Strange:
        async def script(self, *asked: object) -> object:
            return answer

    worker = await start(link=Strange())
    await asyncio.sleep(2 * EVERY)
    worker.opens()
    assert worker.told == [(State.OPEN, Reason.FAILURES)]


async def test_a_look_is_one_command_for_all(start: Start) -> None:
    """And none where there is nothing to look after."""
    breakers_of_many = {f"u{i}": Breaker(f"u{i}", settings(), lambda: 0.0, lambda: 0.5) for i in range(20)}
    many = SharedBreakers(start.link(), "t", breakers_of_many, "many", every=LONG)
    none = SharedBreakers(start.link(), "t", {}, "none", every=0.0)
    await many.start()
    before = start.heard.commands
    await many._exchange()
    assert start.heard.commands == before + 1
    await none.start()
    await asyncio.sleep(2 * EVERY)
    assert start.heard.commands == before + 1
    await many.close()
    await none.close()
