"""A6: models and endpoints that a key is not for: refused, not listed, and nothing of them is asked upstream."""

import asyncio
from typing import Any

import pytest

from tests.fakes.answers import Answer, End, Framing, json_answer
from tests.fakes.asking import completion_answer, status_of
from tests.fakes.frames import CHAT, STREAM
from tests.fakes.raw import Response, compose
from tests.fakes.team import Member, StartTeam, Team
from tests.fakes.uploads import HEADERS, upload
from tests.fakes.upstream import Request, ScriptedUpstream

MODELS = ["m-small", "m-large", "gpt-x"]
LIST = {
    "object": "list",
    "data": [{"id": model, "object": "model", "created": 1, "owned_by": "o"} for model in MODELS],
    "first_id": MODELS[0],
}


def models(request: Request) -> Answer:
    """The list, or one of them."""
    _, _, name = request.target.decode().partition("/v1/models/")
    return json_answer({"id": name, "object": "model", "created": 1, "owned_by": "o"} if name else LIST)


async def look(team: Team[Any], member: Member, path: str = "", **headers: str) -> Response:
    return await team.ask(member, b"", [*headers.items()], method="GET", target=f"/v1/models{path}")


def ids(response: Response) -> list[str]:
    assert response.status == 200
    return [model["id"] for model in response.json()["data"]]


