"""C1, C4, C8, T9: what is served again is what was answered, to who asked the same, in the form that was asked for."""

import asyncio
import gzip
from typing import Any

import msgspec
import openai
import pytest

from proxy.openai.assemble import assemble
from tests.fakes.answers import event_stream, json_answer
from tests.fakes.asking import KEY, completion_answer, herd, status_of
from tests.fakes.frames import CHAT, COUNTED, DONE, STREAM, USAGE, payloads
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import Response, compose
from tests.fakes.streams import STREAMS
from tests.fakes.streams.writing import chunk
from tests.fakes.upstream import ScriptedUpstream

ASK: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "completions": {"prompt": "hi"},
    "responses": {"input": "hi"},
}
FRAME = chunk({"content": "x"})


@pytest.fixture
async def kept(start: StartGateway) -> Gateway:
    return await start(cache__enabled=True)


async def ask(
    gateway: Gateway,
    endpoint: str = "chat/completions",
    key: tuple[str, str] = KEY,
    *more: tuple[str, str],
    **body: Any,
) -> Response:
    async with gateway.client() as client:
        asked = {"model": "m", **ASK[endpoint], **body}
        response = await client.ask("POST", f"/v1/{endpoint}", asked, [key, *more])
    assert (response.status, response.whole) == (200, True)
    return response


def shown(endpoint: str) -> dict[str, Any]:
    return {"stream": True} | ({} if endpoint == "responses" else {"stream_options": {"include_usage": True}})


@pytest.mark.parametrize("name", STREAMS)
async def test_c8_a_stream_is_replayed_frame_for_frame(upstream: ScriptedUpstream, kept: Gateway, name: str) -> None:
    """With all that is in it; and as JSON it says the same, to the byte each time."""
    recording = STREAMS[name]
    endpoint, whole = recording.endpoint, b"".join(recording.frames)
    upstream.script(event_stream(recording.frames))
    first = await ask(kept, endpoint, **shown(endpoint))
    assert (status_of(first), first.body) == ("MISS", whole)
    again = await ask(kept, endpoint, **shown(endpoint))
    assert (status_of(again), again.body) == ("HIT", whole)
    assert again.header(b"content-type") == first.header(b"content-type")
    bodies = [await ask(kept, endpoint) for _ in range(2)]
    assert {status_of(response) for response in bodies} == {"HIT"}
    assert {response.body for response in bodies} == {assemble(endpoint, recording.frames)}
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("name", [name for name in STREAMS if STREAMS[name].plain])
async def test_c8_the_official_client_sees_one_answer(upstream: ScriptedUpstream, kept: Gateway, name: str) -> None:
    """Of a JSON answer, its hit, and the stream that is made of it."""
    recording = STREAMS[name]
    endpoint, body = recording.endpoint, assemble(recording.endpoint, recording.frames)
    upstream.script(json_answer(msgspec.Raw(body)))
    async with openai.AsyncOpenAI(api_key="sk-one", base_url=kept.url, max_retries=0) as sdk:
        place: Any = {"chat/completions": sdk.chat.completions, "completions": sdk.completions}.get(
            endpoint, sdk.responses
        )
        wholes = [(await place.create(model="m", **ASK[endpoint])).to_dict() for _ in range(2)]
        pieces = [piece async for piece in await place.create(model="m", **ASK[endpoint], **shown(endpoint))]
    assert wholes[0] == wholes[1]
    if endpoint == "responses":
        assert pieces[-1].response.to_dict() == wholes[0]
        return
    assert pieces[-1].usage is None or pieces[-1].usage.to_dict() == wholes[0]["usage"]
    for choice in wholes[0]["choices"]:
        said = choice.get("text") or choice.get("message", {}).get("content") or ""
        mine = [each for piece in pieces for each in piece.choices if each.index == choice["index"]]
        assert "".join((each.text if endpoint == "completions" else each.delta.content) or "" for each in mine) == said
        assert [each.finish_reason for each in mine if each.finish_reason] == [choice["finish_reason"]]
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("first", [STREAM, COUNTED, CHAT], ids=["hidden", "shown", "JSON"])
async def test_t9_usage_is_shown_to_who_asked_for_it(upstream: ScriptedUpstream, kept: Gateway, first: Any) -> None:
    """The upstream is asked for it always; who did not ask sees no frame of it: leading, following and replayed."""
    upstream.script(event_stream([FRAME, chunk({}, "stop"), USAGE, DONE]) if first is not CHAT else completion_answer())
    await herd(kept, 1, first)
    if first is not CHAT:
        assert upstream.request.json()["stream_options"] == {"include_usage": True}
    for _ in range(2):
        (hidden,), (visible,) = await herd(kept, 1, STREAM), await herd(kept, 1, COUNTED)
        assert {status_of(hidden), status_of(visible)} == {"HIT"}
        chunks = [[msgspec.json.decode(data) for data in payloads(each.body)[:-1]] for each in (hidden, visible)]
        assert not [chunk for chunk in chunks[0] if chunk.get("usage") or not chunk["choices"]]
        assert [chunk["usage"]["completion_tokens"] for chunk in chunks[1] if chunk.get("usage")] == [7]
        assert (hidden.body.endswith(DONE), visible.body.endswith(DONE)) == (True, True)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("cut", range(1, len(USAGE) + len(DONE), 5))
