"""The admin API: who gets in, what it shows of the cache, and what it says no to."""

import asyncio
import base64
import json
from typing import Any

import pytest

from tests.fakes.admin import TOKEN, Operator
from tests.fakes.answers import Answer, event_stream
from tests.fakes.asking import completion, completion_answer
from tests.fakes.frames import CHAT
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, Response
from tests.fakes.redis_server import RedisServer
from tests.fakes.upstream import ScriptedUpstream

API = "/admin/v1/cache"
NO_KEY = "0" * 64


@pytest.fixture
async def gateway(start: StartGateway, upstream: ScriptedUpstream) -> Gateway:
    """With a cache, without Redis."""
    upstream.script(completion_answer())
    return await start(cache__enabled=True, admin__token=TOKEN)


@pytest.fixture
def operator(gateway: Gateway) -> Operator:
    return Operator(gateway)


async def ask(gateway: Gateway, *, target: str = "/v1/chat/completions", tags: str = "", **fields: object) -> str:
    """The key of the entry."""
    async with gateway.client() as client:
        response = await client.ask("POST", target, {**CHAT, **fields}, [("x-askonce-cache-tags", tags)])
    assert response.status == 200
    return (response.header(b"x-askonce-cache-key") or b"").decode()


def problem(response: Response) -> dict[str, Any]:
    """The problem details, which agree with the status."""
    assert response.header(b"content-type") == b"application/problem+json"
    said: dict[str, Any] = response.json()
    assert said["status"] == response.status
    assert said["type"] == "about:blank"
    assert said["title"]
    return said


WRONG = [
    [],
    [("authorization", "Bearer wrong")],
    [("authorization", "Bearer ")],
    [("authorization", f"Basic {TOKEN}")],
    [("authorization", TOKEN)],
    [("authorization", f"Bearer {TOKEN}x")],
    [("authorization", f"Bearer {TOKEN[:-1]}")],
    [("authorization", "Bearer \xff")],
    [("x-api-key", TOKEN)],
]


@pytest.mark.parametrize("headers", WRONG)
async def test_nobody_gets_in_without_the_token(gateway: Gateway, headers: list[tuple[str, str]]) -> None:
    """Whatever the path, existing or not, however it is spelt: 401, and nothing else is told."""
    async with RawClient(gateway.admin_url) as client:
        for method, path in (("GET", f"{API}/stats"), ("POST", f"{API}/purge"), ("GET", "/admin/v1/no")):
            response = await client.ask(method, path, {"all": True}, headers)
            assert problem(response)["status"] == 401
            assert response.header(b"www-authenticate") == b'Bearer realm="askonce"'
        assert (await client.ask("GET", "/%61dmin/v1/cache/stats", headers=headers)).status in (401, 429)


async def test_who_guesses_has_to_wait(gateway: Gateway, operator: Operator) -> None:
    """429 after ten wrong tokens, with the seconds to wait; a missing one is no guess. Who has the token need not,
    though he comes from the same address.
    """
    for _ in range(20):
        assert (await Operator(gateway, "").ask("GET", "cache/stats")).status == 401
    guesses = [(await Operator(gateway, f"guess{n}").ask("GET", "cache/stats")).status for n in range(11)]
    assert guesses == [401] * 10 + [429]
    assert (await operator.ask("GET", "cache/stats")).status == 200
    refused = await Operator(gateway, "guess").ask("GET", "cache/stats")
    assert problem(refused)["status"] == 429
    assert 1 <= int(refused.header(b"retry-after") or b"0") <= 6


async def test_the_scheme_has_no_case(gateway: Gateway) -> None:
    """`bearer` as well as `Bearer` (RFC 9110 §11.1)."""
    async with RawClient(gateway.admin_url) as client:
        assert (await client.ask("GET", f"{API}/stats", headers=[("authorization", f"bEARER  {TOKEN}")])).status == 200


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_what_watches_the_gateway_needs_no_token(gateway: Gateway, path: str) -> None:
    """Scrapers and load balancers."""
    async with RawClient(gateway.admin_url) as client:
        assert (await client.ask("GET", path)).status == 200


async def test_stats(gateway: Gateway, operator: Operator) -> None:
    """Entries and bytes of this worker, and why some are gone."""
    assert (await operator.get("cache/stats"))["memory"]["entries"] == 0
    for number in range(3):
        await ask(gateway, seed=number)
    stats = await operator.get("cache/stats")
    assert (stats["worker"], stats["redis"], stats["memory"]["entries"]) == (0, None, 3)
    assert stats["memory"]["bytes"] > 3 * len(json.dumps(completion()))
    await operator.purge(all=True)
    assert (await operator.get("cache/stats"))["memory"]["removed"]["purged"] == 3


