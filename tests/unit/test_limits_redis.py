"""The limiter that workers share: leases, what is told late, what is lost, and a cluster."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from limits import Kind, OnFailure, RedisLimiter, Store
from limits.link import LUA, Script, Word
from tests.fakes.limiting import ClockedRedis, Time, demands, given, limit, limiter_on, spend, told, workers
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

REQUESTS = limit(Kind.REQUESTS, 60, burst=3)
SLOTS = limit(Kind.CONCURRENT, 1)
MONEY = limit(Kind.SPEND, 100, "team:t")


@pytest.fixture
def link(redis_server: RedisServer) -> Iterator[ClockedRedis]:
    clocked = ClockedRedis(redis_server, Time())
    yield clocked
    clocked.close()


@pytest.fixture
async def limiter(link: ClockedRedis) -> AsyncIterator[RedisLimiter]:
    made = limiter_on(link, link.time)
    yield made
    await made.close(1.0)


async def test_a_lease_lasts_while_its_owner_lives(redis_server: RedisServer) -> None:
    """Through several of its lives; and ends with his."""
    async with workers(redis_server, life=0.12) as (one, other):
        grant = await one.reserve(demands((SLOTS, 1), (MONEY, 60)))
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.4
        while loop.time() < end:
            assert not given(await other.reserve(demands((SLOTS, 1))))
            await asyncio.sleep(0.02)
        assert one.given_up == other.given_up == 0
        one._leases._keeper.cancel()
        await until(lambda: other._leases.buried == 1)
        assert given(await other.reserve(demands((SLOTS, 1), (MONEY, 100))))
        one.settle(grant, [1, 30])
        await told(one)
        assert not given(await other.reserve(demands((MONEY, 1))))


async def test_a_grant_that_nobody_holds_is_not_kept_alive(redis_server: RedisServer) -> None:
    """Its request is gone, though the process lives."""
    async with workers(redis_server, 1, life=0.06) as (one,):
        grant = await one.reserve(demands((SLOTS, 1)))
        assert given(grant)
        del grant
        await until(lambda: one._leases.buried == 1)
        assert given(await one.reserve(demands((SLOTS, 1))))


async def test_what_was_given_up_too_early_is_taken_again(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """The clock leapt, or the process slept: what it holds counts again, beyond the limit if need be."""
    sleeper = limiter_on(link, link.time, "sleeper")
    grant = await sleeper.reserve(demands((SLOTS, 1), (MONEY, 60)))
    link.time.now += 60_000
    await limiter._leases.bury()
    assert given(await limiter.reserve(demands((SLOTS, 1), (MONEY, 50))))
    sleeper._leases._held[next(iter(sleeper._leases._held))].began = -1e9
    await sleeper._leases.renew()
    assert sleeper.given_up == 1
    assert not given(await limiter.reserve(demands((SLOTS, 1))))
    sleeper.settle(grant, [1, 50])
    await told(sleeper)
    grant = await limiter.reserve(demands((MONEY, 0)))
    assert (given(grant), grant.states[0].remaining) == (False, 0)
    await sleeper.close(1.0)


async def test_a_clock_that_went_back_keeps_no_dead_alive(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """Their leases are as long as ever, from then on."""
    dead = limiter_on(link, link.time, "dead")
    await dead.reserve(demands((SLOTS, 1)))
    link.time.now -= 3_600_000
    await limiter._leases.bury()
    link.time.now += 10_001
    await limiter._leases.bury()
    assert given(await limiter.reserve(demands((SLOTS, 1))))
    await dead.close(1.0)


async def test_a_late_word_about_the_dead_counts_however_late(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """For an hour Redis knows what they held; after that what they say they have used is charged."""
    for n, wait in enumerate((3_000_000, 3_700_000)):
        late = limiter_on(link, link.time, f"late {n}")
        grant = await late.reserve(demands((MONEY, 60)))
        link.time.now += 11_000
        await limiter._leases.bury()
        link.time.now += wait
        await limiter._leases.bury()
        late.settle(grant, [40])
        await told(late)
        assert late.lost == 0
        await late.close(1.0)
        assert link.client.hkeys("{t:limits}:lost") == [b"began", f"late {n}:told".encode()]
        link.time.now += 64 * 86_400_000
        await limiter._leases.bury()
    assert (await limiter.reserve(demands((MONEY, 1)))).states[0].remaining == 19
    assert link.client.hkeys("{t:limits}:lost") == [b"began"]
    assert link.client.zcard("{t:limits}:forgotten") == 0


async def test_a_settlement_whose_answer_was_lost_counts_once(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """It is sent again, and found to be done."""
    grant = await limiter.reserve(demands((MONEY, 10)))
    link.loses, link.acts = ConnectionError(), True
    limiter.settle(grant, [70])
    await told(limiter)
    assert (await limiter.reserve(demands((MONEY, 1)))).states[0].remaining == 29
    assert limiter.lost == 0


@pytest.mark.parametrize("spent", [0, 60], ids=["given", "refused"])
async def test_what_is_held_instead_is_given_back_in_one_step(limiter: RedisLimiter, spent: int) -> None:
    """Its room is there for the next, also of other subjects; refunded again later, or refused, it counts once."""
    theirs = limit(Kind.DAILY, 5, "upstream:a"), limit(Kind.DAILY, 5, "upstream:b")
    first = await limiter.reserve(demands((SLOTS, 1), (MONEY, 60), (theirs[0], 1)))
    if spent:
        # Others have what is left, and a little of what is held.
        await spend(limiter, (limit(Kind.SPEND, 200, "team:t"), spent))
    second = await limiter.reserve(demands((SLOTS, 1), (MONEY, 60), (theirs[1], 1)), first)
    assert given(second) is not bool(spent)
    limiter.settle(first, [1, 60, 1])
    await told(limiter)
    left = await limiter.reserve(demands((theirs[0], 0), (theirs[1], 0)))
    assert [state.remaining for state in left.states] == [5, 5 if spent else 4]
    assert given(await limiter.reserve(demands((SLOTS, 1), (MONEY, 40)))) is bool(spent)
    limiter.settle(second, [0, 0, 0])
    await told(limiter)
    assert limiter.lost == 0


@pytest.mark.parametrize("error", [ConnectionError(), TimeoutError(), asyncio.CancelledError()], ids=repr)
@pytest.mark.parametrize("acts", [False, True])
async def test_what_is_held_instead_is_given_back_without_an_answer(
    link: ClockedRedis, limiter: RedisLimiter, error: BaseException, *, acts: bool
) -> None:
    """Whether Redis has done it or not: both holds end, each once."""
    first = await limiter.reserve(demands((SLOTS, 1), (MONEY, 60)))
    link.loses, link.acts = error, acts
    with suppress(asyncio.CancelledError):
        await limiter.reserve(demands((SLOTS, 1), (MONEY, 60)), first)
    await told(limiter)
    assert link.client.hlen("{t:limits}:holds") == 0
    assert given(await limiter.reserve(demands((SLOTS, 1), (MONEY, 100))))
    assert limiter.lost == 0


async def test_a_charge_whose_answer_was_lost_counts_once(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """What was used without Redis is told again, and found to be counted."""
    money = MONEY._replace(on_failure=OnFailure.OPEN)
    link.loses = ConnectionError()
    grant = await limiter.reserve(demands((money, 10)))
    assert (given(grant), grant.store) == (True, Store.DOWN)
    await told(limiter)
    link.loses, link.acts = ConnectionError(), True
    limiter.settle(grant, [70])
    await told(limiter)
    assert (await limiter.reserve(demands((money, 1)))).states[0].remaining == 29


async def test_settlements_of_many_go_together(redis_server: RedisServer) -> None:
    """As many as came while the last were on their way."""
    async with workers(redis_server, 1) as (one,):
        grants = [await one.reserve(demands((limit(Kind.SPEND, 10, f"key:{n % 7}"), 1))) for n in range(64)]
        for grant in grants:
            one.settle(grant, [0])
        await told(one)
        assert redis_server.tell("HLEN", "{t:limits}:holds") == 0
        calls = redis_server.tell("INFO", "commandstats")
        scripts = calls["cmdstat_evalsha"]["calls"] + calls.get("cmdstat_eval", {"calls": 0})["calls"]
        assert scripts - calls["cmdstat_evalsha"].get("failed_calls", 0) <= 64 + 5


async def test_settlements_that_wait_are_bounded(
    link: ClockedRedis, limiter: RedisLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the oldest have cost is charged, all of a counter together, and what they hold comes back by itself."""
    grants = [await limiter.reserve(demands((MONEY, 1), (REQUESTS, 0))) for _ in range(4)]
    monkeypatch.setattr("limits.outbox.MAX_WAITING", 2)
    for grant in grants:
        limiter.settle(grant, [3, 0])
    assert (limiter.waiting, limiter.lost) == (2 + 1, 0)
    await told(limiter)
    link.time.now += 10_001
    await limiter._leases.bury()
    assert (await limiter.reserve(demands((MONEY, 1)))).states[0].remaining == 100 - 12 - 1


