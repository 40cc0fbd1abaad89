"""C8: an answer to a part of a batch that can't be put together with the rest is paid for, and not asked for again."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from proxy.caching import trip
from tests.fakes.answers import Answer, Framing, json_answer
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import Response
from tests.fakes.team import StartTeam
from tests.fakes.upstream import Request, ScriptedUpstream

USED = 1_000
"""Tokens of each input."""
Script = Callable[[Request], Answer]


def vectors(size: int, *, step: int = 0, **more: Any) -> Script:
    """An upstream whose model makes vectors of that size, each longer by a `step`."""

    def body(request: Request) -> Iterator[bytes]:
        count = len(request.json()["input"])
        items = [
            {"object": "embedding", "index": n, "embedding": [0.5] * (size + n * step)} | more for n in range(count)
        ]
        used = {"prompt_tokens": USED * count, "total_tokens": USED * count}
        yield msgspec.json.encode({"object": "list", "model": "m", "data": items, "usage": used})

    return lambda request: Answer(200, [("content-type", "application/json")], body(request), Framing.CHUNKED)


def coded(_: Request) -> Answer:
    """In a coding that nobody knows."""
    return json_answer({}, headers=[("content-encoding", "x-unknown")])


def created(request: Request) -> Answer:
    """A good answer of a status that says nothing of it."""
    return replace(vectors(4)(request), status=201)


def asked(upstream: ScriptedUpstream) -> list[Any]:
    return [request.json()["input"] for request in upstream.requests]


def lengths(response: Response) -> list[int]:
    return [len(item["embedding"]) for item in response.json()["data"]]


async def ask(gateway: Gateway, *inputs: str) -> Response:
    body = {"model": "m", "input": list(inputs), "encoding_format": "float"}
    async with gateway.client() as client:
        return await client.ask(target="/v1/embeddings", body=body, headers=[("authorization", "Bearer sk-t")])


@pytest.mark.parametrize(
    "script",
    [vectors(4, embedding=None), vectors(4, step=1), coded, created],
    ids=["no vector", "lengths", "coding", "status"],
)
async def test_an_answer_to_a_part_that_is_none_is_asked_for_once(
    upstream: ScriptedUpstream, start: StartGateway, script: Script
) -> None:
    """The client is told, and told not to ask again; who does has what the upstream says to the whole."""
    gateway = await start(cache__enabled=True)
    upstream.script(vectors(4))
    await ask(gateway, "x")
    upstream.script(script)
    failed = await ask(gateway, "x", "y", "z")
    assert asked(upstream) == [["x"], ["y", "z"]]
    assert (failed.status, failed.error_code) == (502, "upstream_error")
    assert failed.header(b"x-should-retry") == b"false"
    if script is not created:
        assert (await ask(gateway, "x", "y", "z")).status == 200
        assert asked(upstream)[2:] == [["x", "y", "z"]]


async def test_an_answer_to_a_part_that_is_too_large_is_asked_for_once(
    upstream: ScriptedUpstream, start: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can't be held until it is put together with the rest."""
    gateway = await start(cache__enabled=True)
    upstream.script(vectors(4), vectors(4_000))
    await ask(gateway, "x")
    monkeypatch.setattr(trip, "MAX_ANSWER", 2_000)
    failed = await ask(gateway, "x", "y")
    assert asked(upstream) == [["x"], ["y"]]
    assert (failed.status, failed.error_code) == (502, "upstream_error")


async def test_an_upstream_that_can_never_be_read_is_asked_as_the_client_asked(
    upstream: ScriptedUpstream, start: StartGateway
) -> None:
    """What stands twice makes a part of a batch of which nothing is known, too: it fails once at most."""
    gateway = await start(cache__enabled=True)
    upstream.script(vectors(4, embedding=None))
    assert (await ask(gateway, "a", "b")).status == 200
    assert (await ask(gateway, "c", "d", "c")).status == 200
    upstream.script(vectors(4))
    await ask(gateway, "e", "f")
    await ask(gateway, "g", "h", "g")
    assert asked(upstream) == [["a", "b"], ["c", "d", "c"], ["e", "f"], ["g", "h"]]


async def test_what_a_part_used_is_billed_though_it_is_no_answer(
    upstream: ScriptedUpstream, start_team: StartTeam
) -> None:
    """The upstream has told it."""
    team = await start_team(cache__enabled=True)
    alice = await team.key()
    upstream.script(vectors(4), vectors(4, embedding=None))
    for inputs in (["x"], ["x", "y", "z"]):
        await team.ask(alice, {"model": "m", "input": inputs}, target="/v1/embeddings")
    rows = await team.rows()
    assert [(row["status"], row["attempts"], row["used"]) for row in rows] == [
        (200, 1, {"input": USED}),
        (502, 1, {"input": 2 * USED}),
    ]
    assert rows[1]["cost_usd"] == "0.002"


async def test_vectors_of_two_models_are_never_in_one_answer(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Those that are stored are older: they are asked for as well, and nothing is asked for twice."""
    gateway = await start(cache__enabled=True)
    upstream.script(vectors(4), vectors(8))
    await ask(gateway, "a", "b")
    mixed = await ask(gateway, "a", "b", "c", "d")
    assert (mixed.status, lengths(mixed)) == (200, [8] * 4)
    assert asked(upstream) == [["a", "b"], ["c", "d"], ["a", "b"]]
    assert mixed.json()["usage"]["total_tokens"] == 4 * USED
    assert mixed.header(b"x-cache-status") == b"MISS"
    assert mixed.header(b"x-askonce-saved-tokens") is None
    again = await ask(gateway, "a", "b", "c", "d")
    assert (again.header(b"x-cache-status"), lengths(again)) == (b"HIT", [8] * 4)


async def test_stored_vectors_of_two_models_are_asked_for_where_they_are_older(
    upstream: ScriptedUpstream, start: StartGateway
) -> None:
    """No call was needed to find out."""
    gateway = await start(cache__enabled=True)
    upstream.script(vectors(4), vectors(8))
    await ask(gateway, "a", "b")
    await ask(gateway, "c", "d")
    mixed = await ask(gateway, "a", "b", "c", "d")
    assert (lengths(mixed), mixed.header(b"x-cache-status")) == ([8] * 4, b"PARTIAL-HIT")
    assert asked(upstream) == [["a", "b"], ["c", "d"], ["a", "b"]]


async def test_two_calls_for_one_batch_are_billed_as_both(upstream: ScriptedUpstream, start_team: StartTeam) -> None:
    """And told so."""
    team = await start_team(cache__enabled=True)
    alice = await team.key()
    upstream.script(vectors(4), vectors(8))
    for inputs in (["a"], ["a", "b"]):
        await team.ask(alice, {"model": "m", "input": inputs}, target="/v1/embeddings")
    rows = await team.rows()
    assert [(row["attempts"], row["used"]) for row in rows] == [(1, {"input": USED}), (2, {"input": 2 * USED})]


async def test_a_second_call_that_is_refused_is_no_reason_for_a_third(
    upstream: ScriptedUpstream, start: StartGateway
) -> None:
    """What the first brought is kept: only the rest is asked for the next time."""
    gateway = await start(cache__enabled=True)
    upstream.script(vectors(4), vectors(8), json_answer({"error": {}}, 400), vectors(8))
    await ask(gateway, "a")
    failed = await ask(gateway, "a", "b")
    assert (failed.status, failed.header(b"x-should-retry")) == (502, b"false")
    assert lengths(await ask(gateway, "a", "b")) == [8, 8]
    assert asked(upstream) == [["a"], ["b"], ["a"], ["a"]]
