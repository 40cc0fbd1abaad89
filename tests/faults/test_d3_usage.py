"""D3: what an upstream says that it used is found in every answer, whatever its route, its size and its shape."""

import asyncio
from typing import Any

import msgspec
import pytest

from tests.fakes.answers import Answer, Framing, event_stream, json_answer
from tests.fakes.asking import completion, status_of
from tests.fakes.frames import CHAT, COUNTED, DONE, STREAM
from tests.fakes.polling import until
from tests.fakes.raw import Response, compose
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import Member, StartTeam, Team
from tests.fakes.upstream import ScriptedUpstream

JSON = [("content-type", "application/json")]
FORM = (
    b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nm-image\r\n--x\r\ncontent-disposition: form-data;'
    b' name="image"; filename="a.png"\r\n\r\n' + b"a" * 400 + b"\r\n--x--\r\n"
)
UPLOAD = [("content-type", "multipart/form-data; boundary=x"), ("accept-encoding", "gzip, br")]
DRAWN = {"input_tokens": 50, "output_tokens": 6240, "total_tokens": 6290}
DRAWN_USD = "0.06245"
GPT = {**CHAT, "model": "gpt-4o"}
MILLION = {"prompt_tokens": 1_000_000, "completion_tokens": 100, "total_tokens": 1_000_100}
PRIORITY_USD = "4.2517"
"""Of a million tokens in and a hundred out, in the list of prices."""

cached = pytest.mark.parametrize("cached", [False, True], ids=["relayed", "cached"])
alone = pytest.mark.parametrize("store", ["alone"])


def images(size: int) -> bytes:
    return msgspec.json.encode({"created": 1, "data": [{"b64_json": "A" * size}], "usage": DRAWN})


def told(row: dict[str, Any]) -> tuple[dict[str, int], str | None, bool]:
    return row["used"], row["cost_usd"], row["estimated"]


async def _ask_edits(team: Team[Any], member: Member) -> Response:
    return await team.ask(member, FORM, UPLOAD, target="/v1/images/edits")


@alone
@cached
@pytest.mark.parametrize("size", [200, 60_000, 200_000, 3_000_000])
@pytest.mark.parametrize("cut", [0, 10], ids=["at once", "in parts"])
async def test_d3_an_upload_is_paid_for(
    start_team: StartTeam,
    upstream: ScriptedUpstream,
    cached: bool,  # noqa: FBT001  (pytest gives it)
    size: int,
    cut: int,
) -> None:
    """However the answer to it comes; it is asked for as it can be read, whatever the client takes."""
    body, gate = images(size), asyncio.Event()
    upstream.script(Answer(200, JSON, [body[:cut], gate, body[cut:]] if cut else body, length=len(body)))
    team = await start_team(cache__enabled=cached)
    alice = await team.key(budgets={"usd_per_day": 0.1})
    asked = asyncio.Task(_ask_edits(team, alice))
    await upstream.received()
    gate.set()
    response = await asked
    assert (response.status, response.body) == (200, body)
    assert upstream.request.all(b"accept-encoding") == [b"identity"]
    (row,) = await team.rows(1)
    assert told(row) == ({"input": 50, "output": 6240, "images": 1}, DRAWN_USD, False)


@alone
@cached
@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED])
@pytest.mark.parametrize("size", [900_000, 1_500_000, 5_000_000])
async def test_d3_a_large_answer_is_paid_for(
    start_team: StartTeam,
    upstream: ScriptedUpstream,
    cached: bool,  # noqa: FBT001  (pytest gives it)
    framing: Framing,
    size: int,
) -> None:
    """Though nobody holds all of it."""
    upstream.script(Answer(200, JSON, images(size), framing))
    team = await start_team(cache__enabled=cached)
    alice = await team.key(budgets={"usd_per_day": 0.1})
    response = await team.ask(alice, {"model": "m-image", "prompt": "x"}, target="/v1/images/generations")
    assert len(response.body) == len(images(size))
    (row,) = await team.rows(1)
    assert told(row) == ({"input": 50, "output": 6240, "images": 1}, DRAWN_USD, False)