async def test_states_do_not_stay_for_ever(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """Some days; two months from when they count for one; and what counts for all time does, from when it does."""
    await spend(limiter, (REQUESTS, 1), (limit(Kind.SPEND_DAY, 5, "team:t"), 1))
    for days, kind in ((3, Kind.SPEND_DAY), (64, Kind.SPEND_MONTH)):
        await spend(limiter, (limit(kind, 5, "team:t"), 1))
        life = link.client.ttl("{t:limits}:of:team:t")
        assert (days - 1) * 86_400 < life <= days * 86_400
    assert 2 * 86_400 < link.client.ttl("{t:limits}:of:key:k") <= 3 * 86_400
    await spend(limiter, (MONEY, 1))
    await spend(limiter, (limit(Kind.SPEND_DAY, 5, "team:t"), 1))
    assert link.client.ttl("{t:limits}:of:team:t") == -1


async def test_what_others_remember_is_restored(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """After Redis has lost everything the ledger still knows; said twice, it counts once."""
    await spend(limiter, (MONEY, 60))
    link.flush()
    for used in (60, 60, 20):
        await limiter.restore({("team:t", Kind.SPEND): used, ("key:k", Kind.SPEND_MONTH): 5})
    assert not given(await limiter.reserve(demands((MONEY, 41))))
    assert given(await limiter.reserve(demands((MONEY, 40), (limit(Kind.SPEND_MONTH, 10), 5))))


@pytest.mark.parametrize("path", sorted(LUA.glob("*.lua")), ids=lambda path: path.stem)
def test_scripts_name_their_units(path: Path) -> None:
    """In the first line of each."""
    first = path.read_text("utf-8").partition("\n")[0]
    assert any(unit in first for unit in ("milliseconds", "tokens", "dollars"))


async def test_a_cost_below_nothing_is_none(limiter: RedisLimiter) -> None:
    """An upstream that says so gives nobody's money back but what was reserved."""
    await spend(limiter, (MONEY, 50))
    limiter.settle(await limiter.reserve(demands((MONEY, 10))), [-40])
    await told(limiter)
    assert (await limiter.reserve(demands((MONEY, 1)))).states[0].remaining == 49


async def test_an_answer_that_is_none_is_no_grant(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """Something answers that is not Redis: the worker counts for itself."""

    async def nonsense(*_: object) -> object:
        return b"OK"

    link.script = nonsense  # type: ignore[method-assign, assignment]
    grant = await limiter.reserve(demands((REQUESTS, 1)))
    assert (given(grant), grant.store) == (True, Store.DOWN)


async def test_a_refusal_leaves_nothing_new(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """Neither a subject nor a meter: names that somebody makes up fill nobody's memory."""
    await spend(limiter, (limit(Kind.DAILY, 5, "key:0"), 1))
    full = limit(Kind.SPEND, 0, "upstream:u")
    for n in range(3):
        assert not given(await limiter.reserve(demands((limit(Kind.REQUESTS, 60, f"key:{n}"), 1), (full, 1))))
    assert link.client.keys("{t:limits}:*:*") == [b"{t:limits}:of:key:0"]
    assert set(link.client.hkeys("{t:limits}:of:key:0")) == {b"3", b"day"}


async def test_who_is_refused_after_the_clock_went_back_waits_no_longer(
    link: ClockedRedis, limiter: RedisLimiter
) -> None:
    """Than from there on: a refusal keeps what was there before in step."""
    await spend(limiter, (REQUESTS, 3))
    link.time.now -= 3_600_000
    assert not given(await limiter.reserve(demands((REQUESTS, 1))))
    link.time.now += 1_000
    assert given(await limiter.reserve(demands((REQUESTS, 1))))


DAMAGED = [b"", b"noise", b"1 3 9 1", b'9 3 9 1\n["a"]', b"1 3 9 1\n{", b'1 3 9 1\n["\xff"]']


async def test_a_hold_that_cannot_be_read_is_buried(redis_server: RedisServer) -> None:
    """And those of others are kept and buried as ever."""
    async with workers(redis_server, life=0.06) as (one, other):
        for n, record in enumerate(DAMAGED):
            redis_server.tell("HSET", "{t:limits}:holds", f"x{n}", record)
            redis_server.tell("ZADD", "{t:limits}:ends", 1, f"x{n}")
        held = await one.reserve(demands((SLOTS, 1)))
        dead = await one.reserve(demands((MONEY, 100)))
        one._leases.end(dead)  # type: ignore[arg-type]
        await until(lambda: one._leases.buried + other._leases.buried == len(DAMAGED) + 1)
        assert given(await other.reserve(demands((MONEY, 100))))
        assert not given(await other.reserve(demands((SLOTS, 1))))
        assert given(held)
        assert one.given_up == 0


async def test_a_damaged_hold_holds_up_no_settlement(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """Of another, that goes with its own."""
    grants = [await limiter.reserve(demands((MONEY, 10))) for _ in range(len(DAMAGED) + 1)]
    for grant, record in zip(grants, DAMAGED, strict=False):
        link.client.hset("{t:limits}:holds", grant.name, record)  # type: ignore[attr-defined]
    for grant in grants:
        limiter.settle(grant, [4])
    async with asyncio.timeout(2.0):
        await told(limiter)
    assert (limiter.lost, link.client.hlen("{t:limits}:holds")) == (0, 0)


async def test_a_bug_does_not_end_what_looks_after_holds(redis_server: RedisServer) -> None:
    """It is told once, and the holds last."""
    said: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["exception"]))
    async with workers(redis_server, 1, life=0.3) as (one,):
        renew, failed = one._leases.renew, 0

        async def fail() -> None:
            nonlocal failed
            failed += 1
            if failed > 2:
                one._leases.renew = renew  # type: ignore[method-assign]
            raise RuntimeError

        one._leases.renew = fail  # type: ignore[method-assign]
        grant = await one.reserve(demands((SLOTS, 1)))
        one._leases._life = 0.03
        await until(lambda: failed == 3)
        dead = await one.reserve(demands((MONEY, 100)))
        one._leases.end(dead)  # type: ignore[arg-type]
        await until(lambda: one._leases.buried > 0)
        assert (given(grant), [type(error) for error in said]) == (True, [RuntimeError])


async def test_a_bug_costs_those_that_it_meets(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """They are counted as lost, and it is told once; what comes later is told to Redis."""
    said: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["exception"]))
    for _ in range(2):
        grant = await limiter.reserve(demands((MONEY, 10)))
        link.loses = RuntimeError()
        limiter.settle(grant, [10])
        async with asyncio.timeout(2.0):
            await told(limiter)
    await spend(limiter, (MONEY, 30))
    assert (limiter.lost, {type(error) for error in said}) == (2, {RuntimeError})
    assert (await limiter.reserve(demands((MONEY, 1)))).states[0].remaining == 49


async def test_who_comes_behind_one_that_has_ended_finds_its_room(limiter: RedisLimiter) -> None:
    """Though Redis is still to be told of it."""
    grant = await limiter.reserve(demands((MONEY, 100), (SLOTS, 1)))
    for _ in range(3):
        assert not given(await limiter.reserve(demands((MONEY, 30))))
        limiter.settle(grant, [10, 1])
        grant = await limiter.reserve(demands((MONEY, 70), (SLOTS, 1)))
        assert given(grant)


async def test_what_leaves_no_room_is_not_waited_for(
    limiter: RedisLimiter, link: ClockedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is asked once by who is refused."""
    limiter.settle(await limiter.reserve(demands((MONEY, 100))), [100])
    asked, script = list[str](), link.script

    async def counted(called: Script, keys: Sequence[str], args: Sequence[Word]) -> object:
        asked.append(called.name)
        return await script(called, keys, args)

    monkeypatch.setattr(link, "script", counted)
    assert not given(await limiter.reserve(demands((MONEY, 1))))
    assert asked.count("reserve") == 1
