"""O6: a reload forgets nothing of upstreams that stay where they are, and tells nothing that is no longer so."""

import asyncio
from dataclasses import replace
from math import inf

from proxy.upstream.breaker import State
from tests.fakes.answers import json_answer
from tests.fakes.asking import completion_answer
from tests.fakes.pair import NO_WAIT, pair
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

ALONE = {"routes__main__groups": ["a"]}
OPENS = {"breaker__failures": 1, "retry__attempts": 1, "breaker__cool_down": 20.0, "breaker__longest": 20.0}
LIMITED = json_answer({"error": {}}, 429, [("retry-after", "60")])


def running(what: str) -> int:
    """Tasks of that name."""
    names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
    return sum(name == what for name in names)


def pollers() -> int:
    """Tasks that ask Redis for news of breakers."""
    return running("SharedBreakers._poll")


async def test_o6_one_task_probes_an_upstream() -> None:
    """However often it is reloaded, and none once nobody is to."""
    async with pair(upstreams__a__probe__interval=60.0) as two:
        assert running("Probe._run") == 1
        for timeout in (77.0, 78.0):
            two.reload(timeouts__idle=timeout)
        await until(lambda: running("Probe._run") == 1)
        two.reload(upstreams__a__probe__interval=0.0)
        await until(lambda: not running("Probe._run"))


async def test_o6_a_key_that_rests_goes_on_resting() -> None:
    """Whatever else changes, other keys of the same upstream included."""
    async with pair(upstreams__a__keys="k0,k1", **ALONE, **NO_WAIT) as two:
        two.first.script(LIMITED, completion_answer("from a"))
        await two.ask()
        two.reload(timeouts__idle=77.0)
        two.reload(upstreams__a__keys="k2,k0")
        before = len(two.first.requests)
        for _ in range(4):
            assert (await two.ask()).status == 200
        assert {request.header(b"authorization") for request in two.first.requests[before:]} == {b"Bearer k2"}


async def test_o6_a_key_that_was_in_use_rests_too() -> None:
    """What an upstream says of it after the reload, of a request from before, is as true."""
    held = asyncio.Event()
    limited = replace(LIMITED, before=held)
    async with pair(upstreams__a__keys="k0,k1", **ALONE, **NO_WAIT) as two:
        two.first.script(limited, completion_answer("from a"))
        flying = asyncio.ensure_future(two.ask())  # noqa: TID251  (awaited below)
        await two.first.received()
        two.reload(timeouts__idle=77.0)
        held.set()
        assert (await flying).status == 200
        assert [(await two.ask({"model": "m", "n": each})).status for each in (1, 2, 3)] == [200] * 3
        assert [request.header(b"authorization") for request in two.first.requests[1:]] == [b"Bearer k1"] * 4


async def test_o6_a_retry_budget_is_not_refilled() -> None:
    """Reloads do not let more be tried again than is meant to; another share does, as it is another budget."""
    async with pair(retry__budget=0.0) as two:
        while two.endpoint().budget.take():
            pass
        two.reload(timeouts__idle=77.0)
        assert not two.endpoint().budget.take()
        two.reload(retry__budget=0.5)
        assert two.endpoint().budget.take()


async def test_o6_who_has_failed_is_known() -> None:
    """A reload does not make an upstream well, nor one that answers a stranger."""
    async with pair() as two:
        await two.ask()
        now = asyncio.get_running_loop().time()
        two.endpoint("b").failed(now, now)
        two.reload(timeouts__idle=77.0)
        assert [two.endpoint(name).proven for name in "ab"] == [True, False]
        assert not two.endpoint("b").is_well(asyncio.get_running_loop().time())