async def test_t9_the_frame_is_hidden_however_it_is_cut(upstream: ScriptedUpstream, kept: Gateway, cut: int) -> None:
    """From the leader and from a follower, and what came with it is not."""
    gate = asyncio.Event()
    end = chunk({}, "stop") + USAGE + DONE
    upstream.script(event_stream([FRAME, gate, end[: cut - len(end)], 0.002, end[cut - len(end) :]]))
    leader, follower = asyncio.Task(herd(kept, 1, STREAM)), asyncio.Task(herd(kept, 1, STREAM))
    await upstream.received()
    while len(kept.app.clients.crew.serving) < 2:
        await asyncio.sleep(0.001)
    gate.set()
    assert {response.body for response in [*await leader, *await follower]} == {FRAME + chunk({}, "stop") + DONE}


async def test_t9_an_upstream_that_tells_unasked(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Without the cache nobody but the client has asked, and nothing is taken away."""
    gateway = await start()
    upstream.script(event_stream([FRAME, USAGE, DONE]))
    (response,) = await herd(gateway, 1, STREAM)
    assert response.body == FRAME + USAGE + DONE
    assert "stream_options" not in upstream.request.json()


OTHERS: dict[str, list[tuple[str, str]]] = {
    "another key": [("authorization", "Bearer sk-two")],
    "no key": [("x-nothing", "1")],
    "another way to send it": [("api-key", "sk-one")],
    "an organisation": [KEY, ("openai-organization", "org")],
    "a project": [KEY, ("openai-project", "p")],
}


@pytest.mark.parametrize("other", OTHERS)
async def test_c1_another_scope_is_another_call(upstream: ScriptedUpstream, kept: Gateway, other: str) -> None:
    """Neither is served what the other was answered; each is served its own."""
    upstream.script(completion_answer("one"), completion_answer("two"), completion_answer("three"))
    for headers, said in ((([KEY]), b"one"), (OTHERS[other], b"two")) * 2:
        async with kept.client() as client:
            assert said in (await client.ask(body=CHAT, headers=headers)).body
    assert len(upstream.requests) == 2


async def test_c1_unless_the_operator_says_so(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """With `cache.scope = "global"` whoever gets in shares."""
    gateway = await start(cache__enabled=True, cache__scope="global")
    upstream.script(completion_answer())
    await ask(gateway)
    assert status_of(await ask(gateway, "chat/completions", ("authorization", "Bearer sk-two"))) == "HIT"


async def test_c4_another_spelling_hits(upstream: ScriptedUpstream, kept: Gateway) -> None:
    """Other order of members, white space, escapes, and fields that do not count."""
    upstream.script(completion_answer())
    await ask(kept)
    for body in (
        b'{"messages":[{"content":"hi","role":"user"}],"model":"m"}',
        b' {\n"model" : "\\u006d", "messages": [ {"role": "user", "content": "hi"} ] }\r\n',
        b'{"user":"u","metadata":{"a":"b"},"model":"m","store":false,"messages":[{"role":"user","content":"hi"}]}',
    ):
        async with kept.client() as client:
            await client.send(compose(body=body, headers=[KEY, ("content-type", "application/json")]))
            assert status_of(await client.response()) == "HIT"


@pytest.mark.parametrize(
    "field", [{"temperature": 0}, {"seed": 1}, {"tools": []}, {"n": 1}, {"model": "m2"}, {"unheard_of": None}], ids=str
)
async def test_c2_another_field_misses(upstream: ScriptedUpstream, kept: Gateway, field: dict[str, Any]) -> None:
    """Of the endpoint's schema or of nobody's."""
    upstream.script(completion_answer())
    await ask(kept)
    assert status_of(await ask(kept, **field)) == "MISS"
    assert status_of(await ask(kept, **field)) == "HIT"


async def test_c8_original_pacing(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """A stream takes as long as it took, frame by frame; a client that leaves meanwhile leaves nothing behind."""
    gateway = await start(cache__enabled=True, cache__pacing="original", timeouts__comment=0.05)
    frames = [FRAME, chunk({"content": "y"}), chunk({}, "stop")]
    upstream.script(event_stream([frames[0], 0.2, frames[1], 0.2, *frames[2:], USAGE, DONE]))
    await herd(gateway, 1, STREAM)
    clock = asyncio.get_running_loop().time
    begun = clock()
    (replayed,) = await herd(gateway, 1, STREAM)
    assert clock() - begun > 0.36
    assert status_of(replayed) == "HIT"
    assert replayed.body.replace(b": ping\n\n", b"") == b"".join([*frames, DONE])
    assert b": ping" in replayed.body
    assert len(replayed.chunks) >= 3
    async with gateway.client() as client:
        await client.send(compose(body=STREAM, headers=[KEY]))
        await client.chunk(await client.start())
    await gateway.settled()


async def test_c8_what_is_made_of_an_answer_goes_with_it(upstream: ScriptedUpstream, kept: Gateway) -> None:
    """A stored stream that was asked for as JSON, and JSON that was compressed: a new answer is served in its place."""
    zipped = ("accept-encoding", "gzip")
    for text in ("old " * 500, "new " * 500):
        upstream.script(event_stream([chunk({"content": text}), chunk({}, "stop"), USAGE, DONE]))
        await ask(kept, "chat/completions", KEY, ("cache-control", "no-cache"), stream=True)
        for _ in range(2):
            whole, packed = await ask(kept), await ask(kept, "chat/completions", KEY, zipped)
            assert (status_of(whole), status_of(packed)) == ("HIT", "HIT")
            assert whole.json()["choices"][0]["message"]["content"] == text
            assert gzip.decompress(packed.body) == whole.body
