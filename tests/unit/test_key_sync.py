"""A worker's table follows the store, and what it does while that is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from proxy.config import ConfigError
from proxy.keys.copy import MAX_AGE
from proxy.keys.key import Pepper, Refusal, Team, VirtualKey
from proxy.keys.register import KEPT, Made, Undone
from proxy.keys.store import BEGINNING
from proxy.keys.sync import StoreState
from tests.fakes.keyring import NOW, Keyring, Medium, virtual_key
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer


@pytest.fixture(params=["sqlite", "redis"])
async def keyring(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Keyring]:
    async with AsyncExitStack() as stack:
        url = redis_server.url if request.param == "redis" else ""
        yield Keyring(Medium(tmp_path, url), tmp_path, stack)


redis_alone = pytest.mark.parametrize("keyring", ["redis"], indirect=True)


def copied(folder: Path) -> bool:
    return (folder / "t.keys.copy").exists()


def test_times_are_those_of_the_promise() -> None:
    """A change is everywhere within a second, and a use is written once a minute."""
    from proxy.keys import sync

    assert sync.EVERY <= 0.25
    assert sync.TOUCH == 60.0


async def test_uses_are_written_behind(keyring: Keyring) -> None:
    """When their time has come, and once; and at the end. Until then who asks here knows them, but nobody else."""
    worker, other = await keyring.start(), await keyring.start()
    key, secret = await worker.made()
    worker.find(secret)
    assert await worker.sync.last_used([key.id]) == {key.id: NOW}
    assert await other.sync.last_used([key.id]) == {}
    worker.sync._touch_at = 0.0
    await until(lambda: not worker.table.used)
    assert await other.sync.last_used([key.id]) == {key.id: NOW}
    keyring.clock.advance(5.0)
    worker.find(secret)
    await worker.close()
    assert await other.sync.last_used([key.id]) == {key.id: NOW + 5.0}


async def test_another_pepper_refuses_the_start(keyring: Keyring) -> None:
    """And says what to do; it shows neither."""
    await keyring.start()
    with pytest.raises(ConfigError, match="the same ASKONCE_PEPPER"):
        await keyring.start(pepper=Pepper(b"another"))


@redis_alone
async def test_a_pepper_that_turns_out_wrong_changes_nothing(keyring: Keyring, redis_server: RedisServer) -> None:
    """Keys that are known go on, nothing is written, and it is said once."""
    worker = await keyring.start()
    _, secret = await worker.made()
    redis_server.tell("HSET", "t:{keys}:state", "pepper", "other")
    await until(lambda: worker.sync.state is StoreState.WRONG_PEPPER)
    with pytest.raises(ConnectionError):
        await worker.made()
    await asyncio.sleep(0.05)
    assert worker.opens(secret)
    assert worker.events().count("keys_wrong_pepper") == 1


@redis_alone
async def test_changes_wait_while_the_store_is_away(keyring: Keyring, redis_server: RedisServer) -> None:
    """They fail, and nothing is said to be done; one line for each turn."""
    worker = await keyring.start(deadline=0.05)
    _, secret = await worker.made()
    with redis_server.frozen():
        with pytest.raises((ConnectionError, TimeoutError)):
            await worker.made()
        await until(lambda: worker.sync.state is StoreState.DOWN)
        assert worker.opens(secret)
        assert len(worker.audit.changes) == 1
    await until(lambda: worker.sync.state is StoreState.UP, 5.0)
    events = worker.events()
    assert [events.count(each) for each in ("keys_store_down", "keys_store_up")] == [1, 1]


@redis_alone
async def test_a_start_without_redis_takes_the_copy(
    keyring: Keyring, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Which is for nobody else to read, and shows no secret; what changed meanwhile is followed when Redis is back."""
    worker = await keyring.start(copy=True)
    (kept, secret), (_, gone) = await worker.made(), await worker.made(name="b")
    await until(lambda: secret not in worker.table.used and copied(tmp_path))
    await until(lambda: kept.id.encode() in (tmp_path / "t.keys.copy").read_bytes())
    await until(lambda: b'"b"' in (tmp_path / "t.keys.copy").read_bytes())
    assert (tmp_path / "t.keys.copy").stat().st_mode & 0o777 == 0o600
    assert secret.encode() not in (tmp_path / "t.keys.copy").read_bytes()
    redis_server.kill()
    late = await keyring.start(copy=True)
    assert late.opens(secret)
    assert late.opens(gone)
    await asyncio.to_thread(redis_server.start)
    await until(lambda: late.sync.state is StoreState.UP, 5.0)


