"""C10: what a client says of freshness, through the gateway; and what it gets while the upstream fails."""

import asyncio
import dataclasses
from collections import Counter

import pytest

import proxy.caches
from tests.fakes.answers import CLOSE, RESET, Answer, End, Framing, json_answer
from tests.fakes.asking import KEY, completion_answer, herd, status_of
from tests.fakes.frames import CHAT, STREAM
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import Response
from tests.fakes.upstream import ScriptedUpstream

TTL = 100.0
STALE = 50.0
HERD = 30


class Wall:
    """The time of day, moved by the test."""

    def __init__(self) -> None:
        self.now = 1_764_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    moved = Wall()
    monkeypatch.setattr(proxy.caches, "WALL", moved)
    return moved


@pytest.fixture
async def kept(start: StartGateway, wall: Wall, upstream: ScriptedUpstream) -> Gateway:
    """Has an answer that is one second old."""
    gateway = await start(
        cache__enabled=True, cache__ttl__chat_completions=TTL, cache__jitter=0.0, cache__stale_if_error=STALE
    )
    upstream.script(completion_answer("first"), completion_answer("second"))
    await ask(gateway)
    wall.now += 1
    return gateway


async def ask(gateway: Gateway, control: str = "", body: object = CHAT) -> Response:
    async with gateway.client() as client:
        return await client.ask(body=body, headers=[KEY, *[("cache-control", control)] * bool(control)])


@pytest.mark.parametrize(
    ("age", "control", "status"),
    [
        (1, "max-age=10", "HIT"),
        (10, "max-age=10", "HIT"),
        (11, "max-age=10", "MISS"),
        (1, "max-age=0", "MISS"),
        (50, "min-fresh=50", "HIT"),
        (51, "min-fresh=50", "MISS"),
        (101, "", "MISS"),
        (120, "max-stale=20", "STALE"),
        (121, "max-stale=20", "MISS"),
        (149, "max-stale", "STALE"),
        (150, "max-stale", "MISS"),
        (1, "no-cache", "REFRESH"),
        (1, "no-store", "BYPASS"),
        (1, "max-age=10, only-if-cached", "HIT"),
        (120, "max-stale=20, only-if-cached", "STALE"),
    ],
)
async def test_c10_freshness(kept: Gateway, wall: Wall, age: float, control: str, status: str) -> None:
    """Directives decide what is served, and the fields say how old it is."""
    wall.now += age - 1
    response = await ask(kept, control)
    assert status_of(response) == status
    served = status in {"HIT", "STALE"}
    assert (b"first" in response.body) is served
    assert response.header(b"age") == (b"%d" % age if served else None)


@pytest.mark.parametrize(
    ("age", "control"), [(101, ""), (11, "max-age=10"), (60, "min-fresh=50"), (121, "max-stale=20")]
)
async def test_c10_only_if_cached(
    kept: Gateway, upstream: ScriptedUpstream, wall: Wall, age: float, control: str
) -> None:
    """What will not do is a 504, and the upstream is not asked."""
    wall.now += age - 1
    response = await ask(kept, f"only-if-cached, {control}")
    assert (response.status, response.error_code) == (504, "cache_miss")
    assert response.header(b"x-should-retry") == b"false"
    assert len(upstream.requests) == 1


async def test_c10_a_refresh_replaces_the_entry(kept: Gateway, upstream: ScriptedUpstream) -> None:
    """For everybody who asks from then on."""
    assert b"second" in (await ask(kept, "no-cache")).body
    again = await ask(kept)
    assert (status_of(again), b"second" in again.body) == ("HIT", True)
    assert len(upstream.requests) == 2


async def test_c10_a_refresh_that_fails_replaces_nothing(kept: Gateway, upstream: ScriptedUpstream) -> None:
    """Nor does one that was cut, or filtered."""
    for bad in (
        json_answer({"error": {}}, 500),
        completion_answer("no", "content_filter"),
        completion_answer(length=9_999, end=End.CLOSE),
    ):
        upstream.script(bad)
        await ask(kept, "no-cache")
    again = await ask(kept)
    assert (status_of(again), b"first" in again.body) == ("HIT", True)


