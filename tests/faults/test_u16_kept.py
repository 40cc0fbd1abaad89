"""U16: an upstream that encodes though identity was asked for: what is kept of it is right for every client."""

import asyncio
import gzip
from typing import Any

import brotli
import msgspec
import pytest

from tests.fakes.answers import Answer, Framing, compress, event_stream
from tests.fakes.asking import KEY, completion, completion_answer, herd, status_of
from tests.fakes.frames import CHAT, COUNTED, STREAM
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import Response
from tests.fakes.streams import STREAMS
from tests.fakes.upstream import ScriptedUpstream

LONG = completion("Hello. " * 400)
PLAIN = msgspec.json.encode(LONG)
FRAMES = STREAMS["chat"].frames
ACCEPTED = ["", "identity", "gzip", "br", "gzip, br", "*;q=0, identity"]


@pytest.fixture
async def kept(start: StartGateway) -> Gateway:
    return await start(cache__enabled=True)


async def ask(gateway: Gateway, body: object = CHAT, accepted: str = "") -> Response:
    async with gateway.client() as client:
        response = await client.ask(body=body, headers=[KEY, *[("accept-encoding", accepted)] * bool(accepted)])
    assert (response.status, response.whole) == (200, True)
    return response


def decoded(response: Response) -> Any:
    """As a client would; and nobody is sent a coding that nobody named."""
    match response.header(b"content-encoding"):
        case b"gzip":
            return gzip.decompress(response.body)
        case b"br":
            return brotli.decompress(response.body)
        case other:
            assert other is None
            return response.body


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED])
@pytest.mark.parametrize("encoding", ["gzip", "br"])
async def test_u16_kept_plain(upstream: ScriptedUpstream, kept: Gateway, encoding: str, framing: Framing) -> None:
    """The first client gets it as it came; each later one in a coding that it takes, the same to the byte."""
    upstream.script(Answer(200, [("content-type", "application/json")], PLAIN, framing, encoding=encoding))
    first = await ask(kept)
    assert (first.header(b"content-encoding"), decoded(first)) == (encoding.encode(), PLAIN)
    await until(lambda: len(kept.app._caches.tiers.memory))
    for accepted in ACCEPTED:
        response = await ask(kept, accepted=accepted)
        assert (status_of(response), decoded(response)) == ("HIT", PLAIN)
        coding = response.header(b"content-encoding")
        assert (coding is None) is (accepted in {"", "identity", "*;q=0, identity"})
        assert coding is None or coding.decode() in accepted
        assert response.header(b"content-length") == b"%d" % len(response.body)
        assert response.header(b"vary") == (b"accept-encoding" if coding else None)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("encoding", ["gzip", "br"])
async def test_u16_an_encoded_stream_is_replayed(upstream: ScriptedUpstream, kept: Gateway, encoding: str) -> None:
    """Frame for frame, as text; also to those who waited for it, and to who wants it as JSON."""
    gate = asyncio.Event()
    upstream.script(event_stream(FRAMES, encoding=encoding, before=gate))
    waiting = asyncio.Task(herd(kept, 3, COUNTED))
    await until(lambda: len(kept.app.clients.crew.serving) == 3)
    gate.set()
    whole = b"".join(FRAMES)
    assert [decoded(response) for response in await waiting] == [whole] * 3
    again = await ask(kept, COUNTED, "gzip")
    assert (status_of(again), again.header(b"content-encoding"), again.body) == ("HIT", None, whole)
    assert (await ask(kept, CHAT)).json()["usage"] == (await ask(kept, CHAT, "gzip")).json()["usage"]
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, [("content-type", "application/json"), ("content-encoding", "gzip")], compress(PLAIN, "gzip")[:-9]),
        Answer(200, [("content-type", "application/json"), ("content-encoding", "gzip")], PLAIN),
        Answer(200, [("content-type", "application/json"), ("content-encoding", "x-own")], PLAIN),
        completion_answer("x" * 2_000_000, encoding="gzip"),
        event_stream([*FRAMES[:-1]], encoding="br"),
        completion_answer(finish="content_filter", encoding="br"),
    ],
    ids=["torn", "not gzip", "unknown", "a bomb", "no end", "filtered"],
)
async def test_u16_what_can_not_be_read_is_not_kept(
    upstream: ScriptedUpstream, start: StartGateway, answer: Answer
) -> None:
    """Nor is what is not complete, decoded; the client gets it all the same, as it came."""
    gateway = await start(cache__enabled=True, cache__max_entry_bytes=1_000_000)
    upstream.script(answer)
    body = STREAM if answer.headers[0][1] != "application/json" else CHAT
    for count in (1, 2):
        response = await ask(gateway, body)
        assert (status_of(response), response.body) == (
            "MISS",
            b"".join(p for p in answer.pieces() if isinstance(p, bytes)),
        )
        await until(lambda: not len(gateway.app._caches._flights[0]))
        assert len(upstream.requests) == count