async def test_o6_other_rules_of_admission_add_no_slots() -> None:
    """Calls under way hold theirs, whatever changes in [admission], and who waits is served by the new rules."""
    held = asyncio.Event()
    async with pair(upstreams__a__slots=1, **ALONE) as two:
        two.first.script(completion_answer("from a", before=held))
        first = asyncio.ensure_future(two.ask())  # noqa: TID251  (awaited below)
        await two.first.received()
        two.reload(admission__patience=7.0, admission__queue=1)
        second = asyncio.ensure_future(two.ask({"model": "m", "messages": []}))  # noqa: TID251  (awaited below)
        await until(lambda: two.endpoint().gate.waiting == 1)
        assert (await two.ask({"model": "m2", "messages": []})).status == 503
        assert len(two.first.requests) == 1
        held.set()
        assert [(await task).status for task in (first, second)] == [200, 200]


async def test_o6_gauges_tell_what_is_configured() -> None:
    """Not the state of a breaker that is gone, nor a bound, a region or an upstream that was."""
    own = {"upstreams__a__slots": 4, "upstreams__a__region": "eu", "upstreams__b__region": "eu"}
    async with pair(**OPENS, **own) as two:
        await two.first.stop()
        await two.ask()
        sample = two.gateway.sample
        assert await sample("askonce_breaker_state", upstream="a") == 2
        assert await sample("askonce_upstream_slots", upstream="a") == 4
        two.reload(breaker__enabled=False, upstreams__a__slots="inf", upstreams__a__region="us")
        assert await sample("askonce_breaker_state", upstream="a") == 0
        assert await sample("askonce_upstream_slots", upstream="a") == inf
        infos = [await sample("askonce_upstream_info", upstream="a", region=region) for region in ("eu", "us")]
        assert infos == [0, 1]
        two.without_first()
        infos = [await sample("askonce_upstream_info", upstream=name, region="eu") for name in ("a", "b")]
        assert infos == [0, 1]
        assert await sample("askonce_upstream_info", upstream="a", region="us") == 0
        two.reload()


async def test_o6_one_asks_redis_however_often_it_is_reloaded(redis_server: RedisServer) -> None:
    """New breakers are shared in place of those before; nobody asks once the gateway has stopped."""
    async with pair(redis__url=redis_server.url, **OPENS) as two:
        assert pollers() == 1
        for enabled in (False, True, False, True):
            two.reload(breaker__enabled=enabled)
        upstreams = two.gateway.app._upstreams
        await until(lambda: upstreams._sharing is not None and upstreams._sharing.done())
        assert pollers() == 1
        two.reload(breaker__enabled=False)
    await until(lambda: not pollers())


async def test_o6_an_open_breaker_stays_open_under_other_settings() -> None:
    """Whoever turns its screws while an upstream is down does not send it everybody again."""
    async with pair(**OPENS) as two:
        await two.first.stop()
        await two.ask()
        assert two.state() is State.OPEN
        two.reload(breaker__failures=7, breaker__window=20.0, breaker__probes=3)
        assert two.state() is State.OPEN
        sample = two.gateway.sample
        attempts = await sample("askonce_upstream_attempts_total", upstream="a")
        await two.ask()
        assert await sample("askonce_upstream_attempts_total", upstream="a") == attempts


async def test_o6_who_opened_hears_of_it_with_new_breakers(redis_server: RedisServer) -> None:
    """Where there was none for a while, it is as open as everybody else's, whoever it was that said so."""
    async with pair(redis__url=redis_server.url, **OPENS) as two:
        await two.first.stop()
        await two.ask()
        assert two.state() is State.OPEN
        shared = two.gateway.app._upstreams._shared
        assert shared is not None
        await until(lambda: not any(seat.news for seat in shared._seats.values()))
        two.reload(breaker__enabled=False)
        two.reload(breaker__enabled=True)
        assert two.state() is State.CLOSED
        await until(lambda: two.state() is State.OPEN)


async def test_o6_what_was_said_of_another_place_is_not_heard(redis_server: RedisServer) -> None:
    """Whose address was mended is asked, though another worker still says that the old one is down."""
    shared = {"redis__url": redis_server.url, **OPENS}
    async with pair(**shared) as two:
        await two.first.stop()
        await two.ask()
        async with pair(**shared) as other:
            assert other.state() is State.CLOSED
            other.reload(upstreams__a__base_url=two.first.url)
            await until(lambda: other.state() is State.OPEN)
