"""T1, T2: however a stream is cut up and written, it is relayed as it came, and read right."""

import pytest

from tests.fakes.answers import Answer, End, Framing, event_stream
from tests.fakes.frames import COUNTED, DONE, USAGE, chat_frame, payloads
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import RawClient
from tests.fakes.toxics import ToxicProxy
from tests.fakes.upstream import ScriptedUpstream

LF = b": hello\n\n" + chat_frame("grüße 🦊") + b"event: x\nid: 1\ndata: {\ndata: }\n\n" + USAGE + DONE
STREAMS = {
    "LF": LF,
    "CRLF": LF.replace(b"\n", b"\r\n"),
    "CR": LF.replace(b"\n", b"\r"),
    "mixed": LF.replace(b"data: [DONE]\n\n", b"data: [DONE]\r\n\n"),
    "BOM": b"\xef\xbb\xbf" + LF,
    "no space": LF.replace(b"data: ", b"data:"),
    "usage on two lines": LF.replace(b'"usage":{', b'"usage":\ndata: {'),
}
TOKENS = "askonce_tokens_total"


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("form", STREAMS)
async def test_t1_cut_at_every_byte(upstream: ScriptedUpstream, gateway: Gateway, client: RawClient, form: str) -> None:
    """Two pieces, cut anywhere: the same bytes arrive, and the usage is counted each time."""
    stream = STREAMS[form]
    cuts = range(1, len(stream), 3)
    for cut in cuts:
        upstream.script(event_stream([stream[:cut], stream[cut:]]))
        response = await client.ask(body=COUNTED)
        assert (response.body, response.whole) == (stream, True)
    await gateway.settled()
    assert await gateway.sample(TOKENS, kind="input") == 11 * len(cuts)
    assert await gateway.sample(TOKENS, kind="output") == 7 * len(cuts)
    assert await gateway.sample("askonce_requests_total", outcome="relayed") == len(cuts)


async def test_t1_byte_by_byte(upstream: ScriptedUpstream, gateway: Gateway, client: RawClient) -> None:
    """Every byte its own chunk: the same bytes arrive, an event at a time, and the usage is counted."""
    stream = STREAMS["CRLF"]
    upstream.script(event_stream([stream[i : i + 1] for i in range(len(stream))]))
    response = await client.ask(body=COUNTED)
    assert response.body == stream
    assert len(response.chunks) < len(stream) / 10
    await gateway.settled()
    assert await gateway.sample(TOKENS, kind="output") == 7


async def test_t1_sliced_on_the_wire(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """TCP that delivers one byte at a time, framing included, changes nothing."""
    frames = [chat_frame("grüße 🦊"), USAGE, DONE]
    upstream.script(event_stream(frames))
    async with ToxicProxy("127.0.0.1", upstream.port) as link:
        link.down.slice = 1
        gateway = await start(link.url)
        async with gateway.client() as client:
            response = await client.ask(body=COUNTED)
        assert (response.body, response.whole) == (b"".join(frames), True)
        await gateway.settled()
        assert await gateway.sample(TOKENS, kind="output") == 7


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CLOSE])
async def test_t1_other_framings(upstream: ScriptedUpstream, client: RawClient, framing: Framing) -> None:
    """A stream with a length, or ended by the connection, is relayed whole."""
    upstream.script(Answer(200, [("content-type", "text/event-stream")], LF, framing))
    response = await client.ask(body=COUNTED)
    assert (response.body, response.whole) == (LF, True)


async def test_t1_the_last_usage_counts(upstream: ScriptedUpstream, gateway: Gateway, client: RawClient) -> None:
    """An upstream that repeats its usage in every frame is counted once, with what it said last."""
    early = USAGE.replace(b'"completion_tokens":7', b'"completion_tokens":3')
    upstream.script(event_stream([early, early, USAGE, DONE]))
    await client.ask(body=COUNTED)
    await gateway.settled()
    assert await gateway.sample(TOKENS, kind="output") == 7


@pytest.mark.usefixtures("untraced")
async def test_t2_one_event_of_16_mib(upstream: ScriptedUpstream, gateway: Gateway, client: RawClient) -> None:
    """An event of any size passes, and what follows it is still read."""
    big = b"data: " + b"x" * (16 << 20) + b"\n\n"
    upstream.script(event_stream([big, USAGE, DONE]))
    response = await client.ask(body=COUNTED)
    assert response.body == big + USAGE + DONE
    await gateway.settled()
    assert await gateway.sample(TOKENS, kind="output") == 7


async def test_t2_one_event_of_many_lines(upstream: ScriptedUpstream, gateway: Gateway, client: RawClient) -> None:
    """The same for an event of 4 MiB in lines, each its own chunk."""
    line = b"data: " + b"x" * 65_000 + b"\n"
    upstream.script(event_stream([*[line] * 64, b"\n", USAGE, DONE], end=End.CLOSE))
    response = await client.ask(body=COUNTED)
    assert payloads(response.body)[-1] == b"[DONE]"
    await gateway.settled()
    assert await gateway.sample(TOKENS, kind="output") == 7
