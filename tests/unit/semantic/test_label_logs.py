"""The log of labels, in a file and in Redis: an order that all readers share, and texts that go when they should."""

import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cache.select import Selector
from cache.semantic.decide import AUDIT, GRAY, LICENSED_AUDIT, READ_AUDIT, Thresholds, Tier
from cache.semantic.learning.calibrate import Calibration, Settings
from cache.semantic.learning.evidence import NOBODY, Party
from cache.semantic.learning.label_log import PAGE, BadLabel, Label, LabelLog, Position, bare, pack, unpack
from cache.semantic.learning.learner import MAX_WAITING, TOGETHER, Learner
from cache.semantic.learning.redis_labels import RedisLabels
from cache.semantic.learning.sqlite_labels import SqliteLabels
from cache.semantic.store.origin import Origin
from proxy.redis_link import RedisLink
from tests.fakes.clock import Clock
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

NOW = 1_800_000_000.0
DAY = 86_400.0
ALICE, BOB = "a" * 64, "b" * 64

Open = Callable[..., Awaitable[LabelLog]]


def label(number: int = 0, **changes: Any) -> Label:
    made = Label(NOW + number, "gpt", 0.9, True, GRAY, "content", 1.0, 1, ALICE, f"asked {number}", "stored")
    return msgspec.structs.replace(made, **changes)


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def opened(store: str, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Open]:
    """Logs that share a file or a server, as several workers have them."""
    names = map(str, count())
    async with AsyncExitStack() as stack:

        async def make(**more: Any) -> LabelLog:
            options: dict[str, Any] = {"wall": lambda: NOW, "token": lambda: next(names), "days": 30.0, **more}
            if store == "sqlite":
                log: LabelLog = SqliteLabels(tmp_path / "labels.sqlite3", **options)
            else:
                link = RedisLink(redis_server.url, deadline=1.0)
                stack.push_async_callback(link.close)
                log = RedisLabels(link, "t", **options)
            stack.push_async_callback(log.close)
            return log

        yield make


async def everything(log: LabelLog, position: Position | None = None) -> list[Label]:
    found: list[Label] = []
    position = position or Position()
    while (page := await log.read(position)) is not None:
        found += page.labels
        position = page.position
        if not page.more:
            return found
    raise AssertionError("the log does not answer")


