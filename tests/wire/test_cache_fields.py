"""What the answers say of the cache, and what of the requests stays here."""

import asyncio
import dataclasses

import pytest

from tests.fakes.answers import Answer
from tests.fakes.asking import KEY, completion_answer, status_of
from tests.fakes.frames import CHAT
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import Response, compose
from tests.fakes.redis_server import RedisServer
from tests.fakes.upstream import ScriptedUpstream


@pytest.fixture
async def gateway(start: StartGateway, upstream: ScriptedUpstream) -> Gateway:
    """With a cache, without Redis."""
    upstream.script(completion_answer())
    return await start(cache__enabled=True)


async def ask(gateway: Gateway, control: str = "", target: str = "/v1/chat/completions", **fields: object) -> Response:
    headers = [KEY, ("cache-control", control)] if control else [KEY]
    async with gateway.client() as client:
        return await client.ask("POST", target, {**CHAT, **fields}, headers)


@pytest.mark.parametrize("status", [200, 404], ids=str)
async def test_an_answer_from_upstream_has_no_age(gateway: Gateway, upstream: ScriptedUpstream, status: int) -> None:
    """Whatever the age of what was stored and would not do (RFC 9111 §5.1)."""
    await ask(gateway)
    upstream.script(completion_answer() if status == 200 else Answer(status=status))
    response = await ask(gateway, "max-age=0")
    assert response.status == status
    assert response.header(b"x-cache-status") == b"MISS"
    assert response.header(b"age") is None
    assert b"ttl=" not in (response.header(b"cache-status") or b"")


@pytest.mark.parametrize("asked", [{"no-store": True}, {"no-cache": True}, {"ttl": 0}, {"ttl": 60}], ids=str)
async def test_what_the_body_asks_of_the_cache_stays_here(
    gateway: Gateway, upstream: ScriptedUpstream, asked: dict[str, object]
) -> None:
    """Also where the cache has no part in the request: no upstream knows that member."""
    await ask(gateway, cache=asked)
    assert "cache" not in upstream.request.json()