@alone
@cached
async def test_d3_a_large_event_is_paid_for(
    start_team: StartTeam,
    upstream: ScriptedUpstream,
    cached: bool,  # noqa: FBT001  (pytest gives it)
) -> None:
    """A stream of images has its usage behind the last of them."""
    part = b'data: {"type":"image_generation.partial_image","b64_json":"%b"}\n\n' % (b"A" * 1_500_000)
    last = b'data: {"type":"image_generation.completed","b64_json":"%b","usage":%b}\n\n'
    upstream.script(event_stream([part, last % (b"A" * 1_500_000, msgspec.json.encode(DRAWN))]))
    team = await start_team(cache__enabled=cached)
    alice = await team.key(budgets={"usd_per_day": 0.1})
    asked = {"model": "m-image", "prompt": "x", "stream": True, "partial_images": 1}
    await team.ask(alice, asked, target="/v1/images/generations")
    (row,) = await team.rows(1)
    assert told(row) == ({"input": 50, "output": 6240, "images": 1}, DRAWN_USD, False)


@alone
@cached
async def test_d3_a_large_answer_that_tells_nothing_is_estimated(
    start_team: StartTeam,
    upstream: ScriptedUpstream,
    cached: bool,  # noqa: FBT001  (pytest gives it)
) -> None:
    """By how much came: never at nothing."""
    upstream.script(json_answer(completion("word" * 400_000, usage=None)))
    team = await start_team(cache__enabled=cached, cache__max_entry_bytes=65_536)
    alice = await team.key()
    await team.ask(alice)
    (row,) = await team.rows(1)
    assert row["used"]["output"] == pytest.approx(400_000, rel=0.01)
    assert row["estimated"]


@alone
@pytest.mark.parametrize("size", [10, 200_000, 1_500_000])
async def test_d3_a_leader_that_left_pays_for_what_is_not_kept(
    start_team: StartTeam, upstream: ScriptedUpstream, size: int
) -> None:
    """Of an answer whose end nothing marks, too, it is known what it used."""
    gate = asyncio.Event()
    body = msgspec.json.encode(completion("x" * size))
    upstream.script(Answer(200, JSON, [body[:5], gate, body[5:]], Framing.CLOSE))
    team = await start_team(cache__enabled=True)
    alice = await team.key()
    clients = team.gateway.app.clients.crew.serving
    async with team.gateway.client() as leader:
        await leader.send(compose(body=CHAT, headers=alice.headers))
        await upstream.received()
        follower = asyncio.Task(team.ask(alice))
        await until(lambda: len(clients) == 2)
    await until(lambda: len(clients) == 1)
    gate.set()
    assert (await follower).body == body
    rows = await team.rows(2)
    assert sorted(row["error"] for row in rows) == ["", "client_closed_request"]
    assert [told(row) for row in rows] == [({"input": 11, "output": 7}, "0.000081", False)] * 2
    assert len(upstream.requests) == 2


def streamed(frames: int) -> list[bytes]:
    """Each names the tier, as OpenAI's do."""
    head = b'data: {"id":"c","object":"chat.completion.chunk","model":"m-2025","service_tier":"priority",'
    word = head + b'"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
    last = head + b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    used = head + b'"choices":[],"usage":%b}\n\n' % msgspec.json.encode(MILLION)
    return [word] * frames + [last, used, DONE]


def priority(size: int) -> Answer:
    return json_answer(completion("x" * size, usage=MILLION, service_tier="priority"))


TIERED: list[Any] = [
    pytest.param(GPT, priority(10), id="short"),
    pytest.param(GPT, priority(70_000), id="longer"),
    pytest.param(GPT, priority(700_000), id="long"),
    pytest.param({**GPT, **STREAM, "model": "gpt-4o"}, event_stream(streamed(3)), id="stream"),
    pytest.param({**GPT, **STREAM, "model": "gpt-4o"}, event_stream(streamed(1_000)), id="long stream"),
    pytest.param({**GPT, **COUNTED, "model": "gpt-4o"}, event_stream(streamed(3)), id="counted stream"),
]