class Deaf:
    """A link whose answers to scripts are lost, though they were run."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self.deaf = True

    async def script(self, *words: Any) -> object:
        answer = await self._link.script(*words)
        if self.deaf:
            raise TimeoutError
        return answer

    async def call(self, *words: Any) -> object:
        return await self._link.call(*words)


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def removed(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


async def test_one_order_for_all(opened: Open) -> None:
    """Every worker reads what any of them wrote, without texts, each once, and knows where it was."""
    logs = [await opened() for _ in range(2)]
    for number in range(6):
        assert await logs[number % 2].add([label(number, witnessed=number % 2 == 0)])
    first = await logs[0].read(Position())
    assert first is not None
    assert first.labels == [bare(label(number, witnessed=number % 2 == 0)) for number in range(6)]
    await logs[1].add([label(6)])
    again = await logs[0].read(first.position)
    assert again is not None
    assert (again.labels, again.anew, again.more) == ([bare(label(6))], False, False)
    assert await everything(logs[0]) == await everything(logs[1])


async def test_in_pages(opened: Open) -> None:
    """Nobody folds more at once than takes a moment."""
    log = await opened()
    await log.add([label(number) for number in range(PAGE + 1)])
    page = await log.read(Position())
    assert page is not None
    assert (len(page.labels), page.more) == (PAGE, True)
    assert len(await everything(log)) == PAGE + 1


async def test_a_lost_reply_counts_nothing_twice(redis_server: RedisServer) -> None:
    """What was added and not heard of is not added again; what came after it is."""
    link = RedisLink(redis_server.url, deadline=1.0)
    deaf = Deaf(link)
    log = RedisLabels(deaf, "t", wall=lambda: NOW, token=lambda: "writer", days=30.0)  # type: ignore[arg-type]
    assert not await log.add([label(0), label(1)])
    assert not await log.add([label(0), label(1), label(2)])
    deaf.deaf = False
    assert await log.add([label(number) for number in range(4)])
    assert await log.add([label(4)])
    assert [each.at for each in await everything(log)] == [NOW + number for number in range(5)]
    await link.close()


@pytest.mark.parametrize("store", ["sqlite"])
async def test_a_slow_disk_counts_nothing_twice(opened: Open, tmp_path: Path) -> None:
    """What is written after its caller has gone is not written again."""
    patient, hasty = await opened(), await opened(deadline=0.05)
    assert await patient.add([label(0)])
    with closing(sqlite3.connect(tmp_path / "labels.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not await hasty.add([label(1)])
        other.execute("COMMIT")
    while not await hasty.add([label(1), label(2)]):
        pass
    assert [each.at for each in await everything(patient)] == [NOW, NOW + 1, NOW + 2]


async def test_it_tells_whose_they_are(opened: Open) -> None:
    """Thresholds count them for who fed them."""
    log, whose = await opened(), Party("team:blue", vouched=True)
    await log.add([label(1, party=whose), label(2)])
    assert [each.seen.party for each in await everything(log)] == [whose, NOBODY]


async def test_purged_texts_are_gone(opened: Open, store: str, tmp_path: Path, redis_server: RedisServer) -> None:
    """Of the entries that were purged, from the medium too; their numbers still count."""
    log = await opened()
    await log.add([label(1, asked="my canary"), label(2, key=BOB)])
    assert await log.purge(Selector(key=ALICE))
    examples = await log.examples(10)
    assert examples is not None
    assert [each.key for each in examples] == [BOB]
    assert len(await everything(log)) == 2
    if store == "sqlite":
        assert b"my canary" not in written(tmp_path)
    else:
        assert b"my canary" not in repr(redis_server.tell("XRANGE", "{t:labels}:texts", "-", "+")).encode()


def origin(name: str, **whose: Any) -> Origin:
    fields = {"key": name * 64, "team": name, "tags": (name,), "scope": "", "endpoint": "", "model": "", **whose}
    return Origin(**{"served_model": "", "created": NOW, **fields})


@pytest.mark.parametrize(
    "selector",
    [
        *(Selector(key="d" * 64), Selector(team="d"), Selector(tag="d"), Selector(key="e" * 64), Selector(team="e")),
        *(Selector(key=ALICE), Selector(all=True)),
    ],
    ids=repr,
)
async def test_texts_go_by_either_question(opened: Open, selector: Selector) -> None:
    """Whoever asked, and whoever had asked before; those of others stay."""
    log = await opened()
    others = label(2, key=BOB, asked_of=origin("f"), stored_of=origin("g"))
    await log.add([label(1, asked_of=origin("d"), stored_of=origin("e")), others])
    assert await log.purge(selector)
    left = [] if selector.all else [(BOB, "asked 2")]
    assert [(each.key, each.asked) for each in await log.examples(9) or ()] == left
    assert [bare(each) for each in await everything(log)] == [bare(label(1)), bare(others)]


async def test_texts_of_nobody_knows_whom_go_with_all_that_may_mean_them(opened: Open) -> None:
    """Older versions did not say whose they are; a key is that of one answer alone."""
    log = await opened()
    await log.add([label()])
    await log.purge(Selector(key=BOB))
    assert len(await log.examples(9) or ()) == 1
    await log.purge(Selector(team="d"))
    assert await log.examples(9) == []


@pytest.mark.parametrize("store", ["sqlite"])
async def test_a_file_of_the_version_before_is_gone_on_with(opened: Open, tmp_path: Path) -> None:
    """Its labels count, and have their texts."""
    old = await opened()
    await old.add([label(1)])
    with closing(sqlite3.connect(tmp_path / "labels.sqlite3")) as database:
        database.execute("ALTER TABLE labels DROP COLUMN whose")
    log = await opened()
    assert await log.add([label(2, asked_of=origin("d"))])
    assert [each.asked for each in await log.examples(9) or ()] == ["asked 2", "asked 1"]
    assert len(await everything(log)) == 2


async def test_a_label_of_the_version_before_is_read() -> None:
    """It did not say whose the questions are."""
    data = msgspec.msgpack.encode(msgspec.msgpack.decode(pack(label(1)))[:-2])
    assert unpack(data) == label(1)


async def test_what_waits_to_be_a_label_is_purged(opened: Open) -> None:
    """And what comes behind the purge, of a judge that took its time."""
    log, said = await opened(), set[str]()
    learner = Learner(log, Settings(), clock=Clock(), forbids=lambda of: of.team in said)
    early, late = (label(n, asked_of=origin("d"), stored_of=origin("e")) for n in (1, 2))
    learner.add(early)
    said.add("e")
    assert await learner.purge(Selector(team="e"), NOW + 9)
    assert [*learner._waiting] == [bare(early)]
    learner.add(late)
    await learner.turn()
    assert await log.examples(9) == []
    assert await everything(log) == [bare(early), bare(late)]


async def test_what_was_written_behind_the_back_of_a_purge(opened: Open) -> None:
    """Loses its texts as soon as its worker hears of the purge; what was written long ago, whoever purged has found."""
    log, clock = await opened(), Clock()
    learner = Learner(log, Settings(), clock=clock)
    learner.add(label(1, asked_of=origin("d")))
    await learner.turn()
    clock.advance(6)
    await learner.purge_recent(Selector(team="d"), NOW)
    assert len(await log.examples(9) or ()) == 1
    learner.add(label(2, asked_of=origin("d")))
    await learner.turn()
    await learner.purge_recent(Selector(team="d"), NOW)
    assert await log.examples(9) == []


async def test_the_latest_first(opened: Open) -> None:
    """Whoever calibrates by hand is given what there is of texts, and not more than was asked for."""
    log = await opened()
    await log.add([label(number) for number in range(5)])
    assert [each.asked for each in await log.examples(2) or ()] == ["asked 4", "asked 3"]


@pytest.mark.parametrize(("day", "left"), [(29.0, 1), (31.0, 0)])
async def test_labels_end(opened: Open, day: float, left: int) -> None:
    """After their days, whatever became of their entries."""
    start = time.time()  # noqa: TID251  (Redis numbers labels by its own clock)
    log = await opened(wall=lambda: start + day * DAY)
    await log.add([label(at=start)])
    await log.tend()
    assert len(await everything(log)) == left


async def test_it_is_bounded(opened: Open, store: str) -> None:
    """In number and in time, and texts in fewer; Redis rounds up to its nodes."""
    log = await opened(most=200, texts=20, days=3_000.0)
    await log.add([label(number) for number in range(500)])
    await log.tend()
    assert 200 <= len(await everything(log)) <= (200 if store == "sqlite" else 300)
    assert 20 <= len(await log.examples(1_000) or ()) <= (20 if store == "sqlite" else 120)


async def test_another_log_is_noticed(opened: Open, store: str, tmp_path: Path, redis_server: RedisServer) -> None:
    """Emptied or exchanged: it is read from its beginning."""
    log = await opened()
    await log.add([label(1), label(2)])
    page = await log.read(Position())
    assert page is not None
    if store == "sqlite":
        removed(tmp_path)
    else:
        redis_server.tell("FLUSHALL")
    await log.add([label(3)])
    anew = await log.read(page.position)
    assert anew is not None
    assert (anew.labels, anew.anew) == ([bare(label(3))], True)


@pytest.mark.parametrize("store", ["sqlite"])
async def test_a_torn_file_is_begun_anew(opened: Open, tmp_path: Path) -> None:
    """Labels are evidence, of which there will be more."""
    (tmp_path / "labels.sqlite3").write_bytes(b"no database at all" * 100)
    log = await opened()
    assert not await log.add([label(1)])
    assert await log.add([label(2)])
    assert len(await everything(log)) == 1


@pytest.mark.parametrize("store", ["sqlite"])
async def test_a_disk_that_fails(opened: Open, tmp_path: Path) -> None:
    """Nothing is raised, and what can't be kept is told."""
    (tmp_path / "labels.sqlite3").mkdir()
    log = await opened()
    assert not await log.add([label(1)])
    assert await log.read(Position()) is None
    assert await log.examples(1) is None
    assert not await log.purge(Selector(key=ALICE))
    assert not await log.tend()