@redis_alone
@pytest.mark.parametrize("damage", ["none", "old", "future", "torn", "pepper"])
async def test_a_copy_that_is_no_good_is_none(
    keyring: Keyring, redis_server: RedisServer, tmp_path: Path, damage: str
) -> None:
    """Nobody is told that his key is wrong, for it may be a good one."""
    if damage != "none":
        worker = await keyring.start(copy=True)
        await worker.made()
        await until(lambda: copied(tmp_path))
    redis_server.kill()
    path = tmp_path / "t.keys.copy"
    keyring.clock.now += {"old": MAX_AGE, "future": -1.0}.get(damage, 0.0)
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-1])
    late = await keyring.start(copy=True, **{"pepper": Pepper(b"other")} if damage == "pepper" else {})
    assert late.find("sk-ask-any") is Refusal.NOT_LOADED


@redis_alone
async def test_a_redis_that_was_emptied_is_given_its_keys_back(keyring: Keyring, redis_server: RedisServer) -> None:
    """Whoever emptied it for the cache's sake did not mean them; new workers know them as well."""
    workers = [await keyring.start() for _ in range(2)]
    _, secret = await workers[0].made()
    revoked = await workers[0].made()
    await workers[0].register.revoke("tester", revoked.key.id)
    await until(lambda: workers[1].find(revoked.secret) is Refusal.REVOKED)
    redis_server.tell("FLUSHALL")
    await until(lambda: redis_server.tell("HLEN", "t:{keys}") == 2)
    newcomer = await keyring.start()
    for worker in (*workers, newcomer):
        assert worker.opens(secret)
        assert worker.find(revoked.secret) is Refusal.REVOKED


async def test_two_who_change_one_key_both_do(keyring: Keyring) -> None:
    """Neither change undoes the other, though neither worker had heard of it."""
    one, other = await keyring.start(), await keyring.start()
    key, _ = await one.made()
    await other.sync.look()
    await asyncio.gather(
        one.register.change("a", key.id, {"name": "new"}),
        other.register.change("b", key.id, {"metadata": {"a": "b"}}),
        one.register.revoke("c", key.id),
    )
    for worker in (one, other):
        await worker.sync.look()
        (changed,) = worker.table.listed()
        assert changed.revoked == NOW
    done = [what for worker in (one, other) for _, what, *_ in worker.audit.changes]
    assert ("key.change" in done) == (changed.name == "new" or changed.metadata == {"a": "b"})


REFUSED: list[tuple[str, Any]] = [
    ("change", Undone.REVOKED),
    ("rotate", Undone.REVOKED),
    ("declared", Undone.DECLARED),
    ("unknown", Undone.NOT_FOUND),
    ("team", Undone.NO_TEAM),
]


@pytest.mark.parametrize(("what", "why"), REFUSED)
async def test_what_cannot_be_changed(keyring: Keyring, what: str, why: Undone) -> None:
    """Is told why, and the audit nothing."""
    worker = await keyring.start()
    key, _ = await worker.made()
    await worker.register.revoke("tester", key.id)
    worker.table.declare([virtual_key(id="config-a", source="config")])
    worker.audit.changes.clear()
    register = worker.register
    attempts: dict[str, Callable[[], Awaitable[object]]] = {
        "change": partial(register.change, "a", key.id, {"name": "x"}),
        "rotate": partial(register.rotate, "a", key.id, 5.0),
        "declared": partial(register.revoke, "a", "config-a"),
        "unknown": partial(register.revoke, "a", "nobody"),
        "team": partial(register.create, "a", {"name": "x", "team": "nobody"}),
    }
    assert await attempts[what]() is why
    assert worker.audit.changes == []


async def test_room_is_made_of_what_has_long_been_dead(keyring: Keyring) -> None:
    """But not of what opens, nor of what died lately."""
    worker = await keyring.start(most=2)
    key, _ = await worker.made()
    await worker.register.revoke("tester", key.id)
    await worker.made()
    assert await worker.register.create("tester", {"name": "late"}) is Undone.FULL
    keyring.clock.advance(KEPT + 1)
    assert isinstance(await worker.register.create("tester", {"name": "late"}), Made)
    assert [each.name for each in worker.table.listed()] == ["somebody", "late"]


