"""C5, C6, C7, C12: what is not a whole and good answer is passed on and asked for again, whatever it looks like."""

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

from tests.fakes.answers import Answer, End, Framing, event_stream, json_answer
from tests.fakes.asking import KEY, completion, completion_answer, status_of
from tests.fakes.frames import CHAT, COUNTED, DONE, STREAM, USAGE, chat_frame
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import Response
from tests.fakes.streams import STREAMS
from tests.fakes.streams.writing import chunk, event
from tests.fakes.upstream import ScriptedUpstream

RESPONSE = STREAMS["response"].frames
WHOLE = {
    "chat/completions": STREAMS["Gemini"].frames,
    "completions": STREAMS["completion"].frames,
    "responses": [RESPONSE[4], RESPONSE[-1]],
}
EVENTS = [("content-type", "text/event-stream")]
TOGETHER = 8


@pytest.fixture
async def kept(start: StartGateway) -> Gateway:
    return await start(cache__enabled=True)


async def ask(gateway: Gateway, endpoint: str = "chat/completions", **body: Any) -> Response:
    async with gateway.client() as client:
        return await client.ask("POST", f"/v1/{endpoint}", {"model": "m", **body}, [KEY])


async def landed(gateway: Gateway) -> int:
    """Entries, once nothing is in the air."""
    await until(lambda: not len(gateway.app._caches._flights[0]))
    return len(gateway.app._caches.tiers.memory)


FRAMINGS = {
    "chunked": event_stream([], terminated=True),
    "with a length": Answer(200, EVENTS, framing=Framing.LENGTH),
    "until the end": Answer(200, EVENTS, framing=Framing.CLOSE),
}


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("endpoint", WHOLE)
async def test_c5_cut_at_every_byte_of_the_wire(
    upstream: ScriptedUpstream, kept: Gateway, endpoint: str, framing: str
) -> None:
    """A stream that ends anywhere before its end is not kept: a missing terminator and a short length included."""
    answer = dataclasses.replace(FRAMINGS[framing], body=[b"".join(WHOLE[endpoint])])
    wire = sum(len(piece) for piece in upstream._framed(answer) if isinstance(piece, bytes))
    step = 1 if framing == "chunked" else 7
    cuts = [*range(1, wire - 40, step), *range(wire - 40, wire)]
    async with kept.client() as client:
        for cut in cuts:
            upstream.script(dataclasses.replace(answer, cut_at=cut))
            response = await client.ask("POST", f"/v1/{endpoint}", {"model": "m", "stream": True, "seed": cut}, [KEY])
            assert response.status == 200
    assert (await landed(kept), len(upstream.requests)) == (0, len(cuts))
    upstream.script(answer)
    await ask(kept, endpoint, stream=True)
    assert await landed(kept) == 1


JSON = [("content-type", "application/json")]
BODY = msgspec.json.encode(completion())
ERROR = {"error": {"message": "m", "type": "t", "param": None, "code": None}}
BAD: dict[str, tuple[Answer, Any]] = {
    "JSON that is short": (Answer(200, JSON, BODY, length=len(BODY) + 1, end=End.CLOSE), CHAT),
    "JSON without a terminator": (Answer(200, JSON, BODY, Framing.CHUNKED, End.CLOSE, terminated=False), CHAT),
    "JSON without framing": (Answer(200, JSON, BODY, Framing.CLOSE), CHAT),
    "cut JSON in a right frame": (Answer(200, JSON, BODY[:-1]), CHAT),
    "no finish reason": (completion_answer(finish=None), CHAT),  # type: ignore[arg-type]
    "content_filter": (completion_answer(finish="content_filter"), CHAT),
    "no choices": (json_answer(completion() | {"choices": []}), CHAT),
    "an error under a 200": (json_answer(ERROR), CHAT),
    "a page": (Answer(200, [("content-type", "text/html")], b"<html>"), CHAT),
    "nothing": (Answer(200, JSON), CHAT),
    "204": (Answer(204, framing=Framing.NONE), CHAT),
    "206": (Answer(206, [*JSON, ("content-range", "bytes 0-1/2")], BODY), CHAT),
    "201": (Answer(201, JSON, BODY), CHAT),
    "302": (Answer(302, [*JSON, ("location", "https://elsewhere.example/")], BODY), CHAT),
    "304": (Answer(304, framing=Framing.NONE), CHAT),
    "400": (Answer(400, JSON, BODY), CHAT),
    "404": (Answer(404, JSON, BODY), CHAT),
    "429": (Answer(429, JSON, BODY), CHAT),
    "500": (Answer(500, JSON, BODY), CHAT),
    "a stream under a 500": (event_stream([chunk({"content": "x"}), chunk({}, "stop"), DONE], status=500), STREAM),
    "an error frame": (event_stream([chunk({"content": "x"}), event(ERROR), DONE]), STREAM),
    "an error frame at the end": (event_stream([chunk({}, "stop"), DONE, event(ERROR)]), STREAM),
    "[DONE] alone": (event_stream([DONE]), STREAM),
    "[DONE] without a finish reason": (event_stream([chunk({"content": "x"}), DONE]), STREAM),
    "a finish reason without [DONE]": (event_stream([chunk({"content": "x"}), chunk({}, "stop")]), STREAM),
    "a filtered stream": (event_stream([chunk({"content": "x"}), chunk({}, "content_filter"), DONE]), STREAM),
    "usage alone": (event_stream([USAGE, DONE]), STREAM),
    "JSON for a stream": (dataclasses.replace(completion_answer(finish="content_filter")), STREAM),
}


@pytest.mark.parametrize("bad", BAD)
async def test_c6_passed_on_and_asked_again(upstream: ScriptedUpstream, kept: Gateway, bad: str) -> None:
    """Each client gets what the upstream says to it; none gets it from the cache."""
    answer, body = BAD[bad]
    upstream.script(answer)
    for count in (1, 2):
        response = await ask(kept, **body)
        assert (response.status, status_of(response)) == (answer.status, "MISS") or response.status == 502
        assert (await landed(kept), len(upstream.requests)) == (0, count)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_c12_over_the_cap(start: StartGateway, upstream: ScriptedUpstream, stream: bool) -> None:  # noqa: FBT001
    """An answer that is larger than an entry may be arrives whole, is held by nobody, and is asked for again."""
    gateway = await start(cache__enabled=True, cache__max_entry_bytes=100_000)
    frames = [chat_frame("x" * 4_000) for _ in range(500)]
    gate = asyncio.Event()
    upstream.script(
        event_stream([*frames, gate, chunk({}, "stop"), DONE])
        if stream
        else completion_answer("x" * 2_000_000, before=gate)
    )
    waiting = asyncio.Task(ask(gateway, **(COUNTED if stream else CHAT)))
    await until(lambda: len(gateway.app._caches._flights[0]))
    if stream:
        (flight,) = gateway.app._caches._flights[0]._flights.values()
        await until(lambda: not flight.open and flight._waiting < 1 << 18)
        assert sum(map(len, flight._blocks)) < 1 << 18
        assert "overflown 0 events" in repr(flight._recorder)
    gate.set()
    response = await waiting
    assert (response.whole, len(response.body) > 2_000_000) == (True, True)
    assert await landed(gateway) == 0
    assert await gateway.sample("askonce_cache_refusals_total", reason="entry-too-large") == 1
