"""O1, C17: what was kept, and what is just being kept, when a gateway ends, begins again or is configured anew."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.config import load
from tests.fakes.answers import event_stream
from tests.fakes.asking import KEY, completion_answer, herd, status_of
from tests.fakes.frames import CHAT, COUNTED
from tests.fakes.gateway import Gateway, environment, in_process
from tests.fakes.polling import until
from tests.fakes.raw import Response, compose
from tests.fakes.redis_server import RedisServer
from tests.fakes.streams import STREAMS
from tests.fakes.upstream import ScriptedUpstream


async def ask(gateway: Gateway, body: object = CHAT) -> Response:
    async with gateway.client() as client:
        return await client.ask(body=body, headers=[KEY])


def restored(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [msgspec.json.decode(line) for line in capfd.readouterr().out.splitlines()]
    return [line for line in lines if line["event"].startswith("cache_")]


async def test_o1_flights_land_while_draining(upstream: ScriptedUpstream, redis_server: RedisServer) -> None:
    """All who share a call get its answer, though its leader has left; what came of it is in Redis at the end."""
    gate = asyncio.Event()
    frames = STREAMS["chat"].frames
    upstream.script(event_stream([frames[0], gate, *frames[1:]]), completion_answer(before=gate))
    async with in_process(upstream.url, settles=0, cache__enabled=True, redis__url=redis_server.url) as gateway:
        async with gateway.client() as leader:
            await leader.send(compose(body=COUNTED, headers=[KEY]))
            await upstream.received()
            followers = asyncio.Task(herd(gateway, 3, COUNTED))
            others = asyncio.Task(herd(gateway, 3, CHAT | {"seed": 1}))
            await until(lambda: len(gateway.app.clients.crew.serving) == 7)
        await until(lambda: len(gateway.app.clients.crew.serving) == 6)
        draining = asyncio.Task(gateway.app.drain(asyncio.Event()))
        await until(lambda: gateway.app.clients.draining)
        gate.set()
        assert {response.body for response in await followers} == {b"".join(frames)}
        assert {response.status for response in await others} == {200}
        await draining
    assert len(redis_server.tell("KEYS", "askonce:e:*")) == 2
    assert redis_server.tell("KEYS", "askonce:l:*") == []
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("size", [10, 8_000_000], ids=["small", "large"])
async def test_o1_what_is_being_kept_is_kept(upstream: ScriptedUpstream, redis_server: RedisServer, size: int) -> None:
    """An answer that was given when the end came gets to Redis, though it takes a while to read and Redis is slow."""
    gate = asyncio.Event()
    upstream.script(completion_answer("x" * size, before=gate, encoding="gzip"))
    settings: dict[str, Any] = {"redis__url": redis_server.url, "redis__deadline": 5.0, "settles": 0}
    async with in_process(upstream.url, cache__enabled=True, **settings) as gateway:
        asking = asyncio.Task(ask(gateway))
        await upstream.received()
        with redis_server.frozen():
            gate.set()
            assert (await asking).status == 200
            ending = asyncio.Task(gateway.app.stop())
            await asyncio.sleep(0.04)
        await ending
    assert len(redis_server.tell("KEYS", "askonce:e:*")) == 1


async def test_o2_a_redis_that_does_not_answer_holds_up_no_end(
    upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """The process ends in its time, with what it could not write and a lease that nobody takes back."""
    upstream.script(completion_answer(), completion_answer(before=30.0))
    settings: dict[str, Any] = {"redis__url": redis_server.url, "redis__deadline": 10.0, "settles": 0}
    async with in_process(upstream.url, cache__enabled=True, **settings) as gateway:
        asking = asyncio.Task(ask(gateway, CHAT | {"seed": 1}))
        await upstream.received()
        waiting = asyncio.Task(ask(gateway))
        await upstream.received(2)
        with redis_server.frozen():
            await asking
            async with asyncio.timeout(3.0):
                await gateway.app.stop()
        assert (await waiting).error_code == "draining"


async def test_c17_a_restart_keeps_what_memory_held(
    upstream: ScriptedUpstream, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """JSON and streams, byte for byte; one line says how much it was."""
    upstream.script(first := completion_answer("first"), event_stream(STREAMS["chat"].frames), completion_answer("new"))
    settings: dict[str, Any] = {"cache__enabled": True, "cache__snapshot": tmp_path / "kept"}
    async with in_process(upstream.url, **settings) as gateway:
        await ask(gateway)
        await ask(gateway, COUNTED | {"seed": 1})
    async with in_process(upstream.url, **settings) as gateway:
        whole, stream = await ask(gateway), await ask(gateway, COUNTED | {"seed": 1})
    assert [status_of(whole), status_of(stream)] == ["HIT", "HIT"]
    assert (whole.body, stream.body) == (first.body, b"".join(STREAMS["chat"].frames))
    (line,) = restored(capfd)
    assert (line["event"], line["level"], line["result"], line["entries"]) == ("cache_restored", "info", "loaded", 2)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "foreign", "a folder", "of others"])
async def test_c17_a_torn_file_is_one_line(
    upstream: ScriptedUpstream, tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    """The gateway starts with nothing kept, serves, and writes the file anew at its end."""
    upstream.script(completion_answer())
    path = tmp_path / "kept"
    settings: dict[str, Any] = {"cache__enabled": True, "cache__snapshot": path}
    async with in_process(upstream.url, **settings) as gateway:
        await ask(gateway)
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:-1], "changed": whole[:-9] + b"x" + whole[-8:], "empty": b""}.get(damage, b"x" * 99)
    )
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    if damage == "of others":
        path.chmod(0o666)
    for status in ("MISS", "MISS" if damage == "a folder" else "HIT"):
        async with in_process(upstream.url, **settings) as gateway:
            assert status_of(await ask(gateway)) == status
    lines = [line for line in restored(capfd) if line["level"] == "warning"]
    starts = [line["event"] for line in lines].count("cache_restored")
    assert starts == (2 if damage == "a folder" else 1)
    assert len(lines) == starts * (2 if damage == "a folder" else 1)


async def test_o6_a_reload_keeps_what_is_kept(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """And a call in flight lands for those who asked before; what is new holds for who asks from then on."""
    gate = asyncio.Event()
    upstream.script(completion_answer("kept"), completion_answer("shared", before=gate), completion_answer("more"))
    settings: dict[str, Any] = {"cache__enabled": True, "cache__snapshot": tmp_path / "kept"}
    async with in_process(upstream.url, **settings) as gateway:
        await ask(gateway)
        waiting = asyncio.Task(herd(gateway, 3, CHAT | {"seed": 1}))
        await until(lambda: len(gateway.app.clients.crew.serving) == 3)
        gateway.app.reload(load(None, environment(upstream.url, settings | {"cache__ttl__chat_completions": 0})))
        assert status_of(await ask(gateway)) == "BYPASS"
        gateway.app.reload(load(None, environment(upstream.url, settings)))
        assert status_of(await ask(gateway)) == "HIT"
        gate.set()
        (body,) = {response.body for response in await waiting}
        assert b"shared" in body
        again = await ask(gateway, CHAT | {"seed": 1})
        assert (status_of(again), again.body) == ("HIT", body)
    async with in_process(upstream.url, **settings) as gateway:
        assert status_of(await ask(gateway, CHAT | {"seed": 1})) == "HIT"


async def test_o1_a_start_without_the_cache_leaves_the_file(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """Who switches it off for a while finds it again as it was."""
    path = tmp_path / "kept"
    upstream.script(completion_answer())
    found = []
    for enabled in (True, False, True):
        async with in_process(upstream.url, cache__enabled=enabled, cache__snapshot=path) as gateway:
            found.append(status_of(await ask(gateway)))
    assert found == ["MISS", "", "HIT"]