async def test_pages(gateway: Gateway, operator: Operator) -> None:
    """The newest first, each entry once, as many as asked for, filtered as a purge would choose."""
    keys = [await ask(gateway, seed=number, tags="odd" if number % 2 else "") for number in range(5)]
    seen, cursor = [], ""
    for _ in range(3):
        page = await operator.get(f"cache/entries?limit=2{cursor}")
        seen += [entry["key"] for entry in page["entries"]]
        cursor = f"&cursor={page['cursor']}"
    assert seen == keys[::-1]
    assert page["cursor"] is None
    for query, found in (("tag=odd", 2), ("model=no", 0), ("endpoint=chat/completions&tag=odd", 2), ("all=true", 5)):
        assert len((await operator.get(f"cache/entries?{query}"))["entries"]) == found
    assert len((await operator.get("cache/entries?older_than=0"))["entries"]) == 5
    assert (await operator.get("cache/entries?older_than=60"))["entries"] == []


async def test_one_entry(gateway: Gateway, operator: Operator) -> None:
    """All about it; the answer itself, which is somebody's, only where it is asked for."""
    key = await ask(gateway, tags="a,b")
    entry = await operator.get(f"cache/entries/{key}")
    assert (entry["key"], entry["kind"], entry["endpoint"]) == (key, "json", "chat/completions")
    assert (entry["model"], entry["served_model"], entry["upstream"]) == (CHAT["model"], "m-2025", "test")
    assert (entry["status"], entry["tags"], entry["usage"]["total_tokens"]) == (200, ["a", "b"], 18)
    assert 0 <= entry["age"] < 60
    assert 80_000 < entry["ttl"] < 93_000
    assert entry["stale_until"] == pytest.approx(entry["expires"] + 3_600)
    assert entry["bytes"]["memory"] > 100
    assert "body" not in entry
    assert b"Hello" not in (await operator.ask("GET", f"cache/entries/{key}?body=false")).body
    body = (await operator.get(f"cache/entries/{key}?body=true"))["body"]
    assert json.loads("".join(body["frames"])) == completion()