FAILURES = {
    "refused": None,
    "closed": CLOSE,
    "reset": RESET,
    "500": json_answer({"error": {"message": "m", "type": "t", "param": None, "code": None}}, 500),
    "503 in pieces": Answer(503, [("content-type", "application/json")], [b"{", 0.02, b"}"], Framing.CHUNKED),
    "429": json_answer({}, 429),
    "silent": Answer(before=5.0),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["plain", "stream"])
async def test_c10_stale_if_error(
    start: StartGateway, upstream: ScriptedUpstream, wall: Wall, failure: str, body: object
) -> None:
    """However the upstream fails, what is stale is served as that, within the operator's time and not after it."""
    gateway = await start(
        cache__enabled=True, cache__ttl__chat_completions=TTL, cache__jitter=0.0, cache__stale_if_error=STALE,
        timeouts__first_byte=0.2,
    )  # fmt: skip
    upstream.script(completion_answer("first"))
    await ask(gateway)
    answer = FAILURES[failure]
    if answer is None:
        await upstream.stop()
    else:
        upstream.script(answer)
    wall.now += TTL + 1
    stale = await ask(gateway, body=body)
    assert (stale.status, status_of(stale), stale.header(b"age")) == (200, "STALE", b"101")
    assert b"first" in stale.body
    assert (await ask(gateway, "stale-if-error=0", body)).status >= 429
    wall.now += STALE
    gone = await ask(gateway, body=body)
    assert gone.status >= 429
    assert gone.header(b"age") is None
    if answer is None:
        await upstream.start()


@pytest.mark.parametrize(("ttl", "age", "status"), [("50", 80, 503), ("120", 110, 200), ("120", 125, 503)])
async def test_c10_what_is_kept_for_a_while_is_gone_after_it(
    kept: Gateway, upstream: ScriptedUpstream, wall: Wall, ttl: str, age: int, status: int
) -> None:
    """A client's lifetime is the end of an answer, also where the upstream fails then."""
    body = {**CHAT, "seed": 5}
    async with kept.client() as client:
        assert (await client.ask(headers=[KEY, ("x-askonce-cache-ttl", ttl)], body=body)).status == 200
    wall.now += age
    upstream.script(json_answer({"error": {"message": "m", "type": "t", "param": None, "code": None}}, 503))
    assert (await ask(kept, body=body)).status == status


async def test_s7_a_herd_at_the_end_of_a_lifetime(kept: Gateway, upstream: ScriptedUpstream, wall: Wall) -> None:
    """One request asks anew, and all the others get its answer."""
    gate = asyncio.Event()
    wall.now += TTL
    upstream.script(completion_answer("second", before=gate), completion_answer("a call too many"))
    responses = await _waiting_together(kept, gate)
    assert {b"second" in response.body for response in responses} == {True}
    assert Counter(map(status_of, responses)) == {"MISS": 1, "COALESCED": HERD - 1}
    assert len(upstream.requests) == 2


async def test_c10_a_herd_before_an_upstream_that_fails(kept: Gateway, upstream: ScriptedUpstream, wall: Wall) -> None:
    """All of it is served what is stale, for two calls."""
    gate = asyncio.Event()
    wall.now += TTL
    upstream.script(dataclasses.replace(json_answer({}, 500), before=gate), json_answer({}, 503))
    responses = await _waiting_together(kept, gate)
    assert {(status_of(response), b"first" in response.body) for response in responses} == {("STALE", True)}
    assert len(upstream.requests) == 1 + 2


async def _waiting_together(gateway: Gateway, gate: asyncio.Event) -> list[Response]:
    waiting = asyncio.Task(herd(gateway, HERD))
    await until(lambda: len(gateway.app.clients.crew.serving) == HERD)
    gate.set()
    return await waiting