async def test_it_stays_here_where_nothing_is_kept(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """An endpoint without a lifetime."""
    response = await ask(gateway, target="/v1/images/generations", cache={"ttl": 60})
    assert response.header(b"cache-status") == b"askonce; fwd=bypass; fwd-status=200; detail=endpoint-off"
    assert "cache" not in upstream.request.json()


async def test_a_method_that_is_never_kept(gateway: Gateway) -> None:
    """A list of what the upstream keeps is another thing each time (RFC 9211 §2.2)."""
    async with gateway.client() as client:
        response = await client.ask("GET", "/v1/chat/completions", b"", [KEY])
    assert response.header(b"cache-status") == b"askonce; fwd=method; fwd-status=200; detail=method"


async def test_it_stays_here_where_the_cache_is_off(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """No client has to change when an operator switches it off; a member of that name that is none of ours goes on."""
    gateway = await start(cache__enabled=False)
    await ask(gateway, cache={"ttl": 60})
    assert upstream.requests[0].json() == CHAT
    await ask(gateway, cache={"type": "ephemeral"})
    assert upstream.requests[1].json() == {**CHAT, "cache": {"type": "ephemeral"}}


async def test_what_is_no_directive_goes_on_and_counts(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Another gateway's member of that name is asked for as it is, and another value is another question."""
    for member in ({"type": "ephemeral"}, {"type": "other"}, True, [{"ttl": 5}], {"ttl": 5, "type": "x"}):
        assert status_of(await ask(gateway, cache=member)) == "MISS"
        assert upstream.requests[-1].json()["cache"] == member
    assert status_of(await ask(gateway, cache={"type": "other"})) == "HIT"
    assert status_of(await ask(gateway)) == "MISS"
    assert status_of(await ask(gateway, cache={"ttl": 5})) == "HIT"


@pytest.mark.parametrize("target", ["/v1/models", "/v1/models/m"])
async def test_what_the_headers_ask_of_the_cache_stays_here(
    gateway: Gateway, upstream: ScriptedUpstream, target: str
) -> None:
    """Of whatever can be kept; and what is to be kept is asked for uncompressed."""
    async with gateway.client() as client:
        await client.ask("GET", target, b"", [KEY, ("x-askonce-cache-ttl", "9"), ("accept-encoding", "gzip")])
    assert upstream.request.header(b"x-askonce-cache-ttl") is None
    assert upstream.request.header(b"accept-encoding") == b"identity"


async def test_stored_is_said_of_what_is_stored(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """An answer that finds no room in memory, where there is nothing else, is not."""
    upstream.script(completion_answer())
    tiny = await start(cache__enabled=True, cache__memory_bytes=1)
    assert (await ask(tiny)).header(b"cache-status") == b"askonce; fwd=uri-miss"


async def test_who_wants_nothing_stored_and_nothing_new_gets_nothing(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """`no-cache` and `only-if-cached` together: not out of Redis either."""
    upstream.script(completion_answer())
    gateway = await start(cache__enabled=True, cache__memory_bytes=0, redis__url=redis_server.url)
    assert status_of(await ask(gateway)) == "MISS"
    await until(lambda: not gateway.app._caches.tiers._writers)
    assert status_of(await ask(gateway)) == "HIT"
    assert (await ask(gateway, "no-cache, only-if-cached")).status == 504


async def test_a_model_is_asked_for_alone_where_the_list_is(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """`coalesce.off` names endpoints as `cache.ttl` does, where one stands for the list and for each model."""
    gateway = await start(cache__enabled=True, coalesce__off="models")
    gate = asyncio.Event()
    upstream.script(Answer(before=gate))
    request = compose("GET", "/v1/models/m", headers=[KEY])
    async with gateway.client() as one, gateway.client() as other:
        await one.send(request)
        await other.send(request)
        await until(lambda: len(upstream.requests) == 2, why="each is asked for")
        gate.set()
        assert {(await client.response()).status for client in (one, other)} == {200}


@pytest.mark.parametrize(
    ("said", "detail"), [("no-store", "no-store"), ("max-age=5", "stateful")], ids=["by the client", "by the body"]
)
async def test_what_is_refused_unasked_was_not_forwarded(
    start: StartGateway, upstream: ScriptedUpstream, said: str, detail: str
) -> None:
    """`only-if-cached` of what the cache has no part in: the gateway answered, and says why (RFC 9211 §2)."""
    gateway = await start(cache__enabled=True)
    stateful = {"conversation": "c"} if detail == "stateful" else {}
    answer = await ask(gateway, f"{said}, only-if-cached", **stateful)
    assert (answer.status, answer.header(b"cache-status")) == (504, b"askonce; detail=%b" % detail.encode())
    assert not upstream.requests


async def test_what_another_cache_upstream_says_is_not_taken_for_ours(
    gateway: Gateway, upstream: ScriptedUpstream
) -> None:
    """Only in `cache-status` has each its place, and the nearest is last (RFC 9211 §2)."""
    answer = completion_answer()
    theirs = [
        *(("x-cache-status", "HIT"), ("x-askonce-cache-key", "theirs"), ("x-askonce-saved-tokens", "9")),
        *(("age", "70"), ("cache-status", "theirs; hit"), ("x-other", "stays")),
    ]
    upstream.script(dataclasses.replace(answer, headers=[*answer.headers, *theirs]))
    response = await ask(gateway)
    assert response.all(b"x-cache-status") == [b"MISS"]
    assert response.all(b"cache-status") == [b"theirs; hit", b"askonce; fwd=uri-miss; stored"]
    assert b"theirs" not in response.all(b"x-askonce-cache-key")
    assert len(response.all(b"x-askonce-cache-key")) == 1
    assert not response.all(b"x-askonce-saved-tokens")
    assert not response.all(b"age")
    assert response.all(b"x-other") == [b"stays"]