async def test_the_frames_of_a_stream_and_bytes_that_are_no_text(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """Each frame is an event, with its pauses; sound comes as base64."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
             "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]}  # fmt: skip
    frames = [f"data: {json.dumps(chunk)}\n\n".encode(), b"data: [DONE]\n\n"]
    sound = bytes(range(256))
    upstream.script(event_stream(frames), Answer(200, [("content-type", "audio/mpeg")], sound))
    gateway = await start(cache__enabled=True, admin__token=TOKEN, cache__ttl__audio_speech=60)
    operator = Operator(gateway)
    stream = await operator.get(f"cache/entries/{await ask(gateway, stream=True)}?body=true")
    assert (stream["kind"], [frame.encode() for frame in stream["body"]["frames"]]) == ("stream", frames)
    assert len(stream["body"]["gaps"]) == 2
    speech = await operator.get(f"cache/entries/{await ask(gateway, target='/v1/audio/speech')}?body=true")
    assert (speech["kind"], speech["body"]["encoding"]) == ("binary", "base64")
    assert base64.b64decode(speech["body"]["frames"][0]) == sound


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "selector"), ({"all": False}, "selector"), ({"dry_run": True}, "selector"),
        ({"key": 1}, "key"), ({"tag": ""}, "tag"), ({"model": ["m"]}, "model"), ({"scope": "x" * 513}, "scope"),
        ({"older_than": "1h"}, "older_than"), ({"older_than": -1}, "older_than"), ({"all": 1}, "all"),
        ({"all": True, "dry_run": 1}, "dry_run"), ({"all": True, "before": 0}, "before"), ({"modle": "m"}, "modle"),
        ({"endpoint": "/v1/chat/completions"}, "endpoint"), ({"endpoint": "files"}, "endpoint"),
        (b'{"dry_run": true, "dry_run": false, "all": true}', "selector"),
        ([], "selector"), (b"{", "selector"), (b"\xff", "selector"), (b"", "selector"), (b"null", "selector"),
    ],
)  # fmt: skip
async def test_a_purge_that_is_not_understood(gateway: Gateway, operator: Operator, asked: object, field: str) -> None:
    """400 that names the field, and nothing is gone."""
    await ask(gateway)
    said = problem(await operator.ask("POST", "cache/purge", asked))
    assert (said["status"], said["field"]) == (400, field)
    assert said["detail"]
    assert await operator.in_memory() == [1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("limit=%D9%A1", "limit"),
        ("cursor=x", "cursor"), ("cursor=", "cursor"), ("cursor=1e999-" + NO_KEY, "cursor"), ("cursor=0@s", "cursor"),
        ("older_than=x", "older_than"), ("older_than=nan", "older_than"), ("older_than=inf", "older_than"),
        ("all=1", "all"), ("tag=", "tag"), ("before=1", "before"), ("colour=red", "colour"),
    ],
)  # fmt: skip
async def test_a_listing_that_is_not_understood(operator: Operator, query: str, field: str) -> None:
    """400 that names the parameter."""
    said = problem(await operator.ask("GET", f"cache/entries?{query}"))
    assert (said["status"], said["field"]) == (400, field)


async def test_what_is_not_there(operator: Operator) -> None:
    """404 for an entry and a path, 400 for what is no key, 405 with the methods that there are."""
    assert problem(await operator.ask("GET", f"cache/entries/{NO_KEY}"))["status"] == 404
    assert problem(await operator.ask("GET", "cache/nothing"))["status"] == 404
    for bad in ("x", NO_KEY + "0", "G" * 64, "0" * 63 + "%0A"):
        assert problem(await operator.ask("GET", f"cache/entries/{bad}"))["field"] == "key"
    refused = await operator.ask("GET", "cache/purge")
    assert problem(refused)["status"] == 405
    assert refused.header(b"allow") == b"POST"


async def test_a_body_is_bounded(operator: Operator) -> None:
    """413, before it is read as JSON."""
    refused = await operator.ask("POST", "cache/purge", {"tag": "x" * 70_000})
    assert problem(refused)["status"] == 413


async def test_with_redis(start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer) -> None:
    """It is Redis that is listed and counted, in pages; an entry says which tiers have it."""
    upstream.script(completion_answer())
    gateway = await start(cache__enabled=True, admin__token=TOKEN, redis__url=redis_server.url, redis__deadline=1.0)
    operator = Operator(gateway)
    keys = {await ask(gateway, seed=number) for number in range(200)}
    await until(lambda: len(redis_server.tell("KEYS", "askonce:e:*")) == 200)
    stats = await operator.get("cache/stats")
    assert stats["redis"]["state"] == "up"
    assert stats["redis"]["database_keys"] >= 200
    seen: set[str] = set()
    query = "cache/entries?limit=50"
    while True:
        page = await operator.get(query)
        seen |= {entry["key"] for entry in page["entries"]}
        if page["cursor"] is None:
            break
        query = f"cache/entries?limit=50&cursor={page['cursor']}"
    assert (page["tier"], seen) == ("redis", keys)
    key = keys.pop()
    assert set((await operator.get(f"cache/entries/{key}"))["bytes"]) == {"memory", "redis"}
    gateway.app._caches.tiers.memory.drop(key)
    shown = await operator.get(f"cache/entries/{key}?body=true")
    assert set(shown["bytes"]) == {"redis"}
    assert json.loads(shown["body"]["frames"][0]) == completion()


async def test_a_redis_that_does_not_answer(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """503 for what it would have to know; what memory knows is told."""
    upstream.script(completion_answer())
    gateway = await start(cache__enabled=True, admin__token=TOKEN, redis__url=redis_server.url, redis__deadline=0.2)
    operator = Operator(gateway)
    key = await ask(gateway)
    await until(lambda: redis_server.tell("KEYS", "askonce:e:*"))
    with redis_server.frozen():
        assert problem(await operator.ask("GET", "cache/entries"))["status"] == 503
        assert problem(await operator.ask("GET", f"cache/entries/{NO_KEY}"))["status"] == 503
        assert problem(await operator.ask("POST", "cache/purge", {"all": True, "dry_run": True}))["status"] == 503
        assert (await operator.get(f"cache/entries/{key}"))["bytes"].keys() == {"memory"}
        assert (await operator.get("cache/stats"))["redis"]["state"] == "down"
        assert (await operator.get("cache/stats"))["memory"]["entries"] == 1


async def test_a_purge_holds_up_nobody(gateway: Gateway, operator: Operator) -> None:
    """While it is under way, requests are answered; several at once are as good as one."""
    for number in range(50):
        await ask(gateway, seed=number)
    done = await asyncio.gather(*(operator.purge(all=True) for _ in range(5)), ask(gateway))
    assert sum(each["memory"]["entries"] for each in done[:5]) in (50, 51)
