"""What a process could not tell Redis before it ended is told by another, once."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from limits import Demand, Kind, Limit, OnFailure, RedisLimiter, Untold
from proxy.limiting.left import LeftLimits
from proxy.telemetry.log import Log
from tests.fakes.limiting import ClockedRedis, Time, demands, limit, limiter_on, spend, told
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

MONEY = limit(Kind.SPEND, 1_000, "team:t", on_failure=OnFailure.OPEN)
TODAY = limit(Kind.SPEND_DAY, 1_000, "key:k", on_failure=OnFailure.OPEN)
SPENT = 30 + 50 + 7


@pytest.fixture
def link(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClockedRedis]:
    monkeypatch.setattr("limits.outbox.PAUSES", (0.001, 0.001))
    clocked = ClockedRedis(redis_server, Time())
    yield clocked
    clocked.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with (tmp_path / "log").open("ab") as file:
        made = Log(style="json", fd=file.fileno())
        yield made
        made.close()


async def left(limiter: RedisLimiter, of: Limit = MONEY) -> int:
    grant = await limiter.reserve([Demand(of, 0)])
    limiter.settle(grant, [0])
    return grant.states[0].remaining


async def ended(link: ClockedRedis, left: LeftLimits, *, acts: bool) -> None:
    """A batch of 30 is on its way, and perhaps counted; 50 wait behind it, and a hold of 20 that has cost 7."""
    gone = limiter_on(link, link.time, "gone", keep=left.keep)
    held = await gone.reserve(demands((MONEY, 20), (TODAY, 20)))
    link.away = True
    await spend(gone, (MONEY, 30), (TODAY, 30))
    script = link.script

    async def dies(*call: object) -> object:
        if acts:
            await script(*call)  # type: ignore[arg-type]
        link.away, link.script = True, script  # type: ignore[method-assign]
        raise ConnectionError

    link.away, link.script = False, dies  # type: ignore[method-assign, assignment]
    await until(lambda: link.away)
    await spend(gone, (MONEY, 50), (TODAY, 50))
    gone.settle(held, [7, 7])
    await gone.close(0.0)
    assert (gone.lost, gone.waiting) == (0, 0)
    link.time.now += 11_000
    link.away = False


def files(folder: Path) -> list[tuple[str, int]]:
    """With their modes."""
    return [(path.name, path.stat().st_mode & 0o777) for path in folder.glob("limits-*")]


@pytest.mark.parametrize("acts", [False, True], ids=["unheard", "heard"])
async def test_the_next_process_tells_it(link: ClockedRedis, log: Log, tmp_path: Path, *, acts: bool) -> None:
    """At its start; the file is for its owner alone, and goes when it was told."""
    await ended(link, LeftLimits(tmp_path, log), acts=acts)
    assert files(tmp_path) == [("limits-gone.untold", 0o600)]
    left_limits, limiter = LeftLimits(tmp_path, log), limiter_on(link, link.time, "next")
    assert not left_limits.told("gone")
    await left_limits.start(limiter)
    await limiter._leases.bury()
    assert left_limits.told("gone")
    assert [await left(limiter), await left(limiter, TODAY)] == [1_000 - SPENT] * 2
    await limiter.close(0.0)
    log.close()
    lines = (tmp_path / "log").read_text()
    for event in ("limits_kept", "limits_taken_up"):
        assert f'"{event}","counters":2,"usd":8.7e-8' in lines


@pytest.mark.parametrize("acts", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("died", range(4))
async def test_whoever_dies_over_it_counts_nothing_twice(
    link: ClockedRedis, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, died: int, *, acts: bool
) -> None:
    """After any answer, whether what is left was written down or not; one counter at a time."""
    monkeypatch.setattr("limits.untold.CHARGED", 1)
    await ended(link, LeftLimits(tmp_path, log), acts=acts)
    script, asked = link.script, 0

    async def dies(*call: object) -> object:
        nonlocal asked
        answer = await script(*call)  # type: ignore[arg-type]
        asked += 1
        if asked > died:
            raise ConnectionError
        return answer

    for way in (dies, script):
        link.script = way  # type: ignore[method-assign, assignment]
        limiter, taken = limiter_on(link, link.time, "next"), LeftLimits(tmp_path, log)
        await taken.start(limiter)
        await taken.close()
        await limiter.close(0.0)
    limiter = limiter_on(link, link.time, "last")
    await limiter._leases.bury()
    assert files(tmp_path) == []
    assert [await left(limiter), await left(limiter, TODAY)] == [1_000 - SPENT] * 2
    await limiter.close(0.0)


async def test_it_is_told_when_redis_is_back(
    link: ClockedRedis, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start does not wait for that; of several processes one does it."""
    monkeypatch.setattr("proxy.limiting.left.AGAIN", 0.005)
    await ended(link, LeftLimits(tmp_path, log), acts=False)
    link.away = True
    limiters = [limiter_on(link, link.time, owner) for owner in "ab"]
    lefts = [LeftLimits(tmp_path, log) for _ in limiters]
    for each, limiter in zip(lefts, limiters, strict=True):
        await each.start(limiter)
    link.away = False
    await until(lambda: lefts[0].told("gone"))
    await limiters[0]._leases.bury()
    assert await left(limiters[0]) == 1_000 - SPENT
    for each, limiter in zip(lefts, limiters, strict=True):
        await until(lambda each=each: each._task is None or each._task.done())  # type: ignore[misc]
        await each.close()
        await limiter.close(0.0)


async def test_a_file_that_cannot_be_read_is_left_and_said(link: ClockedRedis, log: Log, tmp_path: Path) -> None:
    """Damaged, or another version's; it holds up no other."""
    await ended(link, LeftLimits(tmp_path, log), acts=False)
    (tmp_path / "limits-bad.untold").write_bytes(b"noise")
    taken, limiter = LeftLimits(tmp_path, log), limiter_on(link, link.time, "next")
    await taken.start(limiter)
    assert (taken.told("gone"), taken.told("bad")) == (True, False)
    await limiter.close(0.0)
    log.close()
    assert '"limits_left_unreadable","file":"limits-bad.untold"' in (tmp_path / "log").read_text()


async def test_what_cannot_be_kept_is_lost_and_said(link: ClockedRedis, log: Log, tmp_path: Path) -> None:
    """With how much it was."""
    limiter = limiter_on(link, link.time, keep=LeftLimits(None, log).keep)
    link.away = True
    await spend(limiter, (MONEY, 30), (TODAY, 30))
    await limiter.close(0.0)
    assert limiter.lost == 2
    log.close()
    assert '"limits_left","counters":2,"usd":3e-8,"reason":"nowhere to keep it"' in (tmp_path / "log").read_text()


async def test_all_that_was_told_leaves_nothing(link: ClockedRedis) -> None:
    """There is nothing to keep."""
    kept: list[Untold] = []
    limiter = limiter_on(link, link.time, keep=partial(_kept, kept))
    await spend(limiter, (MONEY, 30))
    await told(limiter)
    await limiter.close(0.0)
    assert not kept


def _kept(kept: list[Untold], untold: Untold) -> bool:
    kept.append(untold)
    return True