@pytest.mark.parametrize("cached", [False, True], ids=["relayed", "cached"])
@pytest.mark.parametrize(("asked", "answer"), TIERED)
@alone
async def test_d3_a_tier_has_its_price(
    start_team: StartTeam,
    upstream: ScriptedUpstream,
    cached: bool,  # noqa: FBT001  (pytest gives it)
    asked: object,
    answer: Answer,
) -> None:
    """And the model that served is named; also when the answer is given again."""
    upstream.script(answer)
    team = await start_team(cache__enabled=cached)
    alice = await team.key()
    await team.ask(alice, asked)
    (row,) = await team.rows(1)
    assert (row["cost_usd"], row["served_model"]) == (PRIORITY_USD, "m-2025")
    if not cached:
        return
    assert status_of(await team.ask(alice, asked)) == "HIT"
    assert (await team.rows(2))[-1]["saved_usd"] == PRIORITY_USD


@pytest.mark.parametrize(("asked", "answer"), TIERED[::3])
@pytest.mark.parametrize("store", ["redis"])
async def test_d3_a_tier_is_stored(
    start_team: StartTeam, upstream: ScriptedUpstream, redis_server: RedisServer, asked: object, answer: Answer
) -> None:
    """Others find it in Redis."""
    upstream.script(answer)
    team = await start_team(cache__enabled=True)
    alice = await team.key()
    await team.ask(alice, asked)
    await team.rows(1)
    memory = team.gateway.app._caches.tiers.memory
    (entry,) = await memory.entries(0.0)
    assert entry.tier == "priority"
    await until(lambda: redis_server.tell("KEYS", f"*{entry.key}*"))
    memory.drop(entry.key)
    assert status_of(await team.ask(alice, asked)) == "HIT"
    assert (await team.rows(2))[-1]["saved_usd"] == PRIORITY_USD


@alone
@pytest.mark.parametrize(("asked", "answer"), TIERED)
async def test_d3_who_shares_a_call_saves_its_price(
    start_team: StartTeam, upstream: ScriptedUpstream, asked: object, answer: Answer
) -> None:
    """That of the tier."""
    gate = asyncio.Event()
    upstream.script(Answer(answer.status, answer.headers, answer.body, answer.framing, before=gate))
    team = await start_team(cache__enabled=True)
    alice = await team.key()
    both = [asyncio.Task(team.ask(alice, asked)) for _ in range(2)]
    await until(lambda: len(team.gateway.app.clients.crew.serving) == 2)
    await upstream.received()
    gate.set()
    await asyncio.gather(*both)
    rows = {row["cache"]: row for row in await team.rows(2)}
    assert (rows["MISS"]["cost_usd"], rows["COALESCED"]["saved_usd"]) == (PRIORITY_USD, PRIORITY_USD)
    assert len(upstream.requests) == 1


BLOCK = b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}\n\n'
MESSAGE = [
    (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","model":"m-claude",'
        b'"usage":{"input_tokens":100000,"output_tokens":1}}}\n\n'
    ),
    *[BLOCK] * 30,
    b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":15}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]


@alone
@cached
async def test_d3_a_message_of_anthropics(
    start_team: StartTeam,
    upstream: ScriptedUpstream,
    cached: bool,  # noqa: FBT001  (pytest gives it)
) -> None:
    """Its first event tells what went in, its last but one what came out."""
    upstream.script(event_stream(MESSAGE))
    team = await start_team(cache__enabled=cached)
    alice = await team.key()
    asked = {"model": "m-claude", "max_tokens": 20, "messages": CHAT["messages"], "stream": True}
    response = await team.ask(alice, asked, target="/v1/messages")
    assert response.body == b"".join(MESSAGE)
    (row,) = await team.rows(1)
    assert told(row) == ({"input": 100_000, "output": 15}, "0.10015", False)