@pytest.mark.parametrize("store", ["sqlite"])
async def test_a_file_of_another_version(opened: Open, tmp_path: Path) -> None:
    """Is not misread."""
    with sqlite3.connect(tmp_path / "labels.sqlite3") as database:
        database.execute("CREATE TABLE labels (other)")
        database.execute("PRAGMA user_version = 9")
    database.close()
    log = await opened()
    assert await log.add([label(1)])
    assert len(await everything(log)) == 1


@pytest.mark.parametrize("store", ["redis"])
async def test_redis_is_away(opened: Open, redis_server: RedisServer) -> None:
    """Nothing is raised, and nothing is made up."""
    log = await opened()
    redis_server.kill()
    assert not await log.add([label(1)])
    assert await log.read(Position()) is None
    assert await log.examples(1) is None
    assert not await log.purge(Selector(key=ALICE))
    assert not await log.tend()


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "A" * 64},
        {"similarity": 1.5},
        {"weight": 0.0},
        {"requests": -1},
        {"group": "x" * 257},
        {"asked": "x" * 2_001},
        {"at": float("nan")},
    ],
)
def test_bounds(changes: dict[str, Any]) -> None:
    """A label that can't be is none, made or read."""
    with pytest.raises(BadLabel):
        label(**changes)
    with pytest.raises(BadLabel):
        unpack(b"\xc1" + pack(label()))
    assert unpack(pack(label(3))) == label(3)
    assert "asked" not in repr(label())