async def test_a_team_goes_when_nobody_is_in_it(keyring: Keyring) -> None:
    """Nobody who could ask; and then it is gone for all."""
    worker, other = await keyring.start(), await keyring.start()
    assert isinstance(await worker.register.create_team("tester", "t", {}), Team)
    key, _ = await other.made(team="t")
    assert await worker.register.remove_team("tester", "t") is Undone.IN_USE
    await other.register.revoke("tester", key.id)
    assert isinstance(await worker.register.remove_team("tester", "t"), Team)
    await until(lambda: other.table.team("t") is None)


async def test_every_change_is_audited(keyring: Keyring) -> None:
    """By whom, what, and when; with the values that were set, but for metadata and secrets."""
    worker = await keyring.start()
    await worker.register.create_team("ann", "t", {})
    key, secret = await worker.made(team="t", metadata={"note": "canary"}, models=("m*",))
    keyring.clock.advance(1.0)
    rotated = await worker.register.rotate("bob", key.id, 60.0)
    await worker.register.change("bob", key.id, {"expires": NOW + 9})
    for _ in range(2):
        await worker.register.revoke("eve", key.id)
    expected: list[tuple[Any, ...]] = [
        ("ann", "team.create", "team:t", NOW, {}),
        ("tester", "key.create", key.subject, NOW,
         {"metadata": ["note"], "models": ["m*"], "name": "somebody", "team": "t"}),
        ("bob", "key.rotate", key.subject, NOW + 1, {"grace": 60.0}),
        ("bob", "key.change", key.subject, NOW + 1, {"expires": NOW + 9}),
        ("eve", "key.revoke", key.subject, NOW + 1, {}),
    ]  # fmt: skip
    assert worker.audit.changes == expected
    assert isinstance(rotated, Made)
    told = repr(worker.audit.changes) + repr(worker.lines()) + repr(rotated)
    assert [each for each in (secret, rotated.secret, "canary") if each in told] == []


async def test_an_audit_that_is_away_does_not_undo_a_change(keyring: Keyring) -> None:
    """The log says who did what, and that it was not kept."""
    worker = await keyring.start()
    worker.audit.away = True
    key, secret = await worker.made()
    assert worker.opens(secret)
    lines = [line for line in worker.lines() if line.get("subject") == key.subject]
    assert [(line["event"], line["who"], line["what"]) for line in lines] == [
        ("keys_changed", "tester", "key.create"),
        ("audit_lost", "tester", "key.create"),
    ]


async def test_a_bug_does_not_end_the_following(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once; what others change is known when it is over."""
    worker, other = await keyring.start(), await keyring.start()
    looks = 0

    async def fail() -> NoReturn:
        nonlocal looks
        looks += 1
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(worker.sync, "look", fail)
        _, secret = await other.made()
        await until(lambda: looks > 2)
    await until(lambda: worker.opens(secret))
    assert worker.events().count("keys_not_followed") == 1


async def test_a_key_does_not_come_back_without_its_team(keyring: Keyring) -> None:
    """Which went while it had expired: it would have lost its limits. Whoever gives it another, or none, gets it."""
    worker, other = await keyring.start(), await keyring.start()
    await worker.register.create_team("tester", "t", {})
    key, secret = await worker.made(team="t", expires=NOW + 1)
    keyring.clock.advance(2.0)
    assert isinstance(await worker.register.remove_team("tester", "t"), Team)
    again = {"expires": NOW + 60}
    for each in (worker, other):
        assert await each.register.change("tester", key.id, again) is Undone.NO_TEAM
    assert isinstance(await worker.register.change("tester", key.id, {"name": "late"}), VirtualKey)
    assert worker.refuses(secret)
    await other.register.create_team("tester", "t2", {})
    assert isinstance(await worker.register.change("tester", key.id, {**again, "team": "t2"}), VirtualKey)
    assert worker.opens(secret)
    assert isinstance(await other.register.rotate("tester", key.id, 0.0), Made)


async def test_a_team_that_another_worker_made_is_found(keyring: Keyring) -> None:
    """Though this one had not heard of it when a key of it is brought back."""
    worker, other = await keyring.start(), await keyring.start()
    await worker.register.create_team("tester", "t", {})
    key, secret = await worker.made(team="t", expires=NOW + 1)
    keyring.clock.advance(2.0)
    await other.sync.look()
    team = other.table.team("t")
    assert team is not None
    other.table.drop(team)
    other.sync._position = BEGINNING
    assert isinstance(await other.register.change("tester", key.id, {"expires": None}), VirtualKey)
    await until(lambda: worker.opens(secret))