async def test_a6_other_models_are_not_there(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """E(404, invalid_request_error, model_not_found) on every route that names one; the upstream hears nothing."""
    upstream.script(completion_answer())
    team = await start_team(cache__enabled=True)
    alice = await team.key(models=["m-*", "exact"])
    others = [{"model": name} for name in ("gpt-x", "M-small", "m", "exactly", "")] + [{}, {"model": 1}]
    for route in ("chat/completions", "completions", "embeddings", "responses", "images/generations"):
        for body in others:
            response = await team.ask(alice, CHAT | {"model": None} | body, target=f"/v1/{route}")
            if response.status == 400:
                assert response.error_code in {"invalid_request", "invalid_json"}
                continue
            assert (response.status, response.error_code) == (404, "model_not_found"), (route, body)
            assert response.json()["error"]["param"] == "model"
    assert upstream.requests == []
    assert (await team.ask(alice, CHAT | {"model": "exact"})).status == 200
    assert {row["key"] for row in await team.rows()} == {alice.id}


DOUBLE = [
    b'{"model":"m-small","model":"gpt-x","messages":[]}',
    b'{"model":"m-small","mod\\u0065l":"gpt-x","messages":[]}',
    b'\xef\xbb\xbf{"model":"gpt-x","messages":[]}',
]


@pytest.mark.parametrize("body", DOUBLE)
@pytest.mark.parametrize("store", ["alone"])
async def test_a6_a_model_that_is_named_twice(start_team: StartTeam, upstream: ScriptedUpstream, body: bytes) -> None:
    """Is for nobody who may use but one of them."""
    upstream.script(completion_answer())
    team = await start_team()
    alice = await team.key(models=["m-*"])
    response = await team.ask(alice, body, [("content-type", "application/json")])
    assert response.status in {400, 404}
    assert upstream.requests == []


TWICE = [
    b'{"model":"m-small","Model":"gpt-x","messages":[]}',
    b'{"MODEL":"gpt-x","model":"m-small","messages":[]}',
    b'{"model":"gpt-x","messages":[],"model":"m-small"}',
    b'{"model":"m-small","model":"m-small","messages":[]}',
    b'{"mod\\u0065l":"gpt-x","model":"m-small"}',
    b'{"Model":"m-small","messages":[]}',
    b'{"model":"m-small","models":["m-small"],"models":["gpt-x"]}',
    *[
        b'{"model":"m-small","models":%b}' % models
        for models in (b'"gpt-x"', b'{"0":"gpt-x"}', b'[["gpt-x"]]', b"null")
    ],
    b'{"model":"m-small","Model":"gpt-x","messages":["%b"]}' % (b"x" * 70_000),
]


@pytest.mark.parametrize("body", TWICE, ids=lambda body: body[:60])
@pytest.mark.parametrize("store", ["alone"])
async def test_a6_a_model_that_parsers_read_differently(
    start_team: StartTeam, upstream: ScriptedUpstream, body: bytes
) -> None:
    """E(400, invalid_request_error, invalid_request) where not every model may be used; elsewhere it goes on."""
    upstream.script(completion_answer())
    team = await start_team()
    alice, bob = await team.key(models=["m-*"]), await team.key("bob")
    refused = await team.ask(alice, body, [("content-type", "application/json")])
    assert (refused.status, refused.error_code) == (400, "invalid_request")
    assert refused.json()["error"]["param"] == "model"
    assert b"gpt-x" not in refused.body
    assert upstream.requests == []
    assert (await team.ask(bob, body, [("content-type", "application/json")])).status == 200


@pytest.mark.parametrize("name", ["models", "Models", "model\u017f"])
async def test_a6_models_to_fall_back_on(start_team: StartTeam, upstream: ScriptedUpstream, name: str) -> None:
    """Are asked for as well: E(404, invalid_request_error, model_not_found) for any that the key may not use."""
    upstream.script(completion_answer())
    team = await start_team(cache__enabled=True)
    alice = await team.key(models=["m-*"])
    for models in (["gpt-x"], ["m-large", "gpt-x"], ["m-large", ""], ["gpt-x", "m-large"]):
        body = CHAT | {"model": "m-small", name: models, "route": "fallback"}
        for asked in (body, body | {"stream": True}, body | {"user": "x" * 70_000}):
            response = await team.ask(alice, asked)
            assert (response.status, response.error_code) == (404, "model_not_found"), models
            assert response.json()["error"]["param"] == "model"
    assert upstream.requests == []
    for models in ([], ["m-large", "m-small"]):
        assert (await team.ask(alice, CHAT | {"model": "m-small", name: models})).status == 200
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("name", ["fallbacks", "context_window_fallbacks", "Content_Policy_Fallbacks"])
async def test_a6_fallbacks_by_other_names(start_team: StartTeam, upstream: ScriptedUpstream, name: str) -> None:
    """As LiteLLM takes them, in each of its forms: none that the key may not use."""
    upstream.script(completion_answer())
    team = await start_team()
    alice = await team.key(models=["m-*"])
    for told in (["gpt-x"], [{"m-small": ["m-large", "gpt-x"]}], [{"model": "gpt-x"}], "gpt-x", {"m-small": "gpt-x"}):
        response = await team.ask(alice, CHAT | {"model": "m-small", name: told})
        assert (response.status, response.error_code) == (404, "model_not_found"), told
    assert upstream.requests == []
    for harmless in (None, [], ["m-large"], [{"gpt-x": ["m-large"]}]):
        assert (await team.ask(alice, CHAT | {"model": "m-small", name: harmless})).status == 200
    assert len(upstream.requests) == 4


async def test_a6_others_answers_are_not_there_either(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """What the team has in the cache is not given to one of it who may not ask the model."""
    upstream.script(completion_answer())
    team = await start_team(cache__enabled=True)
    bob, alice = await team.key("bob", team="t"), await team.key("alice", team="t", models=["m-*"])
    assert [status_of(await team.ask(bob)) for _ in range(2)] == ["MISS", "HIT"]
    for body in (CHAT, STREAM):
        assert (await team.ask(alice, body)).error_code == "model_not_found"


@pytest.mark.parametrize(
    "query", ["model=m-small&model=gpt-x", "model=gpt-x&model=m-small", "mod%65l=gpt-x&model=m-small", "model=gpt%2Dx"]
)
@pytest.mark.parametrize("store", ["alone"])
async def test_a6_a_session_for_two_models(start_team: StartTeam, upstream: ScriptedUpstream, query: str) -> None:
    """Is refused, whichever of them its upstream would take, and however they are spelled."""
    team = await start_team()
    alice = await team.key(models=["m-*"])
    response = await team.ask(alice, b"", method="GET", target=f"/v1/realtime?{query}")
    assert response.error_code in {"model_not_found", "invalid_request"}
    assert upstream.requests == []


@pytest.mark.parametrize("model", ["m-small", "gpt-x"])
@pytest.mark.parametrize("store", ["alone"])
async def test_a6_a_form_that_comes_in_pieces(start_team: StartTeam, model: str) -> None:
    """Is for the model that it names, though that is not in its first bytes, where the cache has no part in it."""
    team = await start_team()
    alice = await team.key(models=["m-*"])
    form = upload(("prompt", "a cat"), ("model", model), file=b"x" * 100_000)
    head = [*alice.headers, HEADERS[1]]
    async with team.gateway.client() as client:
        request = compose("POST", "/v1/images/edits", form, head)
        start = request.index(b'name="model"') - 60
        await client.send(request[:start])
        await asyncio.sleep(0.02)
        await client.send(request[start:])
        assert (await client.response()).status == (200 if model == "m-small" else 404)
    (row,) = await team.rows()
    assert row["model"] == model


@pytest.mark.parametrize("cache", [False, True], ids=["relayed", "cached"])
async def test_a6_other_models_are_not_listed(
    start_team: StartTeam, upstream: ScriptedUpstream, cache: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Fresh or kept, whoever of the team has asked before; the rest of the list is as the upstream sent it."""
    upstream.script(models)
    team = await start_team(cache__enabled=cache, cache__ttl__models=60)
    free, bound = await team.key("free", team="t"), await team.key("bound", team="t", models=["m-*"])
    none = await team.key("none", team="t", models=["nothing"])
    for _ in range(2):
        assert ids(await look(team, bound)) == ["m-small", "m-large"]
        assert ids(await look(team, free)) == MODELS
        assert ids(await look(team, none)) == []
    # Also to one who asks the same again, at once.
    for _ in range(3):
        told = (await look(team, bound)).json()
    assert told == LIST | {"data": LIST["data"][:2]}
    assert len(upstream.requests) == (1 if cache else 9)


async def test_a6_a_list_that_was_cut_is_not_the_upstream_s(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """What speaks of the whole list is not said of a part of it."""
    fields = {"etag": '"all"', "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT", "content-digest": "sha-256=:eA==:"}
    upstream.script(json_answer(LIST, headers=[*fields.items(), ("x-other", "etag")]))
    team = await start_team()
    free, bound = await look(team, await team.key()), await look(team, await team.key(models=["m-*"]))
    names = [*(name.encode() for name in fields), b"x-other"]
    assert [free.header(name) is not None for name in names] == [True, True, True, True]
    assert [bound.header(name) is not None for name in names] == [False, False, False, True]


async def test_a6_aliases_are_listed(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """For keys that may use them by either name, once, fresh or kept."""
    upstream.script(json_answer({"object": "list", "data": LIST["data"]}))
    aliases = {"aliases__fast": "m-small", "aliases__best": "gpt-x", "aliases__m-large": "gpt-x"}
    team = await start_team(cache__enabled=True, **aliases)
    free, bound, other = await team.key(), await team.key(models=["m-*"]), await team.key(models=["best"])
    for _ in range(2):
        assert ids(await look(team, free)) == [*MODELS, "best", "fast"]
        assert ids(await look(team, bound)) == ["m-small", "m-large", "fast"]
        assert ids(await look(team, other)) == ["best"]
    (told,) = (await look(team, other)).json()["data"]
    assert told == {"id": "best", "object": "model", "created": 0, "owned_by": "askonce"}


async def test_a6_no_other_spelling_lists_them(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Encoded, in pieces, with a query, or by a path that upstreams take for the same."""
    upstream.script(models)
    team = await start_team()
    bound = await team.key(models=["m-*"])
    for path in ("", "?limit=9", "/", "//", "/?a", "/%20", "?", "#"):
        for encoding in ("", "gzip", "br"):
            upstream.script(json_answer(LIST, encoding=encoding))
            response = await look(team, bound, path, **{"accept-encoding": "gzip, br"})
            assert b"gpt-x" not in response.body, path
    body = json_answer(LIST).body
    assert isinstance(body, bytes)
    upstream.script(Answer(200, [("content-type", "application/json")], [bytes([b]) for b in body], Framing.CHUNKED))
    assert ids(await look(team, bound)) == ["m-small", "m-large"]


@pytest.mark.parametrize(
    "answer",
    [
        json_answer(MODELS),
        json_answer({"data": "gpt-x"}),
        json_answer({"models": [{"name": "gpt-x"}]}),
        json_answer({"object": "list", "data": ["gpt-x", {"name": "gpt-x"}, {"id": 3, "x": "gpt-x"}]}),
        Answer(200, [("content-type", "application/json")], b'{"data":[{"id":"gpt-x"}'),
        Answer(200, [("content-type", "text/html")], b"<p>gpt-x"),
        Answer(200, [("content-type", "application/json")], b'{"data":[{"id":"m-small","id":"gpt-x"}]}'),
    ],
)
async def test_a6_a_list_in_another_shape_tells_nothing(
    start_team: StartTeam, upstream: ScriptedUpstream, answer: Answer
) -> None:
    """What can't be read can't be narrowed: an empty list, or E(502, upstream_error, upstream_error)."""
    upstream.script(answer)
    team = await start_team()
    response = await look(team, await team.key(models=["m-*"]))
    assert b"gpt-x" not in response.body
    assert response.status == 200 or (response.status, response.error_code) == (502, "upstream_error")


PIECES = [b'{"data":[{"id":"gpt-x"}', b"]"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, [("content-type", "application/json")], PIECES, Framing.CHUNKED),
        Answer(200, [("content-type", "text/event-stream")], PIECES, Framing.CHUNKED),
        Answer(200, [("content-type", "application/json")], PIECES[:1], Framing.CHUNKED, End.CLOSE, terminated=False),
        Answer(200, [("content-type", "text/event-stream")], PIECES[:1], Framing.CHUNKED, End.CLOSE, terminated=False),
    ],
    ids=["json", "events", "json that breaks off", "events that break off"],
)
async def test_a6_a_list_that_is_not_told_is_a_failure(
    start_team: StartTeam, upstream: ScriptedUpstream, answer: Answer
) -> None:
    """Also one that comes in pieces: to its client, which is told by all that every answer carries, and in the row."""
    upstream.script(answer)
    team = await start_team()
    response = await look(team, await team.key(models=["m-*"]))
    assert (response.status, response.error_code.partition("_")[0]) == (502, "upstream")
    assert response.header(b"x-askonce-call-id") == response.header(b"x-request-id") != b""
    assert response.header(b"server-timing")
    (row,) = await team.rows()
    assert (row["status"], row["error"]) == (502, response.error_code)


async def test_a6_one_model(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """That it may use is shown, whatever it is called; any other is not found, however that is written."""
    upstream.script(models)
    team = await start_team(cache__enabled=True)
    alice = await team.key(models=["m-*", "meta/*"])
    for path in ("/m-small", "/meta/llama-3", "/meta%2Fllama-3", "/m-small?x=1"):
        assert (await look(team, alice, path)).status == 200, path
    asked = len(upstream.requests)
    for path in ("/gpt-x", "/gpt%2Dx", "/meta", "/gpt-x/m-small", "//gpt-x"):
        assert (await look(team, alice, path)).status in {400, 403, 404}, path
    assert len(upstream.requests) == asked


async def test_a6_endpoints(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """E(403, invalid_request_error, endpoint_not_allowed) for what the key is not for."""
    upstream.script(completion_answer())
    team = await start_team()
    alice = await team.key(endpoints=["chat/completions", "audio/*"])
    for target in ("embeddings", "responses", "files", "batches", "chat/completions/id", "whatever"):
        response = await team.ask(alice, target=f"/v1/{target}")
        assert (response.status, response.error_code) == (403, "endpoint_not_allowed"), target
        assert response.json()["error"]["type"] == "invalid_request_error"
    assert (await look(team, alice)).status == 403
    assert upstream.requests == []
    assert (await team.ask(alice)).status == 200
    assert (await team.ask(alice, target="/v1/audio/speech")).status == 200
    assert {row["error"] for row in await team.rows(status=403)} == {"endpoint_not_allowed"}


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/images/edits"])
@pytest.mark.parametrize("store", ["alone"])
async def test_a6_a_form_with_two_models(start_team: StartTeam, upstream: ScriptedUpstream, path: str) -> None:
    """Is refused where not every model may be used: which of them is meant, each upstream decides for itself."""
    upstream.script(completion_answer())
    team = await start_team(cache__max_upload_bytes=16_384)
    alice, bob = await team.key(models=["m-*"]), await team.key("bob")
    both = upload(("model", "m-small"), last=(("model", "gpt-x"),))
    refused = await team.ask(alice, both, HEADERS[1:], target=path)
    assert (refused.status, refused.error_code) == (400, "invalid_request")
    long = upload(("model", "m-small"), file=b"x" * 20_000)
    assert (await team.ask(alice, long, HEADERS[1:], target=path)).status == 413
    assert upstream.requests == []
    assert (await team.ask(alice, upload(("model", "m-small")), HEADERS[1:], target=path)).status == 200
    assert (await team.ask(bob, both, HEADERS[1:], target=path)).status == 200