def known(learner: Learner) -> Calibration:
    return learner._calibration


async def test_learners_agree(opened: Open) -> None:
    """Thresholds are those of the log: of whoever labels, whoever reads, and whoever starts later."""
    clock = Clock()
    settings = Settings(max_error_rate=0.03)
    one, other = [Learner(await opened(days=3_000.0), settings, clock=clock, every=0.01) for _ in range(2)]
    for learner in (one, other):
        learner.start()
    for number in range(400):
        (one, other)[number % 2].add(label(number, similarity=0.95, witnessed=number % 2 == 0))
        one.add(label(number, similarity=0.95, standing=AUDIT))
    await until(lambda: known(one).estimate("gpt", NOBODY).labels == known(other).estimate("gpt", NOBODY).labels == 600)
    assert one.thresholds("gpt", NOBODY) == Thresholds(0.75, inf)
    assert known(one).estimate("gpt", NOBODY) == known(other).estimate("gpt", NOBODY)
    later = Learner(await opened(days=3_000.0), settings, clock=clock)
    await later.turn()
    assert known(later).estimate("gpt", NOBODY, witnessed=True) == known(one).estimate("gpt", NOBODY, witnessed=True)
    for learner in (one, other, later):
        await learner.close()
        assert learner.lost == 0


async def test_audits_of_the_rules_open_nothing(opened: Open) -> None:
    """They tell how much of what each tier serves is wrong; other labels do not, but for audits of their own tier."""
    learner = Learner(await opened(days=3_000.0), Settings(), clock=Clock())
    for number in range(600):
        learner.add(label(number, similarity=0.95, standing=LICENSED_AUDIT, right=number % 6 > 0))
    for standing, right in ((AUDIT, True), (f"{READ_AUDIT}:v", True), (GRAY, False)):
        learner.add(label(similarity=0.95, standing=standing, right=right))
    while learner._waiting:
        await learner.turn()
    told = learner.audited()
    assert [told[tier].labels for tier in Tier] == [600, 1, 1]
    assert told[Tier.LICENSED].wrong == pytest.approx(1 / 6, abs=0.01)
    assert told[Tier.LICENSED].wrong < told[Tier.LICENSED].at_most < 0.22
    assert [told[tier].wrong for tier in (Tier.CALIBRATED, Tier.VERIFIED)] == [0.0, 0.0]
    assert known(learner).estimate("gpt", NOBODY).labels == 2


@pytest.mark.parametrize("store", ["sqlite"])
async def test_what_a_learner_can_not_keep(opened: Open, tmp_path: Path) -> None:
    """While the log is away labels wait, as many as may; the others are counted."""
    (tmp_path / "labels.sqlite3").mkdir()
    learner = Learner(await opened(), Settings(), clock=Clock())
    for number in range(MAX_WAITING + 3):
        learner.add(label(number))
    await learner.turn()
    assert learner.lost == 3
    (tmp_path / "labels.sqlite3").rmdir()
    await learner.close()
    assert learner.lost == 3 + MAX_WAITING - TOGETHER
